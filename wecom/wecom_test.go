package wecom_test

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/wecom"
)

// cases reads a table of testdata: lines of tab-separated columns, # begins a remark.
func cases(t testing.TB, name string, columns int) [][]string {
	t.Helper()
	data, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != columns {
			t.Fatalf("%s:%d: %d columns, want %d", name, i+1, len(row), columns)
		}
		all = append(all, row)
	}
	return all
}

func TestCatalogue(t *testing.T) {
	if n := len(wecom.Endpoints()); n != 953 {
		t.Errorf("%d endpoints, want 953", n)
	}
	for _, e := range wecom.Endpoints() {
		if r := wecom.ReadPath([]byte(e.Path)); r.Endpoint != e || r.Path != e.Path {
			t.Errorf("%s is read as %+v", e.Path, r)
		}
	}
	if n := len(wecom.Capabilities()); n != 43+1 {
		t.Errorf("%d capabilities", n)
	}
}

func TestReadPath(t *testing.T) {
	for _, c := range cases(t, "wecom/paths.tsv", 2) {
		path, want := c[0], c[1]
		r := wecom.ReadPath([]byte(path))
		lenient, odd := strings.CutPrefix(want, "odd:")
		if r.Odd() != odd {
			t.Errorf("%s: odd is %v", path, r.Odd())
			continue
		}
		if !odd {
			if string(r.Endpoint.Capability) != want {
				t.Errorf("%s: %s, want %s", path, r.Endpoint.Capability, want)
			}
			continue
		}
		if r.Path != path {
			t.Errorf("%s: an odd path changed to %s", path, r.Path)
		}
		if !slices.ContainsFunc(r.Readings, func(e *wecom.Endpoint) bool { return string(e.Capability) == lenient }) {
			t.Errorf("%s: no reading is %s", path, lenient)
		}
	}
}

func TestReadToken(t *testing.T) {
	for _, c := range cases(t, "wecom/tokens.tsv", 2) {
		token, err := wecom.ReadToken([]byte(c[0]))
		if ambiguous := c[1] == "!"; ambiguous != (err != nil) || !ambiguous && token != c[1] {
			t.Errorf("%s: %q, %v; want %s", c[0], token, err, c[1])
		}
	}
}

// read writes facts as the tables have them.
func read(f wecom.Facts) string {
	var parts []string
	add := func(name string, value any, there bool) {
		if there {
			parts = append(parts, fmt.Sprintf("%s=%v", name, value))
		}
	}
	add("channel", f.Channel, f.Channel != "")
	add("customers", f.Customers, f.Customers != nil)
	add("groups", f.Groups, f.Groups != nil)
	add("code", f.Code, f.Code != "")
	add("msgtype", f.MsgType, f.MsgType != "")
	add("also", f.Also, f.Also != "")
	if f.Implicit {
		parts = append(parts, "implicit")
	}
	return strings.Join(parts, " ")
}

func TestReadFacts(t *testing.T) {
	for _, c := range cases(t, "wecom/bodies.tsv", 3) {
		f, err := wecom.Lookup(c[0]).ReadFacts(nil, []byte(c[1]))
		if want, bad := strings.CutPrefix(c[2], "!"); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, want an error with %q", c[0], c[1], err, want)
			}
			continue
		}
		if err != nil || read(f) != c[2] {
			t.Errorf("%s %s: %q, %v; want %q", c[0], c[1], read(f), err, c[2])
		}
	}
}

