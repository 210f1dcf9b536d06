package policy_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// ruled compiles accounts ww1 (5,321 contacts) and ww2 (none known) with one rule that refuses
// media/upload, or what match says, when an expression holds.
func ruled(t *testing.T, when, match string) (*policy.Engine, *account.Book, error) {
	t.Helper()
	text := "accounts:\n  - { corp_id: ww1, name: One, entity: acme, subscription: { expires_at: 2020-01-01T00:00:00Z }, contacts: { total: 5321 } }\n  - { corp_id: ww2, entity: other }\n" +
		"clients: [{ name: pc, header: User-Agent, contains: Windows }]\npolicy:\n  rules:\n    - name: r\n      match: { " + match + " }\n      when: '" + strings.ReplaceAll(when, "'", "''") + "'\n      action: refuse\n"
	c, err := config.Parse("when.yaml", []byte(text))
	if err != nil {
		return nil, nil, err
	}
	book := account.NewBook(c.Accounts)
	e, err := policy.New("when.yaml", c, book)
	return e, book, err
}

func TestWhen(t *testing.T) {
	call := func(book *account.Book, corp string) policy.Call {
		return policy.Call{
			Who:      policy.Subject{CorpID: corp, Entity: book.Find(corp).Entity, Standing: account.Lapsed, Client: "pc", Account: book.Find(corp)},
			Endpoint: wecom.Lookup("/cgi-bin/kf/send_msg"),
			Facts:    wecom.Facts{Channel: "wk1", Customers: []string{"wm1"}, MsgType: "text"},
			At:       now,
			Windows:  []window.Answer{{State: window.Open, Last: now, Left: 2}},
		}
	}
	for _, test := range []struct {
		when, corp string
		window     window.State
		want       string // yes, no, or unsure
	}{
		{`account.contacts < 10000`, "ww1", window.Open, "yes"},
		{`account.contacts < 5321`, "ww1", window.Open, "no"},
		{`account.contacts < 10000`, "ww2", window.Open, "unsure"},
		{`account.contacts_known && account.contacts < 10000`, "ww2", window.Open, "no"},
		{`account.contacts - account.contacts_free > 3000`, "ww1", window.Open, "yes"},
		{`account.entity == "acme" and account.name startsWith "O"`, "ww1", window.Open, "yes"},
		{`account.corp_id in ["ww1", "ww2"]`, "ww2", window.Open, "yes"},
		{`account.standing != "lapsed"`, "ww1", window.Open, "no"},
		{`call.msgtype == "text" && call.channel == "wk1" && call.customers == 1 && call.groups == 0 && !call.implicit`, "ww1", window.Open, "yes"},
		{`call.endpoint endsWith "/send_msg" && call.capability == "kf_reply" && call.client == "pc"`, "ww1", window.Open, "yes"},
		{`window.open`, "ww1", window.Open, "yes"},
		{`window.open`, "ww1", window.Cached, "yes"},
		{`window.open`, "ww1", window.Closed, "no"},
		{`window.state == "closed"`, "ww1", window.Closed, "yes"},
		{`window.state in ["shut", "full"]`, "ww1", window.Exhausted, "yes"},
		{`window.state == "incomplete"`, "ww1", window.Incomplete, "yes"},
		{`window.open`, "ww1", window.Unavailable, "unsure"},
		{`window.open`, "ww1", window.Unproven, "unsure"},
		{`window.replies_left <= 2`, "ww1", window.Open, "yes"},
		{`window.replies_left > 2 ? true : false`, "ww1", window.Open, "no"},
		{`account.contacts % (call.groups) > 1`, "ww1", window.Open, "unsure"},
	} {
		e, book, err := ruled(t, test.when, "endpoints: [/cgi-bin/kf/send_msg]")
		if err != nil {
			t.Errorf("%s: %v", test.when, err)
			continue
		}
		c := call(book, test.corp)
		c.Windows[0].State = test.window
		if e.WantsWindows(c) != strings.Contains(test.when, "window.") {
			t.Errorf("%s: wants windows: %v", test.when, e.WantsWindows(c))
		}
		m := e.Match(c)
		d := e.Decide(c, m, policy.Evidence{Windows: []window.Answer{{State: window.Open, Last: now}}})
		got := "no"
		switch {
		case d.Verdict == policy.Unsure && d.Reason == policy.WhenFailed && d.Rule == "r" && d.Errcode == -1:
			got = "unsure"
		case d.Rule == "r":
			got = "yes"
		}
		if got != test.want {
			t.Errorf("%s for %s with state %s: %s, want %s: %+v", test.when, test.corp, test.window, got, test.want, d)
		}
	}
}

