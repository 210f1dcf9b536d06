package wecom_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"replygate/wecom"
)

func TestTrimBody(t *testing.T) {
	e := wecom.Lookup("/cgi-bin/externalcontact/add_msg_template")
	for _, test := range []struct{ body, want string }{
		{`{"external_userid":["a","b","c"],"text":{"content":"x"}}`, `{"external_userid":["b"],"text":{"content":"x"}}`},
		{"{ \"text\" : {\"content\":\"\\u4f60\"},\n \"external_userid\" : [ \"a\" , \"b\", \"\\u0063\" ] }", "{ \"text\" : {\"content\":\"\\u4f60\"},\n \"external_userid\" : [\"b\"] }"},
	} {
		got, err := e.TrimBody([]byte(test.body), []string{"a", "c"})
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v", test.body, got, err)
		}
		if f, err := e.ReadFacts(nil, got); err != nil || len(f.Customers) != 1 || f.Customers[0] != "b" {
			t.Errorf("%s: what goes on names %v, %v", test.body, f.Customers, err)
		}
	}
	if _, err := wecom.Lookup("/cgi-bin/kf/send_msg").TrimBody([]byte(`{"touser":"a"}`), []string{"a"}); err == nil {
		t.Error("a call to one customer is trimmed")
	}
}

func TestReportRest(t *testing.T) {
	template, transfer := wecom.Lookup("/cgi-bin/externalcontact/add_msg_template"), wecom.Lookup("/cgi-bin/externalcontact/transfer_customer")
	for _, test := range []struct {
		e            *wecom.Endpoint
		answer, want string
	}{
		{template, `{"errcode":0,"errmsg":"ok","fail_list":["x"],"msgid":"m"}`, `{"errcode":0,"errmsg":"ok","fail_list":["x","a","c"],"msgid":"m"}`},
		{template, `{"errcode":0,"fail_list":[]}`, `{"errcode":0,"fail_list":["a","c"]}`},
		{template, `{"errcode":0,"fail_list":null}`, `{"errcode":0,"fail_list":["a","c"]}`},
		{template, ` {"errcode":0}`, ` {"fail_list":["a","c"],"errcode":0}`},
		{template, `{ }`, `{"fail_list":["a","c"] }`},
		{template, `{"errcode":0}{}`, `{"fail_list":["a","c"],"errcode":0}{}`},
		{template, "\xEF\xBB\xBF{\"errcode\":\"0\",\"errmsg\":\"\x00\n\xff\",\"fail_list\":[\"x\"]}\x00", "\xEF\xBB\xBF{\"errcode\":\"0\",\"errmsg\":\"\x00\n\xff\",\"fail_list\":[\"x\",\"a\",\"c\"]}\x00"},
		{template, "\xEF\xBB\xBF {\"errcode\":0.0,\"errmsg\":\"\x1b\"}", "\xEF\xBB\xBF {\"fail_list\":[\"a\",\"c\"],\"errcode\":0.0,\"errmsg\":\"\x1b\"}"},
		{template, `{"errcode":41048,"errmsg":"no customer"}`, `{"errcode":41048,"errmsg":"no customer"}`},
		{transfer, `{"errcode":0,"customer":[{"external_userid":"b","errcode":0}]}`,
			`{"errcode":0,"customer":[{"external_userid":"b","errcode":0},{"external_userid":"a","errcode":95002},{"external_userid":"c","errcode":95002}]}`},
	} {
		got, err := test.e.ReportRest([]byte(test.answer), []string{"a", "c"})
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v", test.answer, got, err)
		}
	}
	for _, odd := range []string{``, `[]`, `{"errcode":0`, `{"errcode":0,,}`} {
		if got, err := template.ReportRest([]byte(odd), []string{"a"}); err == nil || string(got) != odd {
			t.Errorf("%q: %q, %v", odd, got, err)
		}
	}
}

// A body that cannot be trimmed is an error.
func TestTrimBodyRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ path, body string }{
		{replyPath, `{"touser":"a"}`},
		{"/cgi-bin/user/get", `{}`},
		{massPath, `{"text":{"content":"x"}}`}, // names nobody
		{massPath, `{"external_userid":"a"`},
		{massPath, `{"external_userid":[1]}`},
		{massPath, `{"external_userid":["a\u0000"]}`},
		{massPath, `["a"]`},
		{massPath, `{"external_userid":["a"]}{}`},
		{massPath, ``},
	} {
		if got, err := wecom.Lookup(test.path).TrimBody([]byte(test.body), []string{"a"}); err == nil {
			t.Errorf("%s %s: %s", test.path, test.body, got)
		}
	}
}

