package policy_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

func TestInspections(t *testing.T) {
	e := must(t, "", "")
	active := policy.Subject{CorpID: "ww1", Standing: account.Active}
	for path, want := range map[string]policy.Inspection{
		"/cgi-bin/externalcontact/get":          policy.InspectPath,
		"/cgi-bin/kf/send_msg":                  policy.InspectBody,
		"/cgi-bin/kf/send_msg_on_event":         policy.InspectBody,
		"/cgi-bin/message/send":                 policy.InspectNone,
		"/cgi-bin/kf/sync_msg":                  policy.InspectNone,
		"/cgi-bin/externalcontact/made_up":      policy.InspectPath,
		"/cgi-bin/externalcontact/transfer":     policy.InspectPath,
		"/cgi-bin/externalcontact/message/send": policy.InspectNone,
	} {
		ep := wecom.Lookup(path)
		if got := e.Inspections(lapsed, ep, now).Enforced; got != want {
			t.Errorf("%s lapsed: inspection %d, want %d", path, got, want)
		}
		if got := e.Inspections(active, ep, now).Overall; got != policy.InspectNone {
			t.Errorf("%s active: inspection %d", path, got)
		}
		if free := e.AlwaysPasses(ep); free != (want == policy.InspectNone) {
			t.Errorf("%s: free is %v", path, free)
		}
	}
}

func TestOwnRulesComeFirst(t *testing.T) {
	rules := `
    - name: moments-for-acme
      match: { capabilities: [customer_moments], standings: [lapsed], entities: [acme] }
      from: 2026-11-01T00:00:00+08:00
      until: 2026-12-01T00:00:00+08:00
      action: pass
    - name: no-video
      match: { endpoints: [/cgi-bin/kf/send_msg], msgtypes: [video] }
      action: refuse
      refusal: { errcode: 48006, errmsg: no videos please }
`
	e := must(t, "", rules)
	moments := call("/cgi-bin/externalcontact/add_moment_task", wecom.Facts{Implicit: true})
	if d := decide(e, moments); d.Rule != "moments-for-acme" || !d.Go {
		t.Errorf("inside its dates: %+v", d)
	}
	for name, change := range map[string]func(*policy.Call){
		"before": func(c *policy.Call) { c.At = time.Date(2026, 10, 31, 15, 59, 59, 0, time.UTC) },
		"until":  func(c *policy.Call) { c.At = time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC) },
		"entity": func(c *policy.Call) { c.Who.Entity = "other" },
	} {
		c := moments
		change(&c)
		if d := decide(e, c); d.Rule != "no-moments" || d.Go {
			t.Errorf("%s: %+v", name, d)
		}
	}
	video := call("/cgi-bin/kf/send_msg", wecom.Facts{Customers: []string{"a"}, MsgType: "video"})
	if d := decide(e, video); d.Errcode != 48006 || d.Errmsg != "no videos please" || d.Rule != "no-video" {
		t.Errorf("a refusal of its own: %+v", d)
	}
	if need := e.Inspections(policy.Subject{CorpID: "ww1", Standing: account.Active}, wecom.Lookup("/cgi-bin/kf/send_msg"), now).Enforced; need != policy.InspectBody {
		t.Errorf("a rule by message type needs the body: %d", need)
	}
}

// plainRule is a rule as the model of TestFirstMatchDecides sees it; empty lists match anything.
type plainRule struct {
	name, action                                                   string
	caps, corps, entities, standings, endpoints, msgtypes, clients []string
	from, until                                                    time.Time
}

func (r plainRule) yaml() string {
	var match []string
	for key, list := range map[string][]string{
		"capabilities": r.caps, "accounts": r.corps, "entities": r.entities, "standings": r.standings,
		"endpoints": r.endpoints, "msgtypes": r.msgtypes, "clients": r.clients,
	} {
		if len(list) > 0 {
			match = append(match, key+": ["+strings.Join(list, ", ")+"]")
		}
	}
	text := "    - { name: " + r.name + ", match: { " + strings.Join(match, ", ") + " }, action: " + r.action
	if !r.from.IsZero() {
		text += ", from: " + r.from.Format(time.RFC3339)
	}
	if !r.until.IsZero() {
		text += ", until: " + r.until.Format(time.RFC3339)
	}
	return text + " }\n"
}