// What the caller is is found out however a rule asks for it.
func TestWhenAsksClients(t *testing.T) {
	for when, want := range map[string]bool{
		`call.client == "pc"`:                                  true,
		`call["client"] == "pc"`:                               true,
		"call . client in [\"pc\"]":                            true,
		`account.name == "call.client"`:                        false,
		`call.msgtype == "text"`:                               false,
		`account.name == "a" ? true : (call . client == "pc")`: true,
	} {
		e, _, err := ruled(t, when, "")
		if err != nil {
			t.Errorf("%s: %v", when, err)
		} else if e.UsesClients() != want {
			t.Errorf("%s: AsksClients is %v", when, !want)
		}
	}
}

// A when that speaks of nothing but the head is decided without the body.
func TestWhenNeeds(t *testing.T) {
	for when, want := range map[string]policy.Inspection{
		`account.contacts < 10000`: policy.InspectPath,
		`account.contacts > 10000`: policy.InspectNone,
		`call.client == "pc"`:      policy.InspectPath,
		`call.msgtype == "text"`:   policy.InspectNone, // an upload has none
		`call.msgtype == ""`:       policy.InspectPath,
		`window.open`:              policy.InspectNone, // and no customer
		`account.contacts_free % (account.contacts - 5321) > 1`: policy.InspectBody, // it fails: the call is unsure
		`call.capability == "media"`:                            policy.InspectPath,
	} {
		e, book, err := ruled(t, when, "")
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		who := policy.Subject{CorpID: "ww1", Standing: account.Active, Client: "pc", Account: book.Find("ww1")}
		if n := e.Inspections(who, wecom.Lookup("/cgi-bin/media/upload"), now); n.Enforced != want {
			t.Errorf("%s: need %d, want %d", when, n.Enforced, want)
		}
	}
	for _, when := range []string{`call.msgtype == "text"`, `window.open`, `call.customers > 0`} {
		e, book, err := ruled(t, when, "")
		if err != nil {
			t.Fatal(err)
		}
		who := policy.Subject{CorpID: "ww1", Standing: account.Active, Account: book.Find("ww1")}
		if n := e.Inspections(who, wecom.Lookup("/cgi-bin/kf/send_msg"), now); n.Enforced != policy.InspectBody {
			t.Errorf("%s: need %d of a reply", when, n.Enforced)
		}
	}
}

func TestMistakesInWhen(t *testing.T) {
	for when, want := range map[string]string{
		`account.standing == "lapsd"`:           `account.standing is never "lapsd": did you mean lapsed?`,
		`"lapsd" != account.standing`:           `did you mean lapsed?`,
		`account.standing in ["lapsed","grce"]`: `did you mean grace?`,
		`call.capability == "mass_mesage"`:      `did you mean mass_message?`,
		`call.endpoint == "/cgi-bin/kf/send"`:   ``,
		`call.endpoint == "/cgi-bin/kf/snd"`:    `call.endpoint is never`,
		`call.client == "mac"`:                  `did you mean pc?`,
		`account.corp_id == "ww3"`:              `account.corp_id is never "ww3"`,
		`window.state == "opn"`:                 `did you mean open?`,
		`account.contact < 1`:                   `there is no fact account.contact: did you mean account.contacts?`,
		`account`:                               `when: `,
		`call.customers`:                        `expected bool`,
		`call.customers == "1"`:                 `mismatched types int and string`,
		`call.msgtype > 1`:                      `mismatched types string and int`,
		`account.contacts == 5`:                 `== with a number that may be unknown`,
		`len(call.msgtype) > 1`:                 `when: functions, lists of facts and variables`,
		`all([1,2], {# > 1})`:                   `functions, lists of facts and variables`,
		`1..100 == [1]`:                         `.. is not among the operators`,
		`call.msgtype matches "a.*"`:            `matches is not among the operators`,
		`let x = 1; x == 1`:                     `when: `,
		`account?.contacts < 5`:                 `when: `,
		`call["msg" + "type"] == "text"`:        `when: `,
		`account.standing == `:                  `unexpected token EOF, at character`,
		strings.Repeat("not ", 600) + "true":    `when has 2404 bytes`,
	} {
		_, _, err := ruled(t, when, "")
		switch {
		case want == "" && err != nil:
			t.Errorf("%.60s: %v", when, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "when.yaml:9:13: ")):
			t.Errorf("%.60s: %v, want %q", when, err, want)
		}
	}
}

