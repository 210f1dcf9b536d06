package gate_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/window"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// stub says the same of every customer, and counts what is asked.
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

// An explanation says when the verdict will change by itself, and asks for no more than it needs.
func TestExplainTellsWhenItChanges(t *testing.T) {
	wrote := now.Add(-40 * time.Hour)
	for name, test := range map[string]struct {
		rules   string
		call    gate.Call
		answer  window.Answer
		verdict policy.Verdict
		changes time.Time
	}{
		"the window closes":      {"", reply("wwLapsed"), window.Answer{State: window.Open, Last: wrote, Left: 3}, policy.Pass, wrote.Add(48 * time.Hour)},
		"the window is closed":   {"", reply("wwLapsed"), window.Answer{State: window.Closed}, policy.Refuse, time.Time{}},
		"grace ends":             {"", details("wwGrace"), window.Answer{}, policy.Pass, time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)},
		"a reply, and grace":     {"", reply("wwGrace"), window.Answer{State: window.Open, Last: wrote, Left: 3}, policy.Pass, time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)},
		"a rule ends":            {"policy: { rules: [{ name: r, match: { capabilities: [customer_details] }, until: 2026-12-01T00:00:00Z, action: pass }] }\n", details("wwLapsed"), window.Answer{}, policy.Pass, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		"a rule begins":          {"policy: { rules: [{ name: r, match: { capabilities: [customer_details] }, from: 2026-12-01T00:00:00Z, action: pass }] }\n", details("wwLapsed"), window.Answer{}, policy.Refuse, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		"a rule of another kind": {"policy: { rules: [{ name: r, match: { capabilities: [media] }, from: 2026-12-01T00:00:00Z, action: refuse }] }\n", details("wwLapsed"), window.Answer{}, policy.Refuse, time.Time{}},
		"a rule set changes":     {"policy: { ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2027-01-01T00:00:00Z }] }\n", details("wwLapsed"), window.Answer{}, policy.Pass, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		s := &stub{Answer: test.answer}
		e := newGate(t, accounts+test.rules).Explain(t.Context(), test.call, s, false)
		if e.Decision.Verdict != test.verdict || !e.ChangesAt.Equal(test.changes) {
			t.Errorf("%s: %s until %s, want %s until %s", name, e.Decision.Verdict, e.ChangesAt, test.verdict, test.changes)
		}
		if s.reserved > 0 || s.peeked > 1 {
			t.Errorf("%s: an explanation reserves %d replies and looks %d times", name, s.reserved, s.peeked)
		}
		decided := 0
		for _, r := range e.Rules {
			if r.Why == "" {
				t.Errorf("%s: rule %s without a why", name, r.Name)
			}
			if r.Matched {
				decided++
			}
		}
		if decided != 1 {
			t.Errorf("%s: %d rules decide", name, decided)
		}
	}
}

// A preflight looks at all windows at once, and at nothing else.
func TestPreflightLooksOnce(t *testing.T) {
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