func (r plainRule) matches(c policy.Call) bool {
	in := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	endpoint := func(pattern string) bool {
		family, _ := strings.CutSuffix(pattern, "*")
		name, below := strings.CutPrefix(c.Endpoint.Path, family)
		return pattern == c.Endpoint.Path || pattern != family && below && !strings.Contains(name, "/")
	}
	return in(r.caps, string(c.Endpoint.Capability)) && in(r.corps, c.Who.CorpID) && in(r.entities, c.Who.Entity) &&
		in(r.standings, string(c.Who.Standing)) && in(r.clients, c.Who.Client) && in(r.msgtypes, c.Facts.MsgType) &&
		(len(r.endpoints) == 0 || slices.ContainsFunc(r.endpoints, endpoint)) &&
		!c.At.Before(r.from) && (r.until.IsZero() || c.At.Before(r.until))
}

// randomRule draws a rule over a small set of values, so that calls often match several rules.
func randomRule(random *rand.Rand, name string) plainRule {
	pick := func(all ...string) (out []string) {
		if random.IntN(3) > 0 {
			return nil
		}
		for _, w := range all {
			if random.IntN(2) == 0 {
				out = append(out, w)
			}
		}
		return out
	}
	instant := func() time.Time {
		if random.IntN(4) > 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(random.IntN(3)-1) * time.Hour)
	}
	r := plainRule{
		name: name, action: []string{"pass", "refuse", "reply"}[random.IntN(3)],
		caps: pick("kf_reply", "media", "customer_details", "customer_acquisition"), corps: pick("ww1", "ww2"), entities: pick("acme", "other"),
		standings: pick("active", "grace", "lapsed", "free"), msgtypes: pick("text", "image"), clients: pick("pc", "unknown"),
		endpoints: pick(send, "/cgi-bin/media/upload", "/cgi-bin/kf/*", "/cgi-bin/externalcontact/customer_acquisition/*"), from: instant(), until: instant(),
	}
	if !r.until.IsZero() && !r.from.Before(r.until) {
		r.from = time.Time{}
	}
	return r
}

// The tables find the same rule as a plain search from the top, whatever the rules.
func TestFirstMatchDecides(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	random := rand.New(rand.NewPCG(3, 4))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	paths := []string{
		send, "/cgi-bin/media/upload", "/cgi-bin/kf/sync_msg", "/cgi-bin/externalcontact/get", "/cgi-bin/kf/customer/batchget",
		"/cgi-bin/externalcontact/customer_acquisition/create_link", "/cgi-bin/externalcontact/customer_acquisition_quota",
	}
	decided := map[string]int{}
	for range rounds {
		var rules []plainRule
		text := "accounts: [{ corp_id: ww1, entity: acme }, { corp_id: ww2, entity: other }]\nclients: [{ name: pc, header: User-Agent, contains: x }]\npolicy:\n  ruleset: off\n  rules:\n"
		for i := range 1 + random.IntN(8) {
			r := randomRule(random, string(rune('a'+i)))
			rules = append(rules, r)
			text += r.yaml()
		}
		e := configured(t, text)
		for range 60 {
			c := policy.Call{
				Who:      policy.Subject{CorpID: one("ww1", "ww2", "ww3"), Entity: one("acme", "other", ""), Standing: account.Standings()[random.IntN(4)], Client: one("pc", "unknown")},
				Endpoint: wecom.Lookup(one(paths...)),
				Facts:    wecom.Facts{MsgType: one("text", "image", "")},
				At:       now.Add(time.Duration(random.IntN(3)-1) * time.Hour),
			}
			want := "everything-passes"
			if i := slices.IndexFunc(rules, func(r plainRule) bool { return r.matches(c) }); i >= 0 {
				want = rules[i].name
			}
			decided[want]++
			m := e.Match(c)
			if m.Rule == nil || m.Rule.Name != want || m.Err != nil {
				t.Fatalf("%s %+v: %+v, want %s of\n%s", c.Endpoint.Path, c, m, want, text)
			}
			for _, r := range e.Trace(c, c.Endpoint.Capability, false) { // and the explanation agrees
				if r.Matched && r.Name != want {
					t.Fatalf("%+v: Trace says that %s matches, want %s of\n%s", c, r.Name, want, text)
				}
			}
		}
	}
	if decided["everything-passes"] < rounds || decided["a"] < rounds || decided["c"] < rounds/2 {
		t.Errorf("the rules are not varied enough: %v", decided)
	}
}