// The page lists every fact there is.
func TestDocsListFacts(t *testing.T) {
	page, err := os.ReadFile("../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range policy.Facts() {
		if !strings.Contains(string(page), "`"+f+"`") {
			t.Errorf("docs/rules.md lacks %s", f)
		}
	}
}

func FuzzWhen(f *testing.F) {
	for _, when := range []string{`account.contacts < 10000`, `window.state in ["open"]`, `not (call.client == "pc")`, `1 % 0 == 1`} {
		f.Add(when)
	}
	text := "accounts: [{ corp_id: ww1 }]\npolicy: { rules: [{ name: r, when: \"true\", action: refuse }] }\n"
	f.Fuzz(func(t *testing.T, when string) {
		c, err := config.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c.Policy.Rules[0].When.Text = when
		book := account.NewBook(c.Accounts)
		e, err := policy.New("f", c, book)
		if err != nil {
			return
		}
		call := policy.Call{Who: policy.Subject{CorpID: "ww1", Standing: account.Active, Account: book.Find("ww1")}, Endpoint: wecom.Lookup("/cgi-bin/kf/send_msg"), At: now}
		e.Decide(call, e.Match(call), policy.Evidence{})
	})
}

// Rules in shadow change nothing that is obeyed, whatever they are; what they would have made of a
// call is the decision of the same rules without shadow.
func TestShadowChangesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	actions := []string{"pass", "refuse", "reply"}
	for range 150 {
		var all, enforced, asIf strings.Builder
		for i := range 1 + random.IntN(7) {
			match := []string{"", "capabilities: [kf_reply]", "capabilities: [mass_message, add_customer]", "standings: [active]", "accounts: [ww1]", "msgtypes: [text]", "entities: [other]"}[random.IntN(7)]
			rule := fmt.Sprintf("    - { name: r%d, match: { %s }, action: %s, percent: %d", i, match, actions[random.IntN(3)], []int{100, 100, 50}[random.IntN(3)])
			asIf.WriteString(rule + " }\n")
			if random.IntN(2) == 0 {
				all.WriteString(rule + ", mode: shadow }\n")
			} else {
				all.WriteString(rule + " }\n")
				enforced.WriteString(rule + " }\n")
			}
		}
		with, without, would := must(t, "", all.String()), must(t, "", enforced.String()), must(t, "", asIf.String())
		for range 40 {
			c := policy.Call{
				Who:      policy.Subject{CorpID: []string{"ww1", "ww2"}[random.IntN(2)], Entity: []string{"acme", "other"}[random.IntN(2)], Standing: account.Standings()[random.IntN(4)]},
				Endpoint: wecom.Lookup([]string{"/cgi-bin/kf/send_msg", "/cgi-bin/externalcontact/add_msg_template", "/cgi-bin/media/upload"}[random.IntN(3)]),
				Facts:    wecom.Facts{Customers: []string{fmt.Sprintf("wm%d", random.IntN(100))}, MsgType: []string{"text", "image", "business_card"}[random.IntN(3)]},
				At:       now,
			}
			if c.Facts.MsgType == "business_card" && c.Endpoint.Path == "/cgi-bin/kf/send_msg" {
				c.Facts.Also = "add_customer"
			}
			found := policy.Evidence{Windows: []window.Answer{{State: window.State(random.IntN(7)), Last: now}}}
			got, want := with.Decide(c, with.Match(c), found), without.Decide(c, without.Match(c), found)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%+v\nwith the rules in shadow: %+v\nwithout: %+v\n%s", c, got, want, all.String())
			}
			if n, plain := with.Inspections(c.Who, c.Endpoint, now), without.Inspections(c.Who, c.Endpoint, now); n.Enforced != plain.Enforced || n.Overall < n.Enforced {
				t.Fatalf("%+v\nneeds with the rules in shadow %+v, without %+v\n%s", c, n, plain, all.String())
			}
			m := would.Match(c)
			obeyed := with.Match(c)
			if w, differs := with.ShadowMatch(c, obeyed); w.Rule.Name != m.Rule.Name || differs != (w.Rule.Name != obeyed.Rule.Name) && (c.Facts.Also == "" || !differs) {
				t.Fatalf("%+v\nwould meet %s (another one: %v), without shadow it meets %s\n%s", c, w.Rule.Name, differs, m.Rule.Name, all.String())
			}
		}
	}
}