// Bodies that a table of text cannot hold.
func TestReadFactsBytes(t *testing.T) {
	send := wecom.Lookup("/cgi-bin/kf/send_msg")
	for name, body := range map[string]string{
		"byte order mark": "\xef\xbb\xbf{\"touser\":\"wmA\"}",
		"UTF-16":          "{\x00\"\x00t\x00o\x00u\x00s\x00e\x00r\x00",
		"invalid UTF-8":   "{\"touser\":\"wm\xff\"}",
		"a control byte":  "{\"touser\":\"wm\x01\"}",
		"a NUL behind":    "{\"touser\":\"wmA\"}\x00",
		"too deep":        `{"touser":"wmA","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"a long id":       `{"touser":"` + strings.Repeat("w", 129) + `"}`,
		"Kelvin sign":     "{\"touser\":\"wmA\",\"open_\u212afid\":\"wkB\"}",
	} {
		if f, err := send.ReadFacts(nil, []byte(body)); err == nil {
			t.Errorf("%s: read as %q", name, read(f))
		} else if strings.Contains(err.Error(), "wmA") {
			t.Errorf("%s: the error quotes the call: %v", name, err)
		}
	}
}

func TestReadFactsOfAQuery(t *testing.T) {
	get := wecom.Lookup("/cgi-bin/externalcontact/get")
	f, err := get.ReadFacts([]byte("access_token=T&external_userid=wm%41"), nil)
	if err != nil || read(f) != "customers=[wmA]" {
		t.Errorf("%q, %v", read(f), err)
	}
	if _, err := get.ReadFacts([]byte("external_userid=a&external_userid=b"), nil); err == nil {
		t.Error("two customers in one query are read as one")
	}
}

func TestReadPage(t *testing.T) {
	const message = `{"msgid":"m","open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3,"msgtype":"text","text":{"content":"hi"}}`
	for name, test := range map[string]struct {
		body              string
		messages, skipped int
		bad               bool
	}{
		"a message":                 {`{"errcode":0,"next_cursor":"c","has_more":0,"msg_list":[` + message + `]}`, 1, 0, false},
		"a tapped menu item":        {`{"msg_list":[{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3,"msgtype":"text","text":{"content":"hi","menu_id":"1"}}]}`, 1, 0, false},
		"a kind of tomorrow":        {`{"msg_list":[{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3,"msgtype":"hologram"}]}`, 1, 0, false},
		"numbers in quotes":         {`{"msg_list":[{"open_kfid":"wk","external_userid":"wm","send_time":"1700000000","origin":"3"}]}`, 1, 0, false},
		"more to come, but empty":   {`{"errcode":0,"has_more":1,"msg_list":[]}`, 0, 0, false},
		"no list":                   {`{"errcode":0,"has_more":0}`, 0, 0, false},
		"a null list":               {`{"errcode":0,"msg_list":null}`, 0, 0, false},
		"an error":                  {`{"errcode":95007,"errmsg":"invalid msg token"}`, 0, 0, false},
		"an event":                  {`{"msg_list":[{"send_time":1700000000,"origin":4,"msgtype":"event","event":{"event_type":"enter_session","open_kfid":"wk","external_userid":"wm"}}]}`, 0, 0, false},
		"a servicer's message":      {`{"msg_list":[{"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":5,"servicer_userid":"z"}]}`, 0, 0, false},
		"no origin":                 {`{"msg_list":[{"open_kfid":"wk","external_userid":"wm","send_time":1700000000}]}`, 0, 0, false},
		"no customer":               {`{"msg_list":[{"open_kfid":"wk","send_time":1700000000,"origin":3},` + message + `]}`, 1, 1, false},
		"no time":                   {`{"msg_list":[{"open_kfid":"wk","external_userid":"wm","origin":3}]}`, 0, 1, false},
		"odd items":                 {`{"msg_list":[null,1,"x",[],{},` + message + `]}`, 1, 0, false},
		"bad UTF-8 in a text":       {"{\"msg_list\":[{\"text\":{\"content\":\"\xff\"},\"open_kfid\":\"wk\",\"external_userid\":\"wm\",\"send_time\":1700000000,\"origin\":3}]}", 1, 0, false},
		"a name twice":              {`{"msg_list":[{"x":1,"x":2,"open_kfid":"wk","external_userid":"wm","send_time":1700000000,"origin":3}]}`, 1, 0, false},
		"cut short":                 {`{"errcode":0,"msg_list":[` + message, 0, 0, true},
		"no JSON":                   {`<html>`, 0, 0, true},
		"nothing":                   {``, 0, 0, true},
		"a list that is none":       {`{"msg_list":{"a":1}}`, 0, 0, true},
		"something behind the page": {`{"msg_list":[` + message + `]}x`, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := wecom.ReadPage(strings.NewReader(test.body))
			if (err != nil) != test.bad || len(p.Messages) != test.messages || p.Skipped != test.skipped {
				t.Fatalf("%d messages, %d skipped, %v", len(p.Messages), p.Skipped, err)
			}
			for _, m := range p.Messages {
				if m != (wecom.Message{Channel: "wk", Customer: "wm", At: time.Unix(1700000000, 0)}) {
					t.Errorf("message = %+v", m)
				}
			}
		})
	}
}

func TestReadGrant(t *testing.T) {
	const answer = `{"errcode":0,"errmsg":"ok","access_token":"T","expires_in":7200}`
	for _, test := range []struct{ path, query, request, answer, corp string }{
		{wecom.PathGetToken, "corpid=ww1&corpsecret=s", "", answer, "ww1"},
		{wecom.PathGetToken, "corpid=ww1", "", `{"access_token":"T","expires_in":7200}`, "ww1"},
		{wecom.PathGetToken, "corpid=ww1&corpid=ww2", "", answer, ""},
		{wecom.PathGetToken, "corpid=ww1&CorpID=ww2", "", answer, ""},
		{wecom.PathGetToken, "", "", answer, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":40001,"access_token":"T","expires_in":7200}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":0,"access_token":"","expires_in":7200}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":0,"access_token":"T","expires_in":0}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `{"errcode":0,"access_token":1}`, ""},
		{wecom.PathGetToken, "corpid=ww1", "", `<html>`, ""},
		{wecom.PathCorpToken, "suite_access_token=S", `{"auth_corpid":"ww1","permanent_code":"P"}`, answer, "ww1"},
		{wecom.PathCorpToken, "", `{"auth_corpid":"ww1","auth_corpid":"ww2"}`, answer, ""},
		{wecom.PathCorpToken, "", `{"auth_corpid":"ww1","Auth_CorpID":"ww2"}`, answer, ""},
		{wecom.PathCorpToken, "", `{"auth_corpid":1}`, answer, ""},
		{wecom.PathCorpToken, "", ``, answer, ""},
		{wecom.PathDownstreamToken, "access_token=U", `{"corpid":"ww9","business_type":1,"agentid":7}`, answer, "ww9"},
		{wecom.PathPermanentCode, "", `{"auth_code":"A"}`, `{"access_token":"T","expires_in":7200,"permanent_code":"P","auth_corp_info":{"corpid":"ww3","corp_name":"n"}}`, "ww3"},
		{wecom.PathPermanentCodeV2, "", `{"auth_code":"A"}`, `{"permanent_code":"P","auth_corp_info":{"corpid":"ww3"}}`, ""},
		{wecom.PathRegisterInfo, "", `{"register_code":"R"}`, `{"corpid":"ww4","contact_sync":{"access_token":"T","expires_in":7200}}`, "ww4"},
		{wecom.PathRegisterInfo, "", `{"register_code":"R"}`, `{"corpid":"ww4","access_token":"T","expires_in":7200}`, ""},
	} {
		want := wecom.Grant{Corp: test.corp, Token: "T", Life: 2 * time.Hour}
		got, found := wecom.ReadGrant(test.path, []byte(test.query), []byte(test.request), []byte(test.answer))
		if found != (test.corp != "") || found && got != want {
			t.Errorf("%s?%s %s: %+v, %v", test.path, test.query, test.request, got, found)
		}
	}
}

// What events give: codes with whom they stand for, and replies that were not delivered.
func TestReadPageEvents(t *testing.T) {
	event := func(body string) string {
		return `{"msg_list":[{"msgid":"m","send_time":1700000000,"origin":4,"msgtype":"event","event":{"open_kfid":"wk","external_userid":"wm",` + body + `}}]}`
	}
	at := time.Unix(1700000000, 0)
	for body, want := range map[string]wecom.Page{
		`"event_type":"enter_session","scene":"1","welcome_code":"W"`:                    {Codes: []wecom.Code{{Text: "W", Kind: wecom.EnterSession, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"enter_session","scene":"1"`:                                       {},
		`"event_type":"session_status_change","change_type":1,"msg_code":"C"`:            {Codes: []wecom.Code{{Text: "C", Kind: wecom.SessionTaken, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"session_status_change","change_type":2,"msg_code":"C"`:            {},
		`"event_type":"session_status_change","change_type":3,"msg_code":"C"`:            {Codes: []wecom.Code{{Text: "C", Kind: wecom.SessionEnded, Channel: "wk", Customer: "wm", At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":4`:                    {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 4, At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":6`:                    {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 6, At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":10`:                   {Failures: []wecom.Failure{{Channel: "wk", Customer: "wm", Type: 10, At: at}}},
		`"event_type":"msg_send_fail","fail_msgid":"x","fail_type":5`:                    {},
		`"event_type":"user_recall_msg","recall_msgid":"x"`:                              {},
		`"event_type":"reject_customer_msg_switch_change","reject_switch":1`:             {},
		`"event_type":"enter_session","welcome_code":"` + strings.Repeat("W", 513) + `"`: {},
	} {
		if got, err := wecom.ReadPage(strings.NewReader(event(body))); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestReadTransition(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for _, test := range []struct {
		request, answer string
		kind            wecom.CodeKind
	}{
		{`{"open_kfid":"wk","external_userid":"wm","service_state":2}`, `{"errcode":0,"msg_code":"C"}`, wecom.ToQueue},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":3,"servicer_userid":"z"}`, `{"errcode":0,"msg_code":"C"}`, wecom.ToServicer},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":4}`, `{"errcode":0,"msg_code":"C"}`, wecom.ToEnd},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":1}`, `{"errcode":0,"msg_code":"C"}`, ""},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":3}`, `{"errcode":0}`, ""},
		{`{"open_kfid":"wk","external_userid":"wm","service_state":3}`, `{"errcode":95016,"msg_code":"C"}`, ""},
		{`{"open_kfid":"wk","external_userid":"wm","external_userid":"wx","service_state":3}`, `{"errcode":0,"msg_code":"C"}`, ""},
		{``, `{"errcode":0,"msg_code":"C"}`, ""},
	} {
		c, found := wecom.ReadTransition([]byte(test.request), []byte(test.answer), at)
		want := wecom.Code{Text: "C", Kind: test.kind, Channel: "wk", Customer: "wm", At: at}
		if found != (test.kind != "") || found && c != want {
			t.Errorf("%s: %+v, %v", test.request, c, found)
		}
	}
}

func TestRefusalIsJSON(t *testing.T) {
	got := string(wecom.Refusal{Errcode: 95002, Errmsg: "a \"quoted\" text\n\xff", Verdict: "refuse", Rule: "r", Reason: "window_closed", DecisionID: "id"}.AppendJSON(nil))
	want := `{"errcode":95002,"errmsg":"a \"quoted\" text\n�","replygate":{"verdict":"refuse","rule":"r","reason":"window_closed","decision_id":"id"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func BenchmarkReadFacts(b *testing.B) {
	send := wecom.Lookup("/cgi-bin/kf/send_msg")
	for name, size := range map[string]int{"400B": 300, "64KiB": 64 << 10} {
		body := []byte(`{"touser":"wmHdKzDAAA","open_kfid":"wkAJ2GCAAA","msgtype":"text","text":{"content":"` + strings.Repeat("x", size) + `"}}`)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := send.ReadFacts(nil, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