// percent selects the same customers every time, as many as configured, and other ones per rule.
func TestPercent(t *testing.T) {
	rules := "    - { name: some, match: { capabilities: [kf_reply], standings: [lapsed] }, percent: %d, action: refuse }\n"
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	for _, percent := range []int{0, 1, 30, 99, 100} {
		e := must(t, "", fmt.Sprintf(rules, percent))
		again := must(t, "", fmt.Sprintf(rules, percent))
		taken := 0
		for i := range n {
			c := call("/cgi-bin/kf/send_msg", wecom.Facts{Customers: []string{fmt.Sprintf("wmCustomer%d", i)}, MsgType: "text"})
			rule := e.Match(c).Rule
			if same := again.Match(c).Rule; same.Name != rule.Name {
				t.Fatalf("customer %d is taken by %s, then by %s", i, rule.Name, same.Name)
			}
			if rule.Name == "some" {
				taken++
			}
		}
		if got := float64(taken) * 100 / float64(n); math.Abs(got-float64(percent)) > 1 {
			t.Errorf("percent %d takes %.2f", percent, got)
		}
	}
	e := must(t, "", "    - { name: a, match: { capabilities: [oa, media] }, percent: 50, action: refuse }\n    - { name: b, match: { capabilities: [oa, media] }, percent: 50, action: refuse }\n")
	share := map[string]int{}
	for i := range 10_000 {
		c := call("/cgi-bin/media/upload", wecom.Facts{})
		c.Who.CorpID = fmt.Sprintf("ww%d", i)
		if rule := e.Match(c).Rule; rule != nil {
			share[rule.Name]++
		}
		if e.Inspections(c.Who, c.Endpoint, now).Overall == policy.InspectBody {
			t.Fatal("the body of an upload is read to draw an account")
		}
	}
	if share["a"] < 4800 || share["a"] > 5200 || share["b"] < 2200 || share["b"] > 2800 {
		t.Errorf("two rules of 50 %% take %v of 10,000 accounts", share)
	}
}

// * matches one path segment; a rule with clients only matches these.
func TestPatternsAndClients(t *testing.T) {
	e := must(t, "", "    - { name: links, match: { endpoints: [/cgi-bin/externalcontact/customer_acquisition/*] }, action: pass }\n    - { name: pc, match: { clients: [unknown], endpoints: [/cgi-bin/externalcontact/get] }, action: pass }\n")
	match := func(path, client string) string {
		c := call(path, wecom.Facts{})
		c.Who.Client = client
		return e.Match(c).Rule.Name
	}
	for _, test := range []struct{ path, client, rule string }{
		{"/cgi-bin/externalcontact/customer_acquisition/create_link", "", "links"},
		{"/cgi-bin/externalcontact/get", "unknown", "pc"},
		{"/cgi-bin/externalcontact/get", "mobile", "no-customer-details"},
		{"/cgi-bin/externalcontact/groupchat/list", "unknown", "no-group-management"},
	} {
		if got := match(test.path, test.client); got != test.rule {
			t.Errorf("%s by %q meets %s, want %s", test.path, test.client, got, test.rule)
		}
	}
	for rules, want := range map[string]string{
		"    - { name: r, match: { endpoints: [/cgi-bin/nothing/*] }, action: pass }\n": "no endpoint matches",
		"    - { name: r, match: { endpoints: [\"/cgi-bin/[a\"] }, action: pass }\n":    "there is no endpoint",
		"    - { name: r, match: { clients: [pc] }, action: pass }\n":                   "there is no client \"pc\"",
		"    - { name: r, percent: 101, action: pass }\n":                               "percent cannot be 101",
	} {
		if _, err := engine(t, "", rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rules, err)
		}
	}
}