func TestTrim(t *testing.T) {
	e := must(t, "", "    - { name: mass, match: { capabilities: [mass_message], endpoints: [/cgi-bin/externalcontact/add_msg_template] }, action: reply, partial: trim }\n")
	open, closed, away := window.Answer{State: window.Open, Last: now, Left: -1}, window.Answer{State: window.Closed}, window.Answer{State: window.Unavailable}
	for _, test := range []struct {
		answers []window.Answer
		reason  policy.Reason
		goes    bool
		rest    string
		waits   bool
	}{
		{[]window.Answer{open, open, open}, policy.WindowOpen, true, "[]", false},
		{[]window.Answer{open, closed, open}, policy.RecipientsTrimmed, true, "[b]", false},
		{[]window.Answer{closed, open, away}, policy.RecipientsTrimmed, true, "[a c]", true},
		{[]window.Answer{closed, closed, away}, policy.WindowClosed, false, "[]", false},
		{[]window.Answer{away, away, away}, policy.StoreUnavailable, false, "[]", true},
	} {
		d := decide(e, call("/cgi-bin/externalcontact/add_msg_template", wecom.Facts{Customers: []string{"a", "b", "c"}}), test.answers...)
		if d.Reason != test.reason || d.Go != test.goes || fmt.Sprint(d.Rest) != test.rest || d.Transient != test.waits {
			t.Errorf("%v: %+v", test.answers, d)
		}
	}
	for rule, want := range map[string]string{
		"    - { name: r, match: { capabilities: [customer_details] }, action: reply, partial: trim }\n": "cannot report whom it did not reach: name endpoints that can: /cgi-bin/crm/add_msg_template, ",
		"    - { name: r, match: { capabilities: [mass_message] }, action: pass, partial: trim }\n":      "only a rule with action: reply can trim",
		"    - { name: r, action: reply, partial: trimm }\n":                                             "did you mean trim?",
		"    - { name: r, action: reply, mode: shade }\n":                                                `mode cannot be "shade"`,
	} {
		if _, err := engine(t, "", rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// BenchmarkLarge shows that 500 rules and 10,000 accounts cost a call no more than one of each.
func BenchmarkLarge(b *testing.B) {
	for _, size := range []struct{ accounts, rules int }{{1, 1}, {10_000, 500}} {
		var text strings.Builder
		text.WriteString("accounts:\n")
		for i := range size.accounts {
			fmt.Fprintf(&text, "  - { corp_id: ww%d, entity: e%d, subscription: { expires_at: 2020-01-01T00:00:00Z } }\n", i, i)
		}
		text.WriteString("policy:\n  rules:\n")
		for i := range size.rules {
			fmt.Fprintf(&text, "    - { name: r%d, match: { accounts: [ww%d], capabilities: [kf_reply, mass_message] }, from: 2030-01-01T00:00:00Z, action: refuse }\n", i, i)
		}
		c, err := config.Parse("bench", []byte(text.String()))
		if err != nil {
			b.Fatal(err)
		}
		book := account.NewBook(c.Accounts)
		e, err := policy.New("bench", c, book)
		if err != nil {
			b.Fatal(err)
		}
		a := book.Find(fmt.Sprintf("ww%d", size.rules-1))
		send := wecom.Lookup("/cgi-bin/kf/send_msg")
		found := policy.Evidence{Windows: []window.Answer{{State: window.Open, Last: now, Left: 4}}}
		b.Run(fmt.Sprintf("accounts=%d/rules=%d", size.accounts, size.rules), func(b *testing.B) {
			b.ReportAllocs()
			customers := []string{"wm"}
			for b.Loop() {
				a := book.Find(a.CorpID)
				who := policy.Subject{CorpID: a.CorpID, Entity: a.Entity, Standing: a.Standing(now), Account: a}
				e.Inspections(who, send, now)
				c := policy.Call{Who: who, Endpoint: send, Facts: wecom.Facts{Customers: customers, MsgType: "text"}, At: now}
				if d := e.Decide(c, e.Match(c), found); !d.Go {
					b.Fatal(d)
				}
			}
		})
	}
}
