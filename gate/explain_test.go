package gate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/gate"
	"replygate/policy"
	"replygate/window"
)

// An explanation has the time when the verdict changes by itself, and reads each window once.
func TestExplainChangesAt(t *testing.T) {
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
			t.Errorf("%s: an explanation reserves %d replies and reads %d windows", name, s.reserved, s.peeked)
		}
		decided := 0
		for _, r := range e.Rules {
			if r.Why == "" {
				t.Errorf("%s: rule %s without an explanation", name, r.Name)
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

// factsOf lists the facts of an explanation as name=value (source).
func factsOf(e gate.Explanation) (all []string) {
	for _, f := range e.Facts {
		all = append(all, fmt.Sprintf("%s=%v (%s)", f.Name, f.Value, f.Source))
	}
	return all
}

// Every fact that led to a judgement is listed with its source; windows are those before the call.
func TestExplainFacts(t *testing.T) {
	const text = `accounts:
  - { corp_id: wwLapsed, name: Acme, entity: acme, subscription: { expires_at: 2026-01-01T00:00:00Z, grace: 24h }, contacts: { free: 100, total: 150 } }
  - { corp_id: wwPlain }
`
	const request = "account.corp_id=wwLapsed (request)\nat=2026-11-22T12:00:00Z (request)\n"
	const acme = "account.name=Acme (configuration)\naccount.entity=acme (configuration)\naccount.standing=lapsed (configuration and clock)\n" +
		"account.expires_at=2026-01-01T00:00:00Z (configuration)\naccount.lapses_at=2026-01-02T00:00:00Z (configuration)\naccount.contacts=150 (configuration)\naccount.contacts_free=100 (configuration)\n"
	event := func(code string) gate.Call {
		return gate.Call{Corp: "wwLapsed", Path: []byte("/cgi-bin/kf/send_msg_on_event"), Body: []byte(`{"code":"` + code + `","msgtype":"text"}`), At: now}
	}
	at := func(c gate.Call, path, client string) gate.Call {
		c.Path, c.Client = []byte(path), client
		return c
	}
	body := func(c gate.Call, body string) gate.Call {
		c.Body = []byte(body)
		return c
	}
	for _, test := range []struct {
		name string
		call gate.Call
		want string
	}{
		{"a reply", body(reply("wwLapsed"), `{"touser":"open","open_kfid":"wk1","msgtype":"text"}`), request + acme +
			"call.endpoint=/cgi-bin/kf/send_msg (request)\ncall.capability=kf_reply (catalogue)\ncall.msgtype=text (body)\ncall.channel=wk1 (body)\ncall.customers=[open] (body)\n" +
			"window.state=open (Redis)\nwindow.last=2026-11-22T11:00:00Z (Redis)\nwindow.closes=2026-11-24T11:00:00Z (Redis)\nwindow.replies_left=5 (Redis)"},
		{"a reply to nobody known", reply("wwLapsed"), request + acme +
			"call.endpoint=/cgi-bin/kf/send_msg (request)\ncall.capability=kf_reply (catalogue)\ncall.msgtype=text (body)\ncall.channel=wk1 (body)\ncall.customers=[wm1] (body)\n" +
			"window.state=closed (Redis)\nwindow.replies_left=0 (Redis)"},
		{"a card", body(reply("wwLapsed"), `{"touser":"open","open_kfid":"wk1","msgtype":"business_card"}`), request + acme +
			"call.endpoint=/cgi-bin/kf/send_msg (request)\ncall.capability=kf_reply (catalogue)\ncall.msgtype=business_card (body)\ncall.also=add_customer (body)\ncall.channel=wk1 (body)\ncall.customers=[open] (body)"},
		{"by its path", at(details("wwLapsed"), "/cgi-bin/externalcontact/get", "pc"), request + acme +
			"call.endpoint=/cgi-bin/externalcontact/get (request)\ncall.capability=customer_details (catalogue)\ncall.client=pc (request)"},
		{"an ambiguous path", at(details("wwLapsed"), "/cgi-bin/externalcontact/get/", ""), request + acme + "call.path=it has more than one reading (request)"},
		{"a fresh code", event("fresh"), request + acme + "call.endpoint=/cgi-bin/kf/send_msg_on_event (request)\ncall.capability=kf_event_reply (catalogue)\ncall.msgtype=text (body)\n" +
			"window.state=open (Redis)\nwindow.last=2026-11-22T11:00:00Z (Redis)\nwindow.closes=2026-11-24T11:00:00Z (Redis)\nwindow.replies_left=5 (Redis)\n" +
			"code.state=fresh (Redis)\ncode.kind=enter_session (Redis)\ncode.deadline=2026-11-22T12:00:20Z (Redis)"},
		{"an unknown code", event("never"), request + acme + "call.endpoint=/cgi-bin/kf/send_msg_on_event (request)\ncall.capability=kf_event_reply (catalogue)\ncall.msgtype=text (body)"},
	} {
		s := withWindows()
		e := newGate(t, text).Explain(t.Context(), test.call, s, false)
		if got := strings.Join(factsOf(e), "\n"); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
		if s.changed() {
			t.Errorf("%s: an explanation did %v", test.name, s.did)
		}
	}
}

// A call with a second capability is explained for both.
func TestExplainSecondCapability(t *testing.T) {
	in := reply("wwLapsed")
	in.Body = []byte(`{"touser":"open","open_kfid":"wk1","msgtype":"business_card"}`)
	e := newGate(t, accounts).Explain(t.Context(), in, withWindows(), false)
	var matched []string
	for _, r := range e.Rules {
		if r.Matched {
			matched = append(matched, r.Name)
		}
	}
	if got := strings.Join(matched, ", "); got != "reply-inside-the-window, no-adding-customers (add_customer)" {
		t.Errorf("%s match", got)
	}
	if outcome(e.Judgement) != "refuse rule_refuse no-adding-customers" || !e.Judged {
		t.Errorf("%s", outcome(e.Judgement))
	}
}

// A code's deadline changes the outcome, and so does the end of a window; the first comes first.
func TestExplainCodeDeadline(t *testing.T) {
	in := gate.Call{Corp: "wwLapsed", Path: []byte("/cgi-bin/kf/send_msg_on_event"), Body: []byte(`{"code":"fresh","msgtype":"text"}`), At: now}
	g := newGate(t, accounts)
	s := withWindows()
	e := g.Explain(t.Context(), in, s, false)
	if want := now.Add(20 * time.Second); e.Decision.Reason != policy.CodeLive || !e.ChangesAt.Equal(want) {
		t.Errorf("%s until %s, want %s", e.Decision.Reason, e.ChangesAt, want)
	}
	in.At = e.ChangesAt
	if e = g.Explain(t.Context(), in, s, false); e.Decision.Reason != policy.WindowOpen || !e.ChangesAt.Equal(now.Add(47*time.Hour)) {
		t.Errorf("%s until %s", e.Decision.Reason, e.ChangesAt)
	}
	in.At = e.ChangesAt
	s.windows["open"] = window.Answer{State: window.Closed, Last: now.Add(-time.Hour)} // as the store says by then
	if e = g.Explain(t.Context(), in, s, false); e.Decision.Reason != policy.CodeExpired || !e.ChangesAt.IsZero() {
		t.Errorf("%s until %s", e.Decision.Reason, e.ChangesAt)
	}
}

// A call that passes unread is explained too, and so is one of an unlisted corp.
func TestExplainUnjudged(t *testing.T) {
	in := reply("wwLapsed")
	in.Path = []byte("/cgi-bin/media/upload")
	e := newGate(t, accounts).Explain(t.Context(), in, &memory{}, true)
	if e.Judged || e.Decision.Reason != policy.NotJudged || e.Rules[len(e.Rules)-1].Why != "匹配：放行（pass）" {
		t.Errorf("%+v", e)
	}
	e = newGate(t, accounts).Explain(t.Context(), reply("wwOther"), &memory{}, false)
	if e.Decision.Reason != policy.UnlistedAccount || !e.Judged || !slices.Contains(factsOf(e), "account.listed=false (configuration)") {
		t.Errorf("%+v", e)
	}
}

// A metered count is shown with its source, and the verdict that depends on it changes when the
// count becomes too old.
func TestExplainMeteredContacts(t *testing.T) {
	g := newGate(t, "accounts: [{ corp_id: wwNever, subscription: none }]\n")
	counts := account.NewCounts()
	g.Accounts.UseCounts(counts, 6*time.Hour)
	counts.Set("wwNever", account.Count{Total: 2001, AsOf: now.Add(-time.Hour), Source: account.Metered})
	call := details("wwNever")
	call.Path = []byte("/cgi-bin/externalcontact/add_contact_way")
	e := g.Explain(t.Context(), call, &stub{}, false)
	if e.Decision.Verdict != policy.Refuse || e.Decision.Rule != "full-adds-no-customers" || !e.ChangesAt.Equal(now.Add(17*time.Hour)) {
		t.Errorf("%+v until %s", e.Decision, e.ChangesAt)
	}
	for _, want := range []string{"account.standing=full (configuration and clock)", "account.contacts=2001 (contact_list)", "account.contacts_free=2000 (configuration)"} {
		if got := factsOf(e); !slices.Contains(got, want) {
			t.Errorf("%v lacks %s", got, want)
		}
	}
}