// Rules in shadow never change the enforced decision. ShadowMatch finds the rule that would decide
// if they were enforced.
func TestShadowChangesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	actions := []string{"pass", "refuse", "reply"}
	rounds := 150
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
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
			found := policy.Evidence{Windows: []window.Answer{{State: window.State(random.IntN(8)), Last: now}}}
			got, want := with.Decide(c, with.Match(c), found), without.Decide(c, without.Match(c), found)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%+v\nwith the rules in shadow: %+v\nwithout: %+v\n%s", c, got, want, all.String())
			}
			if n, plain := with.Inspections(c.Who, c.Endpoint, now), without.Inspections(c.Who, c.Endpoint, now); n.Enforced != plain.Enforced || n.Overall < n.Enforced {
				t.Fatalf("%+v\nneeds with the rules in shadow %+v, without %+v\n%s", c, n, plain, all.String())
			}
			m := would.Match(c)
			enforced := with.Match(c)
			if w, differs := with.ShadowMatch(c, enforced); w.Rule.Name != m.Rule.Name || differs != (w.Rule.Name != enforced.Rule.Name) && (c.Facts.Also == "" || !differs) {
				t.Fatalf("%+v\nwould meet %s (another one: %v), without shadow it meets %s\n%s", c, w.Rule.Name, differs, m.Rule.Name, all.String())
			}
		}
	}
}

// BenchmarkLarge shows that a call costs the same with 500 rules and 10,000 accounts as with one
// each.
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

// Each condition of a match, at its boundaries.
func TestConditions(t *testing.T) {
	const details = "/cgi-bin/externalcontact/get"
	at := func(t time.Time) func(*policy.Call) { return func(c *policy.Call) { c.At = t } }
	who := func(change func(*policy.Subject)) func(*policy.Call) { return func(c *policy.Call) { change(&c.Who) } }
	msgtype := func(name string) func(*policy.Call) { return func(c *policy.Call) { c.Facts.MsgType = name } }
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	const dates = "from: 2026-11-01T08:00:00+08:00, until: 2026-12-01T08:00:00+08:00"
	for _, test := range []struct {
		rule    string
		path    string
		change  func(*policy.Call)
		matches bool
	}{
		{"match: {}", send, nil, true},
		{"match: { accounts: [ww1] }", send, nil, true},
		{"match: { accounts: [ww2] }", send, nil, false},
		{"match: { accounts: [ww1, ww2] }", send, who(func(s *policy.Subject) { s.CorpID = "ww2" }), true},
		{"match: { accounts: [ww1] }", send, who(func(s *policy.Subject) { s.CorpID = "WW1" }), false},
		{"match: { entities: [acme] }", send, nil, true},
		{"match: { entities: [acme] }", send, who(func(s *policy.Subject) { s.Entity = "" }), false},
		{"match: { accounts: [ww1], entities: [other] }", send, nil, false},
		{"match: { accounts: [ww1], entities: [acme, other] }", send, nil, true},
		{"match: { standings: [lapsed] }", send, nil, true},
		{"match: { standings: [active, grace, free] }", send, nil, false},
		{"match: { standings: [lapsed] }", send, who(func(s *policy.Subject) { s.Standing = "no such standing" }), true}, // judged as lapsed
		{"match: { capabilities: [kf_reply] }", send, nil, true},
		{"match: { capabilities: [kf_reply] }", details, nil, false},
		{"match: { endpoints: [" + send + "] }", send, nil, true},
		{"match: { endpoints: [/cgi-bin/kf/*] }", send, nil, true},
		{"match: { endpoints: [/cgi-bin/*/send_msg] }", send, nil, true},
		{"match: { endpoints: [/cgi-bin/kf/send*] }", onEvent, nil, true},
		{"match: { endpoints: [/cgi-bin/kf/*] }", "/cgi-bin/kf/customer/batchget", nil, false}, // one segment only
		{"match: { endpoints: [/cgi-bin/kf/*/*] }", "/cgi-bin/kf/customer/batchget", nil, true},
		{"match: { endpoints: [/cgi-bin/kf/*, " + details + "] }", details, nil, true},
		{"match: { msgtypes: [text] }", send, msgtype("text"), true},
		{"match: { msgtypes: [text] }", send, msgtype("Text"), false},
		{"match: { msgtypes: [text] }", send, msgtype(""), false},
		{"match: { clients: [pc] }", send, who(func(s *policy.Subject) { s.Client = "pc" }), true},
		{"match: { clients: [pc] }", send, who(func(s *policy.Subject) { s.Client = "unknown" }), false},
		{"match: { clients: [unknown] }", send, who(func(s *policy.Subject) { s.Client = "unknown" }), true},
		{dates, send, at(from), true},
		{dates, send, at(from.Add(-time.Nanosecond)), false},
		{dates, send, at(from.AddDate(0, 1, 0).Add(-time.Nanosecond)), true},
		{dates, send, at(from.AddDate(0, 1, 0)), false},
		{"percent: 100", send, nil, true},
		{"percent: 0", send, nil, false},
		{`when: call.client == "pc"`, send, who(func(s *policy.Subject) { s.Client = "pc" }), true},
		{`when: call.client == "pc"`, send, nil, false},
		{`match: { msgtypes: [text] }, when: call.customers > 1`, send, msgtype("text"), false}, // both must hold
	} {
		e := configured(t, "accounts: [{ corp_id: ww1, entity: acme }, { corp_id: ww2, entity: other }]\nclients: [{ name: pc, header: User-Agent, contains: x }]\n"+
			"policy: { ruleset: off, rules: [{ name: r, "+test.rule+", action: refuse }] }\n")
		c := call(test.path, wecom.Facts{Customers: []string{"wm"}})
		if test.change != nil {
			test.change(&c)
		}
		if got := e.Match(c).Rule.Name == "r"; got != test.matches {
			t.Errorf("%s on %s: matches is %v", test.rule, test.path, got)
		}
	}
}

