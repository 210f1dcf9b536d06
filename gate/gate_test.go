package gate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// stub gives the same answer for every customer, and counts the reads.
type stub struct {
	window.Answer
	peeked, reserved int
}

func (s *stub) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	s.peeked += len(keys)
	answers := make([]window.Answer, len(keys))
	for i := range answers {
		answers[i] = s.Answer
	}
	return answers
}

func (s *stub) Reserve(context.Context, window.Key) window.Answer {
	s.reserved++
	return s.Answer
}

func (*stub) ConsumeCode(context.Context, string, string) window.CodeAnswer {
	return window.CodeAnswer{}
}
func (*stub) PeekCode(context.Context, string, string) window.CodeAnswer { return window.CodeAnswer{} }

func newGate(t *testing.T, text string) *gate.Gate {
	t.Helper()
	c, err := config.Parse("gate.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New("gate.yaml", c)
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

const accounts = `accounts:
  - { corp_id: wwLapsed, subscription: { expires_at: 2026-01-01T00:00:00Z } }
  - { corp_id: wwGrace, subscription: { expires_at: 2026-11-22T00:00:00Z, grace: 72h } }
`

func reply(corp string) gate.Call {
	return gate.Call{Corp: corp, Path: []byte("/cgi-bin/kf/send_msg"), ContentType: "application/json", Body: []byte(`{"touser":"wm1","open_kfid":"wk1","msgtype":"text"}`), At: now}
}

func details(corp string) gate.Call {
	return gate.Call{Corp: corp, Path: []byte("/cgi-bin/externalcontact/get"), At: now}
}

// head is the head of a call of a corp by a path; its account has lapsed if it is wwLapsed.
func head(g *gate.Gate, corp, path string) gate.Head {
	who := policy.Subject{CorpID: corp, Standing: account.Active, Account: g.Accounts.Find(corp)}
	if who.Account != nil {
		who.Entity, who.Standing = who.Account.Entity, who.Account.Standing(now)
	}
	return gate.Head{Route: wecom.ReadPath([]byte(path)), Who: who, At: now}
}

func outcome(j gate.Judgement) string {
	text := j.Decision.Verdict.String() + " " + string(j.Decision.Reason) + " " + j.Decision.Rule
	if s := j.Shadow; s != nil {
		text += " / " + s.Verdict.String() + " " + string(s.Reason) + " " + s.Rule
	}
	return text
}

const (
	shadowMode = "policy: { mode: shadow }\n"
	shadowRule = "policy: { rules: [{ name: trial, match: { capabilities: [media] }, mode: shadow, action: refuse }] }\n"
)

// ByPath decides by caller and path; rules in shadow and shadow mode are in Judgement.Shadow.
func TestByPath(t *testing.T) {
	for _, test := range []struct{ text, corp, path, want string }{
		{"", "wwLapsed", "/cgi-bin/externalcontact/get", "refuse rule_refuse no-customer-details"},
		{"", "wwGrace", "/cgi-bin/externalcontact/get", "pass rule_pass in-good-standing"},
		{"", "wwLapsed", "/cgi-bin/externalcontact/made_up", "refuse rule_refuse no-unknown-customer-interfaces"},
		{"", "wwLapsed", "/cgi-bin/media/upload", "pass rule_pass not-customer-contact"},
		{shadowMode, "wwLapsed", "/cgi-bin/externalcontact/get", "pass shadow_mode  / refuse rule_refuse no-customer-details"},
		{shadowRule, "wwGrace", "/cgi-bin/media/upload", "pass rule_pass in-good-standing / refuse rule_refuse trial"},
		{shadowRule, "wwGrace", "/cgi-bin/oa/getapprovalinfo", "pass rule_pass in-good-standing"},
		{"", "wwLapsed", "/cgi-bin/externalcontact/get/", "refuse ambiguous_path "},
		{"", "wwLapsed", "/cgi-bin/%65xternalcontact/get", "refuse ambiguous_path "},
		{shadowMode, "wwLapsed", "/cgi-bin/externalcontact/get/", "pass shadow_mode  / refuse ambiguous_path "},
		{shadowRule, "wwGrace", "/cgi-bin/media/upload/", "pass rule_pass  / refuse ambiguous_path "}, // judged by the rule in shadow alone
		{shadowRule, "wwLapsed", "/cgi-bin/externalcontact/get/", "refuse ambiguous_path "},
	} {
		g := newGate(t, accounts+test.text)
		j := g.ByPath(head(g, test.corp, test.path))
		if got := outcome(j); got != test.want {
			t.Errorf("%s by %s, %s: %s, want %s", test.path, test.corp, test.text, got, test.want)
		}
		if j.Read || j.Keys != nil || j.Seen != nil {
			t.Errorf("%s: %+v says that a body was read", test.path, j)
		}
	}
}

// Ambiguous refuses a call that needs its body, unless only a rule in shadow needs it.
func TestAmbiguous(t *testing.T) {
	const (
		videos      = "policy: { rules: [{ name: no-video, match: { capabilities: [internal_message], msgtypes: [video] }, action: refuse }] }\n"
		videosTrial = "policy: { rules: [{ name: no-video, match: { capabilities: [internal_message], msgtypes: [video] }, mode: shadow, action: refuse }] }\n"
	)
	for _, test := range []struct{ text, corp, path, want string }{
		{"", "wwLapsed", "/cgi-bin/kf/send_msg", "refuse ambiguous_body "},
		{shadowMode, "wwLapsed", "/cgi-bin/kf/send_msg", "pass shadow_mode  / refuse ambiguous_body "},
		{videos, "wwGrace", "/cgi-bin/message/send", "refuse ambiguous_body "},
		{videosTrial, "wwGrace", "/cgi-bin/message/send", "pass rule_pass in-good-standing / refuse ambiguous_body "},
		{videosTrial, "wwLapsed", "/cgi-bin/message/send", "pass rule_pass not-customer-contact / refuse ambiguous_body "},
	} {
		g := newGate(t, accounts+test.text)
		h := head(g, test.corp, test.path)
		j := g.Ambiguous(h, g.Engine.Inspections(h.Who, h.Route.Endpoint, h.At), errors.New("touser occurs twice"))
		if got := outcome(j); got != test.want {
			t.Errorf("%s by %s, %s: %s, want %s", test.path, test.corp, test.text, got, test.want)
		}
		refusal := &j.Decision
		if j.Shadow != nil {
			refusal = j.Shadow
		}
		if refusal.Errmsg != "touser occurs twice; nothing was sent" || refusal.Errcode != 40058 {
			t.Errorf("%s: %+v", test.path, refusal)
		}
	}
}

// Reject applies policy.mode to decisions made before any rule, and forwards a call that only rules
// in shadow judge.
func TestReject(t *testing.T) {
	plain, shadow := newGate(t, accounts), newGate(t, accounts+shadowMode)
	enforced := policy.Inspections{Enforced: policy.InspectPath, Overall: policy.InspectPath}
	tried := policy.Inspections{Overall: policy.InspectBody}
	for _, why := range []policy.Reason{policy.MissingToken, policy.UnlistedAccount, policy.UnknownToken, policy.AmbiguousCredential, policy.CorpContradiction} {
		d := plain.Engine.Reject(why, wecom.KfReply, "ww9")
		for _, test := range []struct {
			gate *gate.Gate
			n    policy.Inspections
			want string
		}{
			{plain, enforced, "refuse " + string(why) + " "},
			{plain, tried, "pass rule_pass  / refuse " + string(why) + " "},
			{shadow, enforced, "pass shadow_mode  / refuse " + string(why) + " "},
			{shadow, tried, "pass shadow_mode  / refuse " + string(why) + " "},
		} {
			j := test.gate.Reject(d, test.n)
			if got := outcome(j); got != test.want || j.Decision.Go != strings.HasPrefix(got, "pass") || j.Shadow != nil && j.Shadow.Go {
				t.Errorf("%s, want %s", got, test.want)
			}
			if j.Decision.Capability != wecom.KfReply || j.Shadow != nil && j.Shadow.Capability != wecom.KfReply {
				t.Errorf("%s: %+v", why, j)
			}
		}
	}
	away := plain.Engine.OwnerUnavailable(wecom.KfReply)
	if got := outcome(plain.Reject(away, enforced)); got != "unsure store_unavailable " {
		t.Error(got)
	}
	if got := outcome(shadow.Reject(away, enforced)); got != "pass shadow_mode  / unsure store_unavailable " {
		t.Error(got)
	}
}

// ByBody reads exactly what the rule depends on: kf replies are reserved, other windows are only
// read, codes are used up.
func TestByBodyReads(t *testing.T) {
	const (
		massReply  = "policy: { rules: [{ name: masses, match: { capabilities: [mass_message] }, action: reply }] }\n"
		byWindow   = "policy: { rules: [{ name: seen, match: { capabilities: [kf_reply] }, when: window.replies_left >= 2, action: reply }] }\n"
		massWindow = "policy: { rules: [{ name: seen, match: { capabilities: [mass_message] }, when: window.open, action: reply }] }\n"
		trial      = "policy: { rules: [{ name: trial, match: { capabilities: [mass_message] }, mode: shadow, action: reply }] }\n"
		codeTrial  = "policy: { rules: [{ name: trial, match: { capabilities: [kf_event_reply] }, mode: shadow, action: pass }] }\n"
	)
	const mass, event = "/cgi-bin/externalcontact/add_msg_template", "/cgi-bin/kf/send_msg_on_event"
	one := wecom.Facts{Channel: "wk1", Customers: []string{"open"}}
	two := wecom.Facts{Customers: []string{"open", "closed"}}
	for _, test := range []struct {
		text, path string
		facts      wecom.Facts
		want       string
		reads      []string
		keys       int
	}{
		{"", "/cgi-bin/kf/send_msg", one, "pass window_open reply-inside-the-window", []string{"reserve wwLapsed/wk1/open"}, 1},
		{"", "/cgi-bin/kf/send_msg", wecom.Facts{Channel: "wk1", Customers: []string{"new"}}, "refuse window_closed reply-inside-the-window", []string{"reserve wwLapsed/wk1/new"}, 1},
		{"", "/cgi-bin/kf/send_msg", wecom.Facts{Customers: []string{"open"}, Also: "add_customer"}, "refuse rule_refuse no-adding-customers", nil, 0},
		{"", "/cgi-bin/kf/send_msg", wecom.Facts{}, "refuse recipients_missing reply-inside-the-window", nil, 0},
		{"", mass, two, "refuse rule_refuse no-mass-messages", nil, 0},
		{massReply, mass, two, "refuse window_closed masses", []string{"peek wwLapsed//open wwLapsed//closed"}, 2},
		{massReply, mass, wecom.Facts{Implicit: true}, "refuse recipients_implicit masses", nil, 0},
		{byWindow, "/cgi-bin/kf/send_msg", one, "pass window_open seen", []string{"peek wwLapsed/wk1/open", "reserve wwLapsed/wk1/open"}, 1},
		{massWindow, mass, wecom.Facts{Customers: []string{"open"}}, "pass window_open seen", []string{"peek wwLapsed//open"}, 1}, // once for both
		{"", event, wecom.Facts{Code: "fresh"}, "pass code_live reply-inside-the-window", []string{"consume wwLapsed/fresh", "peek wwLapsed/wk1/open"}, 0},
		{"", event, wecom.Facts{Code: "used"}, "refuse code_used reply-inside-the-window", []string{"consume wwLapsed/used"}, 0},
		{"", event, wecom.Facts{Code: "never"}, "refuse code_unknown reply-inside-the-window", []string{"consume wwLapsed/never"}, 0},
		{trial, mass, two, "refuse rule_refuse no-mass-messages / refuse window_closed trial", []string{"peek wwLapsed//open wwLapsed//closed"}, 0},
		{codeTrial, event, wecom.Facts{Code: "fresh"}, "pass code_live reply-inside-the-window / pass rule_pass trial", []string{"consume wwLapsed/fresh", "peek wwLapsed/wk1/open"}, 0},
	} {
		g := newGate(t, accounts+test.text)
		s := withWindows()
		j := g.ByBody(t.Context(), head(g, "wwLapsed", test.path), test.facts, s)
		if got := outcome(j); got != test.want {
			t.Errorf("%s %+v %s: %s, want %s", test.path, test.facts, test.text, got, test.want)
		}
		if !slices.Equal(s.did, test.reads) {
			t.Errorf("%s %+v %s: it did %v, want %v", test.path, test.facts, test.text, s.did, test.reads)
		}
		if len(j.Keys) != test.keys && test.facts.Code == "" && len(j.Evidence.Windows) > 0 || !j.Read {
			t.Errorf("%s %+v: %d keys for %d windows", test.path, test.facts, len(j.Keys), len(j.Evidence.Windows))
		}
	}
}

// withWindows has an open and a closed window, and a fresh and a used code of the open one.
func withWindows() *memory {
	code := window.Code{Key: window.Key{Corp: "wwLapsed", Channel: "wk1", Customer: "open"}, Kind: string(wecom.EnterSession), Deadline: now.Add(20 * time.Second)}
	return &memory{
		windows: map[string]window.Answer{"open": {State: window.Open, Last: now.Add(-time.Hour), Left: 5}, "closed": {State: window.Closed, Last: now.Add(-50 * time.Hour)}},
		codes:   map[string]window.CodeAnswer{"fresh": {State: window.CodeTaken, Code: code}, "used": {State: window.CodeUsed, Code: code}},
	}
}

// The when of a rule sees the windows as they were before the call's own reply is counted.
func TestWhenSeesWindowsBeforeTheCall(t *testing.T) {
	g := newGate(t, accounts+"policy: { rules: [{ name: last, match: { capabilities: [kf_reply] }, when: window.replies_left <= 1, action: refuse }] }\n")
	s := &memory{windows: map[string]window.Answer{"open": {State: window.Open, Last: now, Left: 2}}}
	h, facts := head(g, "wwLapsed", "/cgi-bin/kf/send_msg"), wecom.Facts{Customers: []string{"open"}}
	first := g.ByBody(t.Context(), h, facts, s)
	if outcome(first) != "pass window_open reply-inside-the-window" || first.Decision.Left != 1 || len(first.Seen) != 1 || first.Seen[0].Left != 2 {
		t.Errorf("%s, %d left, saw %+v", outcome(first), first.Decision.Left, first.Seen)
	}
	if second := g.ByBody(t.Context(), h, facts, s); outcome(second) != "refuse rule_refuse last" {
		t.Errorf("%s", outcome(second))
	}
}

// ReadFacts refuses a body that another parser could read differently, and one that is encoded.
func TestReadFacts(t *testing.T) {
	const body = `{"touser":"wm1","open_kfid":"wk1","msgtype":"text"}`
	for _, test := range []struct {
		name, path, query, types, encodings, body string
		want                                      string // the customers, or the beginning of the error
	}{
		{"plain", "/cgi-bin/kf/send_msg", "", "application/json", "", body, "[wm1]"},
		{"with a charset", "/cgi-bin/kf/send_msg", "", "application/json; charset=utf-8", "", body, "[wm1]"},
		{"no type", "/cgi-bin/kf/send_msg", "", "", "", body, "[wm1]"},
		{"identity", "/cgi-bin/kf/send_msg", "", "", "identity, IDENTITY ,", body, "[wm1]"},
		{"gzip", "/cgi-bin/kf/send_msg", "", "", "gzip", body, "the body has a Content-Encoding"},
		{"identity and gzip", "/cgi-bin/kf/send_msg", "", "", "identity, gzip", body, "the body has a Content-Encoding"},
		{"no JSON", "/cgi-bin/kf/send_msg", "", "", "", "touser=wm1", "the body "},
		{"a name twice", "/cgi-bin/kf/send_msg", "", "", "", `{"touser":"a","touser":"b"}`, "touser "},
		{"in the query", "/cgi-bin/externalcontact/get", "external_userid=wm2", "", "gzip", "ignored", "[wm2]"}, // its body is not read
		{"no body", "/cgi-bin/kf/send_msg", "", "", "", "", "the body "},
	} {
		f, err := gate.ReadFacts(wecom.Lookup(test.path), []byte(test.query), test.types, test.encodings, []byte(test.body))
		got := fmt.Sprint(f.Customers)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// The mistakes of a configuration come out of New, with its file's name.
func TestNewReportsMistakes(t *testing.T) {
	c, err := config.Parse("gate.yaml", []byte(accounts+"policy: { rules: [{ name: r, match: { accounts: [wwOther] }, action: pass }] }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = gate.New("gate.yaml", c); err == nil || !strings.HasPrefix(err.Error(), `gate.yaml:4:50: there is no account "wwOther"`) {
		t.Errorf("%v", err)
	}
}
