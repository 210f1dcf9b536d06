package gate_test

import (
	"strings"
	"testing"
	"time"

	"replygate/gate"
	"replygate/wecom"
	"replygate/window"
)

// A preflight reads each window once, and reserves nothing.
func TestPreflightReadsOnce(t *testing.T) {
	s := &stub{Answer: window.Answer{State: window.Open, Last: now, Left: 5}}
	asks := make([]gate.Ask, gate.MaxAsks)
	for i := range asks {
		asks[i] = gate.Ask{Channel: "wk1", Customer: strings.Repeat("w", i%100+1)}
	}
	for i, o := range newGate(t, accounts).Preflight(t.Context(), "wwLapsed", "", now, asks, s) {
		if o.Verdict != "pass" || o.RepliesLeft == nil || *o.RepliesLeft != 5 || o.WindowCloses != "2026-11-24T12:00:00.000Z" {
			t.Fatalf("%d: %+v", i, o)
		}
	}
	if s.reserved > 0 || s.peeked != len(asks) {
		t.Errorf("%d reserved, %d looks", s.reserved, s.peeked)
	}
	for _, bad := range [][]gate.Ask{nil, make([]gate.Ask, gate.MaxAsks+1), {{Endpoint: "x"}}, {{Customer: strings.Repeat("w", 129)}}} {
		if gate.CheckAsks(bad) == nil {
			t.Errorf("%d asks are taken: %.40v", len(bad), bad)
		}
	}
}

// Each ask gets the outcome of a call to that customer, by kf/send_msg if it names no endpoint.
func TestPreflightOutlooks(t *testing.T) {
	const massReply = "policy: { rules: [{ name: masses, match: { capabilities: [mass_message] }, action: reply }] }\n"
	const mass = "/cgi-bin/externalcontact/add_msg_template"
	four, none := 4, 0
	for _, test := range []struct {
		name, text, corp string
		ask              gate.Ask
		want             gate.Outlook
		left             *int
	}{
		{"an open window", "", "wwLapsed", gate.Ask{Channel: "wk1", Customer: "open"}, gate.Outlook{Verdict: "pass", Rule: "reply-inside-the-window", Reason: "window_open", WindowCloses: "2026-11-24T11:00:00.000Z"}, &four},
		{"a closed window", "", "wwLapsed", gate.Ask{Customer: "closed"}, gate.Outlook{Verdict: "refuse", Rule: "reply-inside-the-window", Reason: "window_closed", WindowCloses: "2026-11-22T10:00:00.000Z"}, &none},
		{"never wrote", "", "wwLapsed", gate.Ask{Customer: "new"}, gate.Outlook{Verdict: "refuse", Rule: "reply-inside-the-window", Reason: "window_closed"}, &none},
		{"in good standing", "", "wwGrace", gate.Ask{Customer: "open"}, gate.Outlook{Verdict: "pass", Rule: "in-good-standing", Reason: "not_judged"}, nil},
		{"an unlisted corp", "", "wwOther", gate.Ask{Customer: "open"}, gate.Outlook{Verdict: "refuse", Reason: "unlisted_account"}, nil},
		{"a refused endpoint", "", "wwLapsed", gate.Ask{Endpoint: mass, Customer: "open"}, gate.Outlook{Verdict: "refuse", Rule: "no-mass-messages", Reason: "rule_refuse"}, nil},
		{"a mass message to open windows", massReply, "wwLapsed", gate.Ask{Endpoint: mass, Customer: "open"}, gate.Outlook{Verdict: "pass", Rule: "masses", Reason: "window_open", WindowCloses: "2026-11-24T11:00:00.000Z"}, nil},
		{"a mass message to all", massReply, "wwLapsed", gate.Ask{Endpoint: mass}, gate.Outlook{Verdict: "refuse", Rule: "masses", Reason: "recipients_implicit"}, nil},
		{"a card", "", "wwLapsed", gate.Ask{Customer: "open", MsgType: "business_card"}, gate.Outlook{Verdict: "refuse", Rule: "no-adding-customers", Reason: "rule_refuse"}, nil},
		{"an ambiguous path", "", "wwLapsed", gate.Ask{Endpoint: "/cgi-bin/kf/send_msg/", Customer: "open"}, gate.Outlook{Verdict: "refuse", Reason: "ambiguous_path"}, nil},
		{"no customer", "", "wwLapsed", gate.Ask{}, gate.Outlook{Verdict: "refuse", Rule: "reply-inside-the-window", Reason: "recipients_missing"}, nil},
		{"an upload", "", "wwLapsed", gate.Ask{Endpoint: "/cgi-bin/media/upload", Customer: "open"}, gate.Outlook{Verdict: "pass", Rule: "not-customer-contact", Reason: "not_judged"}, nil},
	} {
		s := withWindows()
		s.windows["open"] = window.Answer{State: window.Open, Last: now.Add(-time.Hour), Left: 4}
		got := newGate(t, accounts+test.text).Preflight(t.Context(), test.corp, "", now, []gate.Ask{test.ask}, s)[0]
		if left := got.RepliesLeft; (left == nil) != (test.left == nil) || left != nil && *left != *test.left {
			t.Errorf("%s: %v replies left", test.name, left)
		}
		if got.RepliesLeft = nil; got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		if s.changed() {
			t.Errorf("%s: it did %v", test.name, s.did)
		}
	}
}