// percent draws by customer if a call names exactly one, else by account, and apart for each corp.
func TestPercentDraws(t *testing.T) {
	e := must(t, "", "    - { name: half, match: { capabilities: [mass_message] }, percent: 50, action: pass }\n")
	taken := func(corp string, customers ...string) bool {
		c := call(mass, wecom.Facts{Customers: customers})
		c.Who.CorpID = corp
		return e.Match(c).Rule.Name == "half"
	}
	apart, several := 0, 0
	for i := range 200 {
		wm := fmt.Sprintf("wm%d", i)
		if taken("ww1", wm) != taken("ww2", wm) {
			apart++
		}
		if taken("ww1", wm, "wmOther") != taken("ww1") {
			several++
		}
	}
	if apart < 60 || apart > 140 {
		t.Errorf("%d of 200 customers are drawn apart for another corp", apart)
	}
	if several != 0 {
		t.Errorf("%d of 200 calls to two customers are not drawn by their account", several)
	}
}

// Inspections with conditions: the body is only read if it can decide.
func TestInspectionsOfRules(t *testing.T) {
	const details, upload = "/cgi-bin/externalcontact/get", "/cgi-bin/media/upload"
	const none, path, body = policy.InspectNone, policy.InspectPath, policy.InspectBody
	for _, test := range []struct {
		rule, path        string
		enforced, overall policy.Inspection
	}{
		{"match: { capabilities: [media] }, action: refuse", upload, path, path},
		{"match: { capabilities: [media] }, mode: shadow, action: refuse", upload, none, path},
		{"match: { capabilities: [customer_details] }, action: pass", details, none, none},
		{"match: { capabilities: [customer_details] }, mode: shadow, action: pass", details, path, path},
		{"match: { capabilities: [customer_details] }, action: reply", details, body, body},
		{"match: { capabilities: [customer_details] }, mode: shadow, action: reply", details, path, body},
		{"match: { msgtypes: [text] }, action: refuse", send, body, body},
		{"match: { msgtypes: [text] }, action: refuse", upload, none, none}, // an upload has no msgtype
		{"match: { msgtypes: [text] }, mode: shadow, action: refuse", "/cgi-bin/message/send", none, body},
		{"percent: 50, action: pass", send, body, body},
		{"match: { accounts: [ww2] }, action: refuse", upload, none, none}, // another account
		{"match: { entities: [other] }, action: refuse", upload, none, none},
		{"until: 2026-11-22T12:00:00Z, action: refuse", upload, none, none},
		{"until: 2026-11-22T12:00:01Z, action: refuse", upload, path, path},
	} {
		e := must(t, "", "    - { name: r, "+test.rule+" }\n")
		n := e.Inspections(lapsed, wecom.Lookup(test.path), now)
		if n.Enforced != test.enforced || n.Overall != test.overall {
			t.Errorf("%s on %s: %+v, want %d, %d", test.rule, test.path, n, test.enforced, test.overall)
		}
	}
}

