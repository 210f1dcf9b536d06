package gate_test

import (
	"fmt"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
)

// Path and Host name the corp before the body does; any two that contradict each other are
// reported.
func TestAttribute(t *testing.T) {
	two := newGate(t, accounts)
	for _, test := range []struct {
		name  string
		signs gate.Signs
		corp  string
		other string
		by    gate.By
	}{
		{"nothing", gate.Signs{}, "", "", gate.ByNone},
		{"the path", gate.Signs{Path: "wwA"}, "wwA", "", gate.ByPath},
		{"the Host", gate.Signs{Host: "wwA"}, "wwA", "", gate.ByHost},
		{"a channel", gate.Signs{Body: "wwA", ByBody: gate.ByChannel}, "wwA", "", gate.ByChannel},
		{"a code", gate.Signs{Body: "wwA", ByBody: gate.ByCode}, "wwA", "", gate.ByCode},
		{"path and Host agree", gate.Signs{Path: "wwA", Host: "wwA"}, "wwA", "", gate.ByPath},
		{"path and Host contradict", gate.Signs{Path: "wwA", Host: "wwB"}, "wwA", "wwB", gate.ByPath},
		{"path and channel agree", gate.Signs{Path: "wwA", Body: "wwA", ByBody: gate.ByChannel}, "wwA", "", gate.ByPath},
		{"path and channel contradict", gate.Signs{Path: "wwA", Body: "wwB", ByBody: gate.ByChannel}, "wwA", "wwB", gate.ByPath},
		{"Host and code agree", gate.Signs{Host: "wwA", Body: "wwA", ByBody: gate.ByCode}, "wwA", "", gate.ByHost},
		{"Host and code contradict", gate.Signs{Host: "wwA", Body: "wwB", ByBody: gate.ByCode}, "wwA", "wwB", gate.ByHost},
		{"all three differ", gate.Signs{Path: "wwA", Host: "wwB", Body: "wwC", ByBody: gate.ByCode}, "wwA", "wwB", gate.ByPath},
		{"path and Host agree, code not", gate.Signs{Path: "wwA", Host: "wwA", Body: "wwB", ByBody: gate.ByCode}, "wwA", "wwB", gate.ByPath},
		{"several, the path", gate.Signs{Path: "wwA", Several: true}, "", "", gate.ByNone},
		{"several, the Host", gate.Signs{Host: "wwA", Several: true}, "", "", gate.ByNone},
		{"several, a channel", gate.Signs{Body: "wwA", ByBody: gate.ByChannel, Several: true}, "", "", gate.ByNone},
		{"several, a contradiction", gate.Signs{Path: "wwA", Host: "wwB", Several: true}, "wwA", "wwB", gate.ByPath},
	} {
		if got, want := two.Attribute(test.signs), (gate.Attribution{Corp: test.corp, Other: test.other, By: test.by}); got != want {
			t.Errorf("%s: %+v, want %+v", test.name, got, want)
		}
	}
}

// With one account configured there is nothing to attribute, whatever the call names.
func TestOnlyAccount(t *testing.T) {
	one := newGate(t, "accounts: [{ corp_id: wwOnly }]\n")
	want := gate.Attribution{Corp: "wwOnly", By: gate.ByOnlyAccount}
	for _, signs := range []gate.Signs{{}, {Path: "wwA", Host: "wwB"}, {Several: true}, {Body: "wwA", ByBody: gate.ByCode}} {
		if got := one.Attribute(signs); got != want {
			t.Errorf("%+v: %+v", signs, got)
		}
	}
	if a := one.OnlyAccount(); a == nil || a.CorpID != "wwOnly" {
		t.Errorf("%+v", a)
	}
	if a := newGate(t, accounts).OnlyAccount(); a != nil {
		t.Errorf("of two: %+v", a)
	}
}

