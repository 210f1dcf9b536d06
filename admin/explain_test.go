package admin_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/admin"
	"replygate/gate"
)

// reply is the body of a reply to a customer of wwLapsed.
func reply(customer string) string {
	return `{"touser":"` + customer + `","open_kfid":"wk","msgtype":"text","text":{"content":"hello"}}`
}

// explain asks why a call comes out as it does.
func (a *api) explain(in admin.ExplainCall) (out admin.Explanation) {
	a.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		a.Fatal(err)
	}
	r := a.call("POST", "/v1/explain", string(body))
	if err := json.Unmarshal([]byte(r.body), &out); err != nil || r.Code != http.StatusOK {
		a.Fatalf("HTTP %d %s", r.Code, r.body)
	}
	return out
}

const rules = `policy:
  rules:
    - { name: tags-on-pc, match: { capabilities: [customer_tags], clients: [pc] }, action: pass }
    - { name: no-videos-soon, match: { capabilities: [kf_reply], msgtypes: [video] }, action: refuse, mode: shadow }
clients: [{ name: pc, header: User-Agent, contains: WindowsWechat }]
`

func TestExplain(t *testing.T) {
	t.Parallel()
	a := newAPI(t, rules)
	a.wrote("wwLapsed", "wk", "wmWrote", -time.Hour)
	four := 4
	for name, c := range map[string]struct {
		in   admin.ExplainCall
		want admin.Explanation // without errmsg, rules and facts
	}{
		"a reply inside the window": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/kf/send_msg", ContentType: "application/json", Body: reply("wmWrote")},
			admin.Explanation{Language: "en", Verdict: "pass", Rule: "reply-inside-the-window", Reason: "window_open", Judged: true, Forwarded: true, Capability: "kf_reply",
				ChangesAt: "2026-11-24T11:00:00.000Z", WindowCloses: "2026-11-24T11:00:00.000Z", RepliesLeft: &four}},
		"a reply once it is closed": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/kf/send_msg", ContentType: "application/json", Body: reply("wmNobody")},
			admin.Explanation{Language: "en", Verdict: "refuse", Rule: "reply-inside-the-window", Reason: "window_closed", Judged: true, Capability: "kf_reply", Errcode: 95002,
				RepliesLeft: new(int)}},
		"an interface": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/externalcontact/groupchat/list"},
			admin.Explanation{Language: "en", Verdict: "refuse", Rule: "no-group-management", Reason: "rule_refuse", Judged: true, Capability: "group_management", Errcode: 48002}},
		"in grace, which ends": {
			admin.ExplainCall{CorpID: "wwGrace", Path: "/cgi-bin/externalcontact/groupchat/list"},
			admin.Explanation{Language: "en", Verdict: "pass", Rule: "in-good-standing", Reason: "not_judged", Forwarded: true, Capability: "group_management", ChangesAt: "2026-11-22T13:00:00.000Z"}},
		"a paying account": {
			admin.ExplainCall{CorpID: "wwPaying", Path: "/cgi-bin/externalcontact/groupchat/list"},
			admin.Explanation{Language: "en", Verdict: "pass", Rule: "in-good-standing", Reason: "not_judged", Forwarded: true, Capability: "group_management"}},
		"an unlisted corp": {
			admin.ExplainCall{CorpID: "wwNobody", Path: "/cgi-bin/externalcontact/groupchat/list"},
			admin.Explanation{Language: "en", Verdict: "refuse", Reason: "unlisted_account", Judged: true, Capability: "group_management", Errcode: 48002}},
		"a path with two readings": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/kf/%73end_msg"},
			admin.Explanation{Language: "en", Verdict: "refuse", Reason: "ambiguous_path", Judged: true, Errcode: 40058}},
		"by the client": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/externalcontact/get_corp_tag_list", Client: "pc"},
			admin.Explanation{Language: "en", Verdict: "pass", Rule: "tags-on-pc", Reason: "not_judged", Forwarded: true, Capability: "customer_tags"}},
		"another instant": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/externalcontact/groupchat/list", At: start.Add(-36 * time.Hour)},
			admin.Explanation{Language: "en", Verdict: "pass", Rule: "in-good-standing", Reason: "not_judged", Forwarded: true, Capability: "group_management", ChangesAt: "2026-11-21T12:00:00.000Z"}},
		"a rule in shadow": {
			admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/kf/send_msg", ContentType: "application/json", Body: strings.Replace(reply("wmWrote"), "text", "video", 1)},
			admin.Explanation{Language: "en", Verdict: "pass", Rule: "reply-inside-the-window", Reason: "window_open", Judged: true, Forwarded: true, Capability: "kf_reply",
				ChangesAt: "2026-11-24T11:00:00.000Z", WindowCloses: "2026-11-24T11:00:00.000Z", RepliesLeft: &four,
				Shadow: &admin.ShadowDecision{Verdict: "refuse", Rule: "no-videos-soon", Reason: "rule_refuse"}}},
	} {
		got := a.explain(c.in)
		if name != "a path with two readings" && len(got.Rules) == 0 || len(got.Facts) == 0 {
			t.Errorf("%s: %d rules, %d facts", name, len(got.Rules), len(got.Facts))
		}
		if (got.Errmsg == "") != got.Forwarded {
			t.Errorf("%s: forwarded %v, errmsg %q", name, got.Forwarded, got.Errmsg)
		}
		got.Errmsg, got.Rules, got.Facts = "", nil, nil
		if !reflect.DeepEqual(got, c.want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(c.want)
			t.Errorf("%s:\n%s\nwant\n%s", name, g, w)
		}
	}
	if a.audit.Len() != 0 {
		t.Errorf("audited: %s", a.audited())
	}
}