// AlwaysPasses holds only if no rule of any phase can refuse or read a call, whoever makes it.
func TestAlwaysPasses(t *testing.T) {
	upload := wecom.Lookup("/cgi-bin/media/upload")
	for rule, want := range map[string]bool{
		"match: { capabilities: [oa] }, action: refuse":                                true,
		"match: { capabilities: [media] }, action: pass":                               true,
		"match: { capabilities: [media] }, action: refuse":                             false,
		"match: { capabilities: [media] }, mode: shadow, action: refuse":               false,
		"match: { capabilities: [media] }, mode: shadow, action: pass":                 false,
		"match: { capabilities: [media], accounts: [ww2] }, action: refuse":            false,
		"match: { capabilities: [media], standings: [active] }, action: refuse":        false,
		"match: { capabilities: [media] }, from: 2030-01-01T00:00:00Z, action: refuse": false,
		"match: { capabilities: [media] }, percent: 1, action: refuse":                 false,
		"match: { endpoints: [/cgi-bin/media/*] }, action: reply":                      false,
	} {
		if got := must(t, "", "    - { name: r, "+rule+" }\n").AlwaysPasses(upload); got != want {
			t.Errorf("%s: %v", rule, got)
		}
	}
	if !must(t, "", "    - { name: first, match: { capabilities: [media] }, action: pass }\n    - { name: r, action: refuse }\n").AlwaysPasses(upload) {
		t.Error("a rule after one that always passes counts")
	}
}

// Rules of an operator do not apply to calls that fetch tokens nor to those of providers; explain
// says so.
func TestNeverJudgedAlwaysPasses(t *testing.T) {
	for _, rule := range []string{"action: refuse", "action: refuse, mode: shadow", "match: { accounts: [ww2] }, action: reply", "match: { capabilities: [token, thirdparty] }, action: refuse"} {
		e := must(t, "", "    - { name: r, "+rule+" }\n")
		for _, path := range []string{"/cgi-bin/gettoken", "/cgi-bin/service/get_suite_token", "/cgi-bin/service/get_login_info", "/cgi-bin/service/made_up"} {
			c := call(path, wecom.Facts{})
			if n := e.Inspections(c.Who, c.Endpoint, now); !e.AlwaysPasses(c.Endpoint) || !e.SetsAlwaysPass(c.Endpoint) || n.Overall != policy.InspectNone {
				t.Errorf("%s, %s: %+v", rule, path, n)
			}
			if all := e.Trace(c, c.Endpoint.Capability, false); all[0].Matched || all[0].Why != "it is not about "+c.Endpoint.Path && !strings.HasPrefix(all[0].Why, "it is about ") {
				t.Errorf("%s, %s: %+v", rule, path, all[0])
			}
		}
	}
}

// SetsAlwaysPass leaves the operator's rules out.
func TestSetsAlwaysPass(t *testing.T) {
	e := must(t, "", "    - { name: r, action: refuse }\n")
	for path, want := range map[string]bool{
		"/cgi-bin/webhook/send":        true,
		"/cgi-bin/media/upload":        true,
		"/cgi-bin/externalcontact/get": false,
		"/cgi-bin/kf/send_msg":         false,
	} {
		if got := e.SetsAlwaysPass(wecom.Lookup(path)); got != want || e.AlwaysPasses(wecom.Lookup(path)) {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// ShadowMatch is the match with the rules in shadow enforced.
func TestShadowMatch(t *testing.T) {
	for _, test := range []struct {
		rules, want string
		differs     bool
	}{
		{"", "reply-inside-the-window", false},
		{"    - { name: s, mode: shadow, action: refuse }\n", "s", true},
		{"    - { name: s, mode: shadow, match: { capabilities: [media] }, action: refuse }\n", "reply-inside-the-window", false},
		{"    - { name: p, action: pass }\n    - { name: s, mode: shadow, action: refuse }\n", "p", false},
	} {
		e := must(t, "", test.rules)
		c := call(send, wecom.Facts{Customers: []string{"wm"}})
		enforced := e.Match(c)
		m, differs := e.ShadowMatch(c, enforced)
		if m.Rule.Name != test.want || differs != test.differs || enforced.Rule.Shadow {
			t.Errorf("%s: %s, differs %v", test.rules, m.Rule.Name, differs)
		}
	}
}
