package policy_test

import (
	"os"
	"strings"
	"testing"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// whenEngine compiles accounts ww1 (5,321 contacts) and ww2 (none known) with one rule that refuses
// media/upload, or what match says, when an expression holds.
func whenEngine(t *testing.T, when, match string) (*policy.Engine, *account.Book, error) {
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
		e, book, err := whenEngine(t, test.when, "endpoints: [/cgi-bin/kf/send_msg]")
		if err != nil {
			t.Errorf("%s: %v", test.when, err)
			continue
		}
		c := call(book, test.corp)
		c.Windows[0].State = test.window
		if e.WantsWindows(c) != strings.Contains(test.when, "window.") {
			t.Errorf("%s: WantsWindows is %v", test.when, e.WantsWindows(c))
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

// UsesClients recognizes call.client in any notation.
func TestWhenUsesClients(t *testing.T) {
	for when, want := range map[string]bool{
		`call.client == "pc"`:                                  true,
		`call["client"] == "pc"`:                               true,
		"call . client in [\"pc\"]":                            true,
		`account.name == "call.client"`:                        false,
		`call.msgtype == "text"`:                               false,
		`account.name == "a" ? true : (call . client == "pc")`: true,
	} {
		e, _, err := whenEngine(t, when, "")
		if err != nil {
			t.Errorf("%s: %v", when, err)
		} else if e.UsesClients() != want {
			t.Errorf("%s: UsesClients is %v", when, !want)
		}
	}
}

// A when without facts of the body is evaluated without reading it.
func TestWhenInspections(t *testing.T) {
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
		e, book, err := whenEngine(t, when, "")
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		who := policy.Subject{CorpID: "ww1", Standing: account.Active, Client: "pc", Account: book.Find("ww1")}
		if n := e.Inspections(who, wecom.Lookup("/cgi-bin/media/upload"), now); n.Enforced != want {
			t.Errorf("%s: inspection %d, want %d", when, n.Enforced, want)
		}
	}
	for _, when := range []string{`call.msgtype == "text"`, `window.open`, `call.customers > 0`} {
		e, book, err := whenEngine(t, when, "")
		if err != nil {
			t.Fatal(err)
		}
		who := policy.Subject{CorpID: "ww1", Standing: account.Active, Account: book.Find("ww1")}
		if n := e.Inspections(who, wecom.Lookup("/cgi-bin/kf/send_msg"), now); n.Enforced != policy.InspectBody {
			t.Errorf("%s: inspection %d of a reply", when, n.Enforced)
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
		`call.client == "mac"`:                  `known are unknown, pc`,
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
		_, _, err := whenEngine(t, when, "")
		switch {
		case want == "" && err != nil:
			t.Errorf("%.60s: %v", when, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "when.yaml:9:13: ")):
			t.Errorf("%.60s: %v, want %q", when, err, want)
		}
	}
}

// docs/rules.md lists every fact.
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