// TestExplainShowsRulesAndFacts looks at the rest of an explanation: all rules in their order, of
// which one matches, and the facts with their sources.
func TestExplainShowsRulesAndFacts(t *testing.T) {
	t.Parallel()
	a := newAPI(t, rules)
	a.wrote("wwLapsed", "wk", "wmWrote", -time.Hour)
	e := a.explain(admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/kf/send_msg", ContentType: "application/json", Body: reply("wmWrote")})
	var names []string
	for _, r := range e.Rules {
		names = append(names, r.Name)
		if r.Matched != (r.Name == "reply-inside-the-window") || r.Why == "" {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(names[:5], []string{"tags-on-pc", "no-videos-soon", "full-adds-no-customers", "in-good-standing", "reply-inside-the-window"}) {
		t.Errorf("rules: %v", names)
	}
	for _, want := range []admin.ReadFact{
		{Name: "account.standing", Value: "lapsed", Source: "configuration and clock"},
		{Name: "call.customers", Value: []any{"wmWrote"}, Source: "body"},
		{Name: "window.last", Value: "2026-11-22T11:00:00Z", Source: "Redis"},
		{Name: "window.replies_left", Value: 5.0, Source: "Redis"},
	} {
		if !slices.ContainsFunc(e.Facts, func(f admin.ReadFact) bool { return reflect.DeepEqual(f, want) }) {
			t.Errorf("%+v is not among %v", want, e.Facts)
		}
	}
}

// TestExplainChangesNothing explains the same reply and code often: replies are not counted.
func TestExplainChangesNothing(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	a.wrote("wwLapsed", "wk", "wmWrote", -time.Hour)
	in := admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/kf/send_msg", ContentType: "application/json", Body: reply("wmWrote")}
	for range 7 {
		if e := a.explain(in); e.Verdict != "pass" || *e.RepliesLeft != 4 {
			t.Fatalf("%s, %d replies left", e.Verdict, *e.RepliesLeft)
		}
		a.call("POST", "/v1/preflight", `{"corp_id":"wwLapsed","calls":[{"channel":"wk","customer":"wmWrote"}]}`)
	}
	if left := a.replied("wwLapsed", "wk", "wmWrote", 1); left != 4 {
		t.Errorf("%d replies left", left)
	}
	if list := a.list("?corp_id=wwLapsed"); len(list.Windows) != 1 || len(list.Windows[0].Sent) != 1 {
		t.Errorf("%+v", list)
	}
}

func TestExplainInALanguage(t *testing.T) {
	t.Parallel()
	for configured, answers := range map[string]map[string]bool{ // of a language asked for: whether rules are explained in Chinese
		"en": {"": false, "en": false, "zh": true},
		"zh": {"": true, "en": false, "zh": true},
	} {
		a := newAPI(t, "policy: { language: "+configured+" }\n")
		for language, chinese := range answers {
			e := a.explain(admin.ExplainCall{CorpID: "wwLapsed", Path: "/cgi-bin/externalcontact/groupchat/list", Language: language})
			if got := strings.ContainsFunc(e.Rules[0].Why, func(r rune) bool { return r >= 0x4e00 && r < 0xa000 }); got != chinese {
				t.Errorf("language %q of a gateway in %s: %s", language, configured, e.Rules[0].Why)
			}
		}
	}
}

func TestExplainRefusesMistakes(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	const call = "bad_call: give corp_id, and path as it is in the request, like /cgi-bin/kf/send_msg"
	for body, want := range map[string]string{
		`{}`:                              call,
		`{"corp_id":"wwLapsed"}`:          call,
		`{"path":"/cgi-bin/kf/send_msg"}`: call,
		`{"corp_id":"wwLapsed","path":"cgi-bin/kf/send_msg"}`:                            call,
		`{"corp_id":"wwLapsed","path":"/x","language":"fr"}`:                             "bad_language: language must be en or zh",
		`{"corp_id":"wwLapsed","path":"/x","language":"EN"}`:                             "bad_language: language must be en or zh",
		`{"corp_id":"wwLapsed","path":"/x","at":"2026-11-22"}`:                           `bad_json: the body cannot be read: "2026-11-22" is not an instant like 2026-11-22T10:00:00+08:00`,
		`{"corp_id":"wwLapsed","path":"/x","content-type":"application/json","body":""}`: `bad_json: the body cannot be read: there is no member "content-type"`,
	} {
		r := a.call("POST", "/v1/explain", body)
		if code, message := r.failure(t); r.Code != http.StatusBadRequest || code+": "+message != want {
			t.Errorf("%s: HTTP %d %s", body, r.Code, r.body)
		}
	}
}

// TestCallOfAnExplanation splits the target of a call as its sender wrote it.
func TestCallOfAnExplanation(t *testing.T) {
	t.Parallel()
	at := start.Add(time.Hour)
	for name, c := range map[string]struct {
		in   admin.ExplainCall
		want gate.Call
	}{
		"a path":             {admin.ExplainCall{Path: "/cgi-bin/kf/send_msg"}, gate.Call{Path: []byte("/cgi-bin/kf/send_msg"), Query: []byte{}, Body: []byte{}}},
		"with its query":     {admin.ExplainCall{Path: "/x?a=b?c"}, gate.Call{Path: []byte("/x"), Query: []byte("a=b?c"), Body: []byte{}}},
		"a query of its own": {admin.ExplainCall{Path: "/x?a=b", Query: "c=d"}, gate.Call{Path: []byte("/x"), Query: []byte("c=d"), Body: []byte{}}},
		"all of it": {admin.ExplainCall{CorpID: "ww", Method: "POST", Path: "/x", ContentType: "text/plain", Body: "{}", Client: "pc", At: at, Language: "zh"},
			gate.Call{Corp: "ww", Client: "pc", Path: []byte("/x"), Query: []byte{}, ContentType: "text/plain", Body: []byte("{}"), At: at}},
	} {
		if got := c.in.Call(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestPreflight asks about several calls at once: answers come in the order of the questions.
func TestPreflight(t *testing.T) {
	t.Parallel()
	a := newAPI(t, rules)
	a.wrote("wwLapsed", "wk", "wmWrote", -time.Hour)
	a.replied("wwLapsed", "wk", "wmWrote", 1)
	r := a.call("POST", "/v1/preflight", `{"corp_id":"wwLapsed","client":"pc","calls":[
		{"channel":"wk","customer":"wmNobody"},
		{"channel":"wk","customer":"wmWrote"},
		{"endpoint":"/cgi-bin/externalcontact/groupchat/list"},
		{"endpoint":"/cgi-bin/externalcontact/get_corp_tag_list"},
		{"channel":"wkOther","customer":"wmWrote"}]}`)
	a.want(r, http.StatusOK, `{"results":[`+strings.Join([]string{
		`{"verdict":"refuse","rule":"reply-inside-the-window","reason":"window_closed","replies_left":0}`,
		`{"verdict":"pass","rule":"reply-inside-the-window","reason":"window_open","window_closes":"2026-11-24T11:00:00.000Z","replies_left":4}`,
		`{"verdict":"refuse","rule":"no-group-management","reason":"rule_refuse"}`,
		`{"verdict":"pass","rule":"tags-on-pc","reason":"not_judged"}`,
		`{"verdict":"refuse","rule":"reply-inside-the-window","reason":"window_closed","replies_left":0}`,
	}, ",")+`]}`)
}

func TestBoundsOfAPreflight(t *testing.T) {
	t.Parallel()
	a := newAPI(t, "")
	calls := func(n int, one string) string {
		return `{"corp_id":"wwLapsed","calls":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	}
	const one = `{"channel":"wk","customer":"wm"}`
	const count = `bad_call: send {"calls":[…]} with 1 to 1000 calls`
	for body, want := range map[string]string{
		calls(1, one):    "",
		calls(1000, one): "",
		calls(0, ""):     count,
		calls(1001, one): count,
		calls(1, `{"channel":"wk","customer":"`+strings.Repeat("x", 128)+`"}`): "",
		calls(2, `{"channel":"wk","customer":"`+strings.Repeat("x", 129)+`"}`): "bad_call: calls[0]: an id has more than 128 bytes",
		calls(1, `{"channel":"`+strings.Repeat("x", 129)+`"}`):                 "bad_call: calls[0]: an id has more than 128 bytes",
		calls(1, `{"endpoint":"kf/send_msg"}`):                                 "bad_call: calls[0]: endpoint must be a path, like /cgi-bin/kf/send_msg",
		`{"calls":[` + one + `]}`:                                              "bad_call: give corp_id",
	} {
		r := a.call("POST", "/v1/preflight", body)
		if want == "" {
			if r.Code != http.StatusOK {
				t.Errorf("%.60s: HTTP %d %.200s", body, r.Code, r.body)
			}
			continue
		}
		if code, message := r.failure(t); r.Code != http.StatusBadRequest || code+": "+message != want {
			t.Errorf("%.60s: HTTP %d %s", body, r.Code, r.body)
		}
	}
}