// The same customer twice is no second reply, and answers are in the order of the asks.
func TestPreflightOrder(t *testing.T) {
	asks := []gate.Ask{{Channel: "wk1", Customer: "open"}, {Channel: "wk1", Customer: "closed"}, {Channel: "wk1", Customer: "open"}, {Endpoint: "/cgi-bin/media/upload"}}
	s := withWindows()
	var got []string
	for _, o := range newGate(t, accounts).Preflight(t.Context(), "wwLapsed", "", now, asks, s) {
		got = append(got, o.Reason)
	}
	if want := "window_open window_closed window_open not_judged"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if want := "peek wwLapsed/wk1/open wwLapsed/wk1/closed wwLapsed/wk1/open"; len(s.did) != 1 || s.did[0] != want {
		t.Errorf("it did %v", s.did)
	}
}

// A preflight uses the caller's client, as the call itself would.
func TestPreflightByClient(t *testing.T) {
	g := newGate(t, accounts+"clients: [{ name: pc, header: User-Agent, contains: x }]\npolicy: { rules: [{ name: no-pc, match: { clients: [pc] }, action: refuse }] }\n")
	for client, want := range map[string]string{"pc": "no-pc", "unknown": "reply-inside-the-window"} {
		if o := g.Preflight(t.Context(), "wwLapsed", client, now, []gate.Ask{{Customer: "open"}}, withWindows()); o[0].Rule != want {
			t.Errorf("%s: %+v", client, o[0])
		}
	}
}

// The errors of CheckAsks name the ask and the bound.
func TestCheckAsks(t *testing.T) {
	id := func(n int) string { return strings.Repeat("w", n) }
	for _, test := range []struct {
		asks []gate.Ask
		want string // "" if they are valid
	}{
		{[]gate.Ask{{}}, ""},
		{make([]gate.Ask, gate.MaxAsks), ""},
		{[]gate.Ask{{Endpoint: "/cgi-bin/kf/send_msg", Channel: id(wecom.MaxID), Customer: id(wecom.MaxID)}}, ""},
		{nil, `send {"calls":[…]} with 1 to 1000 calls`},
		{make([]gate.Ask, gate.MaxAsks+1), `send {"calls":[…]} with 1 to 1000 calls`},
		{[]gate.Ask{{}, {Customer: id(wecom.MaxID + 1)}}, "calls[1]: an id has more than 128 bytes"},
		{[]gate.Ask{{Channel: id(wecom.MaxID + 1)}}, "calls[0]: an id has more than 128 bytes"},
		{[]gate.Ask{{}, {}, {Endpoint: "kf/send_msg"}}, "calls[2]: endpoint must be a path, like /cgi-bin/kf/send_msg"},
	} {
		got := ""
		if err := gate.CheckAsks(test.asks); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d asks: %q, want %q", len(test.asks), got, test.want)
		}
	}
}
