package wecom_test

import (
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