// For random lists, the other customers stay in their order and all other bytes are kept.
func TestTrimBodyKeepsTheRest(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	e := wecom.Lookup(massPath)
	quoted := func(ids []string) string {
		var items []string
		for _, id := range ids {
			items = append(items, `"`+id+`"`)
		}
		return strings.Join(items, ",")
	}
	for range 500 {
		var all, without, kept []string
		for i := range random.IntN(30) {
			id := fmt.Sprintf("wm%d", i)
			all = append(all, id)
			if random.IntN(3) == 0 {
				without = append(without, id)
			} else {
				kept = append(kept, id)
			}
		}
		without = append(without, "wmNotThere")
		const before, after = `{"allow_select":true,"external_userid":`, ` , "text":{"content":"[\"wm1\"]"}}`
		got, err := e.TrimBody([]byte(before+"["+quoted(all)+"]"+after), without)
		if err != nil || string(got) != before+"["+quoted(kept)+"]"+after {
			t.Fatalf("%q without %q: %s, %v", all, without, got, err)
		}
	}
}

// The longest list that WeCom accepts is trimmed.
func TestTrimBodyOfTheLongestList(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	var odd []string
	for i := range 10_000 {
		fmt.Fprintf(&list, `,"wm%d"`, i)
		if i%2 == 1 {
			odd = append(odd, fmt.Sprintf("wm%d", i))
		}
	}
	got, err := wecom.Lookup(massPath).TrimBody([]byte(`{"external_userid":[`+list.String()[1:]+`]}`), odd)
	if err != nil {
		t.Fatal(err)
	}
	f, err := wecom.Lookup(massPath).ReadFacts(nil, got)
	if err != nil || len(f.Customers) != 5_000 || f.Customers[4_999] != "wm9998" {
		t.Errorf("%d customers, %v", len(f.Customers), err)
	}
}

// Each call that can be trimmed has its own member for the rest.
func TestReportRestOfEachCall(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"/cgi-bin/crm/add_msg_template":                       `"fail_list":["a\"b"]`,
		"/cgi-bin/externalcontact/add_msg_template":           `"fail_list":["a\"b"]`,
		"/cgi-bin/externalcontact/message/send":               `"invalid_external_user":["a\"b"]`,
		"/cgi-bin/externalcontact/resigned/transfer_customer": `"customer":[{"external_userid":"a\"b","errcode":95002}]`,
		"/cgi-bin/externalcontact/transfer_customer":          `"customer":[{"external_userid":"a\"b","errcode":95002}]`,
		"/cgi-bin/kf/customer/batchget":                       `"invalid_external_userid":["a\"b"]`,
	}
	for _, e := range wecom.Endpoints() {
		got, err := e.ReportRest([]byte(`{"errcode":0}`), []string{`a"b`})
		switch member := want[e.Path]; {
		case member == "":
			if err == nil || e.ReportsRest() || string(got) != `{"errcode":0}` {
				t.Errorf("%s: %s, %v", e.Path, got, err)
			}
		case err != nil || !e.ReportsRest() || string(got) != `{`+member+`,"errcode":0}` || !json.Valid(got):
			t.Errorf("%s: %s, %v; want %s", e.Path, got, err, member)
		}
	}
}

// Clients read the last of two lists, so that one is extended.
func TestReportRestOfRepeatedLists(t *testing.T) {
	t.Parallel()
	got, err := wecom.Lookup(massPath).ReportRest([]byte(`{"fail_list":["x"],"fail_list":[ "y" ]}`), []string{"a"})
	if err != nil || string(got) != `{"fail_list":["x"],"fail_list":["y","a"]}` {
		t.Errorf("%s, %v", got, err)
	}
	got, err = wecom.Lookup(massPath).ReportRest([]byte(`{"errcode":0,"fail_list":["x"]}`), nil)
	if err != nil || string(got) != `{"errcode":0,"fail_list":["x"]}` {
		t.Errorf("no rest: %s, %v", got, err)
	}
}