// Whose a call is that names nobody, with an unknown token, depends on unknown_token and on the
// number of accounts.
func TestOwnsUnnamed(t *testing.T) {
	const one, two = "accounts: [{ corp_id: wwA }]\n", "accounts: [{ corp_id: wwA }, { corp_id: wwB }]\n"
	for _, test := range []struct {
		text string
		want string // for wwA and wwB
	}{
		{one, "true false"},
		{two, "false false"},
		{one + "unknown_token: reauthenticate\n", "false false"},
		{one + "unknown_token: refuse\n", "false false"},
		{two + "unknown_token: pass\n", "true true"},
		{two + "unknown_token: wwB\n", "false true"},
	} {
		g := newGate(t, test.text)
		if got := fmt.Sprint(g.OwnsUnnamed("wwA"), g.OwnsUnnamed("wwB")); got != test.want {
			t.Errorf("%s: %s, want %s", test.text, got, test.want)
		}
	}
}

// The names of the ways are labels of metrics: each is there, once.
func TestByNames(t *testing.T) {
	want := []string{"none", "token", "setting", "only_account", "path", "host", "channel", "code"}
	if len(want) != int(gate.Ways) {
		t.Fatalf("%d ways", gate.Ways)
	}
	for i, name := range want {
		if got := gate.By(i).String(); got != name {
			t.Errorf("%d is %s, want %s", i, got, name)
		}
	}
}

// A call that any account may have made is inspected as that of the account with the strictest
// rules.
func TestInspectAnyone(t *testing.T) {
	const active = "accounts: [{ corp_id: wwA }, { corp_id: wwB }]\n"
	const clients = active + "clients: [{ name: pc, header: User-Agent, contains: x }]\npolicy: { rules: [{ name: r, match: { clients: [pc] }, action: refuse }] }\n"
	none, path, body := policy.InspectNone, policy.InspectPath, policy.InspectBody
	for _, test := range []struct {
		text, path, client string
		enforced, overall  policy.Inspection
	}{
		{active, "/cgi-bin/externalcontact/get", "", none, none},
		{active, "/cgi-bin/kf/send_msg", "", none, none},
		{accounts, "/cgi-bin/externalcontact/get", "", path, path}, // one has lapsed
		{accounts, "/cgi-bin/kf/send_msg", "", body, body},
		{accounts + shadowMode, "/cgi-bin/kf/send_msg", "", none, body},
		{accounts, "/cgi-bin/media/upload", "", none, none},
		{accounts, "/cgi-bin/media/%75pload", "", none, none}, // ambiguous, but no reading is judged
		{accounts, "/cgi-bin/externalcontact/get/", "", path, path},
		{active + "policy: { rules: [{ name: r, match: { accounts: [wwB] }, action: refuse }] }\n", "/cgi-bin/media/upload", "", path, path},
		{active + "policy: { rules: [{ name: r, match: { accounts: [wwB] }, mode: shadow, action: refuse }] }\n", "/cgi-bin/media/upload", "", none, path},
		{clients, "/cgi-bin/media/upload", "unknown", none, none},
		{clients, "/cgi-bin/media/upload", "pc", path, path},
	} {
		got := newGate(t, test.text).InspectAnyone(wecom.ReadPath([]byte(test.path)), test.client, now)
		if got.Enforced != test.enforced || got.Overall != test.overall {
			t.Errorf("%s by %q of\n%s%+v", test.path, test.client, test.text, got)
		}
	}
	c := config.Default()
	nobody, err := gate.New("none", &c)
	if err != nil {
		t.Fatal(err)
	}
	if got := nobody.InspectAnyone(wecom.ReadPath([]byte("/cgi-bin/kf/send_msg")), "", now); got.Enforced != path {
		t.Errorf("without accounts: %+v", got)
	}
}

// manyAccounts are active ones; the first of them lapses an hour from now.
func manyAccounts(n int) *config.Config {
	c := config.Default()
	c.Policy.Rules = []config.Rule{{Name: config.Word{Text: "r"}, Action: config.Word{Text: "refuse"}, Match: config.Match{
		Accounts: []config.Word{{Text: "ww7"}}, Endpoints: []config.Word{{Text: "/cgi-bin/user/get"}},
	}}}
	for i := range n {
		c.Accounts = append(c.Accounts, config.Account{CorpID: fmt.Sprint("ww", i)})
	}
	c.Accounts[0].Subscription = &config.Subscription{ExpiresAt: now.Add(time.Hour)}
	return &c
}

// Accounts that the rules treat alike are looked at once, and a change of a standing counts from
// its instant on, whatever was asked before.
func TestInspectAnyoneOfMany(t *testing.T) {
	g, err := gate.New("many", manyAccounts(1000))
	if err != nil {
		t.Fatal(err)
	}
	lapse := now.Add(time.Hour)
	send := wecom.ReadPath([]byte("/cgi-bin/kf/send_msg"))
	for _, test := range []struct {
		at       time.Time
		distinct int
		want     policy.Inspection
	}{
		{now, 2, policy.InspectNone}, // all, and the one that the rule names
		{lapse.Add(-time.Millisecond), 2, policy.InspectNone},
		{lapse, 3, policy.InspectBody},
		{lapse.Add(-time.Nanosecond), 2, policy.InspectNone},
		{lapse.Add(time.Hour), 3, policy.InspectBody},
	} {
		got := g.InspectAnyone(send, "", test.at)
		if n := g.Distinct(test.at); n != test.distinct || got.Overall != test.want {
			t.Errorf("%v: %d accounts are looked at, want %d; %+v", test.at, n, test.distinct, got)
		}
	}
	if got := g.InspectAnyone(wecom.ReadPath([]byte("/cgi-bin/user/get")), "", now); got.Enforced != policy.InspectPath {
		t.Errorf("the account that a rule names: %+v", got)
	}
}

// A new count of contacts changes a standing within a second.
func TestInspectAnyoneAfterACount(t *testing.T) {
	c := config.Default()
	c.Accounts = []config.Account{{CorpID: "ww0"}, {CorpID: "ww1", Subscription: &config.Subscription{Never: true}}}
	g, err := gate.New("counted", &c)
	if err != nil {
		t.Fatal(err)
	}
	counts := account.NewCounts()
	g.Accounts.UseCounts(counts, 6*time.Hour)
	add := wecom.ReadPath([]byte("/cgi-bin/externalcontact/add_contact_way"))
	if got := g.InspectAnyone(add, "", now); got.Overall != policy.InspectNone {
		t.Errorf("before: %+v", got)
	}
	counts.Set("ww1", account.Count{Total: 5000, AsOf: now, Source: account.Metered})
	if got := g.InspectAnyone(add, "", now.Add(time.Second)); got.Enforced != policy.InspectPath {
		t.Errorf("full: %+v", got)
	}
}

// BenchmarkInspectAnyone is what a call with an unknown token costs before it is forwarded.
func BenchmarkInspectAnyone(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("accounts=%d", n), func(b *testing.B) {
			g, err := gate.New("many", manyAccounts(n))
			if err != nil {
				b.Fatal(err)
			}
			send := wecom.ReadPath([]byte("/cgi-bin/kf/send_msg"))
			b.ReportAllocs()
			for b.Loop() {
				g.InspectAnyone(send, "", now)
			}
		})
	}
}

// Only kf calls name a channel or a code, and only a plain path is known to be one.
func TestMayNameOwner(t *testing.T) {
	for path, want := range map[string]bool{
		"/cgi-bin/kf/send_msg":             true,
		"/cgi-bin/kf/send_msg_on_event":    true,
		"/cgi-bin/kf/made_up":              true,
		"//cgi-bin//kf/send_msg":           true,
		"/cgi-bin/kf":                      false,
		"/cgi-bin/kf/send_msg/":            false,
		"/cgi-bin/KF/send_msg":             false,
		"/cgi-bin/externalcontact/kf/send": false,
		"/cgi-bin/message/send":            false,
	} {
		if got := gate.MayNameOwner(wecom.ReadPath([]byte(path))); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// An attribution decides by whose rules a call is judged.
func TestAttributionDecides(t *testing.T) {
	g := newGate(t, "accounts: [{ corp_id: wwLapsed, subscription: { expires_at: 2026-01-01T00:00:00Z } }, { corp_id: wwActive }]\n")
	for corp, want := range map[string]string{"wwLapsed": "refuse", "wwActive": "pass"} {
		a := g.Attribute(gate.Signs{Host: corp})
		j, _, _ := g.Judge(t.Context(), details(a.Corp), &memory{})
		if got := fmt.Sprint(j.Decision.Verdict); got != want {
			t.Errorf("%s: %s, want %s", corp, got, want)
		}
	}
}
