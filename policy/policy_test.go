package policy_test

import (
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// engine compiles a configuration for the corps ww1 and ww2; rules is the YAML below policy.rules.
func engine(t *testing.T, more, rules string) (*policy.Engine, error) {
	t.Helper()
	text := "accounts: [{ corp_id: ww1, entity: acme }, { corp_id: ww2, entity: other }]\npolicy:\n  cold_start: pass\n"
	if more != "" {
		text += "  " + more + "\n"
	}
	if rules != "" {
		text += "  rules:\n" + rules
	}
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return policy.New("test.yaml", c, account.NewBook(c.Accounts))
}

func must(t *testing.T, more, rules string) *policy.Engine {
	t.Helper()
	e, err := engine(t, more, rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var (
	now    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	lapsed = policy.Subject{CorpID: "ww1", Entity: "acme", Standing: account.Lapsed}
)

func call(path string, f wecom.Facts) policy.Call {
	return policy.Call{Who: lapsed, Endpoint: wecom.Lookup(path), Facts: f, At: now}
}

func decide(e *policy.Engine, c policy.Call, answers ...window.Answer) policy.Decision {
	return e.Decide(c, e.Match(c), policy.Evidence{Windows: answers})
}

// configured compiles a whole configuration.
func configured(t *testing.T, text string) *policy.Engine {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := policy.New("test.yaml", c, account.NewBook(c.Accounts))
	if err != nil {
		t.Fatal(err)
	}
	reply := call("/cgi-bin/kf/send_msg", wecom.Facts{Customers: []string{"wm"}})
	for state, want := range map[window.State]struct {
		verdict policy.Verdict
		errcode int
	}{window.Unproven: {policy.Unsure, -1}, window.Unavailable: {policy.Unsure, -1}, window.Incomplete: {policy.Refuse, 95002}} {
		if d := decide(e, reply, window.Answer{State: state}); d.Verdict != want.verdict || d.Errcode != want.errcode || d.Go {
			t.Errorf("%s: %+v", state, d)
		}
	}
}

// On doubt nothing goes on but a reply of kf, for which WeCom itself enforces the window: neither
// by on_unsure nor by cold_start.
func TestOnlyKfRepliesPassOnDoubt(t *testing.T) {
	const rules = `
    - { name: odd, match: { capabilities: [kf_reply], msgtypes: [odd] }, when: account.contacts > 1, action: pass }
    - { name: seen, match: { capabilities: [kf_reply], msgtypes: [seen] }, when: window.replies_left >= 1, action: pass }
    - { name: cards, match: { capabilities: [add_customer], msgtypes: [link] }, action: pass }
    - { name: windows, match: { capabilities: [mass_message, add_customer, succession] }, action: reply }
`
	e := must(t, "on_unsure: pass", rules)
	one := []string{"wm"}
	kf := func(msgtype, also string) policy.Call {
		return call("/cgi-bin/kf/send_msg", wecom.Facts{Channel: "wk", Customers: one, MsgType: msgtype, Also: wecom.Capability(also)})
	}
	for name, test := range map[string]struct {
		call policy.Call
		goes bool
	}{
		"a reply":                          {kf("text", ""), true},
		"a legacy reply":                   {call("/cgi-bin/kf/send", wecom.Facts{Customers: one}), true},
		"a reply that a rule lets add too": {kf("link", "add_customer"), true},
		"a reply that adds":                {kf("business_card", "add_customer"), false},
		"a mass message":                   {call("/cgi-bin/externalcontact/add_msg_template", wecom.Facts{Customers: one}), false},
		"a mass message to two":            {call("/cgi-bin/externalcontact/add_msg_template", wecom.Facts{Customers: []string{"wm", "wn"}}), false},
		"a transfer":                       {call("/cgi-bin/externalcontact/transfer_customer", wecom.Facts{Customers: one}), false},
		"an unknown number":                {kf("odd", ""), false},
		"a rule about windows":             {kf("seen", ""), false},
		"a reply with a code":              {call("/cgi-bin/kf/send_msg_on_event", wecom.Facts{Code: "c"}), false},
	} {
		for _, state := range []window.State{window.Unavailable, window.Incomplete, window.Unproven} {
			var answers []window.Answer
			for range test.call.Facts.Customers {
				answers = append(answers, window.Answer{State: state, Left: -1})
			}
			c := test.call
			c.Windows = answers
			m := e.Match(c)
			for _, code := range []window.CodeState{window.CodeTaken, window.CodeUnavailable} {
				d := e.Decide(c, m, policy.Evidence{Windows: answers, Code: window.CodeAnswer{State: code}})
				if d.Verdict != policy.Unsure || d.Go != test.goes {
					t.Errorf("%s, window %s: verdict %s, reason %s, rule %s, goes on %v", name, state, d.Verdict, d.Reason, d.Rule, d.Go)
				}
			}
		}
	}
}

// What may end within seconds is worth a wait, and nothing else is.
func TestTransient(t *testing.T) {
	const rules = `
    - { name: odd, match: { capabilities: [kf_reply], msgtypes: [odd] }, when: account.contacts > 1, action: pass }
    - { name: seen, match: { capabilities: [kf_reply], msgtypes: [seen] }, when: window.open, action: pass }
    - { name: windows, match: { capabilities: [mass_message] }, action: reply }
`
	one := []string{"wm"}
	text := call("/cgi-bin/kf/send_msg", wecom.Facts{Customers: one, MsgType: "text"})
	odd := call("/cgi-bin/kf/send_msg", wecom.Facts{Customers: one, MsgType: "odd"})
	seen := call("/cgi-bin/kf/send_msg", wecom.Facts{Customers: one, MsgType: "seen"})
	mass := call("/cgi-bin/externalcontact/add_msg_template", wecom.Facts{Customers: one})
	for _, more := range []string{"", "on_unsure: pass"} {
		e := must(t, more, rules)
		for _, test := range []struct {
			name  string
			call  policy.Call
			state window.State
			want  bool
		}{
			{"a reply", text, window.Unavailable, true},
			{"a reply that WeCom judges", text, window.Unproven, false},
			{"a reply on the first day", text, window.Incomplete, false},
			{"a mass message", mass, window.Unavailable, true},
			{"a mass message, unproven", mass, window.Unproven, true},
			{"a mass message on the first day", mass, window.Incomplete, false},
			{"an open window", text, window.Open, false},
			{"a closed window", text, window.Closed, false},
			{"a rule about a number", odd, window.Unavailable, false},
			{"a rule about windows", seen, window.Unavailable, true},
		} {
			a := []window.Answer{{State: test.state, Left: -1}}
			test.call.Windows = a
			d := e.Decide(test.call, e.Match(test.call), policy.Evidence{Windows: a})
			if d.Transient != test.want {
				t.Errorf("%s, %s: %+v", test.name, more, d)
			}
		}
		for state, want := range map[window.CodeState]bool{window.CodeUnavailable: true, window.CodeUnknown: false, window.CodeUsed: false} {
			c := call("/cgi-bin/kf/send_msg_on_event", wecom.Facts{Code: "c"})
			if d := e.Decide(c, e.Match(c), policy.Evidence{Code: window.CodeAnswer{State: state}}); d.Transient != want {
				t.Errorf("a code, %s: %+v", state, d)
			}
		}
		for capability, want := range map[wecom.Capability]bool{wecom.KfReply: true, wecom.KfEventReply: true, "mass_message": false, "customer_details": false, "": false} {
			if d := e.OwnerUnavailable(capability); d.Transient != want || d.Go {
				t.Errorf("an unknown token, %s: %+v", capability, d)
			}
		}
	}
}

// A window opens nothing but replies.
func TestAnOpenWindowIsNoPassForAdding(t *testing.T) {
	e := must(t, "", "")
	card := wecom.Facts{Channel: "wk", Customers: []string{"wm"}, MsgType: "business_card", Also: "add_customer"}
	d := decide(e, call("/cgi-bin/kf/send_msg", card), window.Answer{State: window.Open, Last: now})
	if d.Verdict != policy.Refuse || d.Rule != "no-adding-customers" || d.Capability != "add_customer" || d.Errcode != 48002 {
		t.Errorf("%+v", d)
	}
}

// Of a call with two capabilities the certain refusal of one is never hidden by a doubt about the
// other.
func TestTwoCapabilities(t *testing.T) {
	const (
		fails  = "when: account.contacts < 5, action: pass" // the account does not tell: unsure
		byName = "action: reply"
		passes = "action: pass"
	)
	open, closed, away := window.State(window.Open), window.State(window.Closed), window.State(window.Unavailable)
	for _, test := range []struct {
		reply, add string // the rules for the two capabilities
		state      window.State
		verdict    policy.Verdict
		reason     policy.Reason
		capability wecom.Capability
	}{
		{byName, fails, closed, policy.Refuse, policy.WindowClosed, wecom.KfReply},
		{byName, fails, open, policy.Unsure, policy.WhenFailed, "add_customer"},
		{byName, fails, away, policy.Unsure, policy.WhenFailed, "add_customer"},
		{fails, byName, closed, policy.Refuse, policy.WindowClosed, "add_customer"},
		{fails, byName, open, policy.Unsure, policy.WhenFailed, wecom.KfReply},
		{fails, "action: refuse", open, policy.Refuse, policy.RuleRefuse, "add_customer"},
		{"action: refuse", fails, open, policy.Refuse, policy.RuleRefuse, wecom.KfReply},
		{fails, passes, open, policy.Unsure, policy.WhenFailed, wecom.KfReply},
		{byName, byName, closed, policy.Refuse, policy.WindowClosed, "add_customer"},
		{byName, byName, open, policy.Pass, policy.WindowOpen, "add_customer"},
		{byName, passes, closed, policy.Refuse, policy.WindowClosed, wecom.KfReply},
		{passes, passes, closed, policy.Pass, policy.RulePass, "add_customer"},
	} {
		rules := fmt.Sprintf("    - { name: replies, match: { capabilities: [kf_reply] }, %s }\n    - { name: adds, match: { capabilities: [add_customer] }, %s }\n", test.reply, test.add)
		for _, more := range []string{"", "on_unsure: pass"} {
			e := must(t, more, rules)
			c := call("/cgi-bin/kf/send_msg", wecom.Facts{Channel: "wk", Customers: []string{"wm"}, MsgType: "ca_link", Also: "add_customer"})
			d := decide(e, c, window.Answer{State: test.state, Last: now.Add(-time.Hour), Left: -1})
			if d.Verdict != test.verdict || d.Reason != test.reason || d.Capability != test.capability {
				t.Errorf("replies %s, adds %s, state %s, %s: %s %s %s", test.reply, test.add, test.state, more, d.Verdict, d.Reason, d.Capability)
			}
			if d.Verdict == policy.Refuse && d.Go {
				t.Errorf("replies %s, adds %s, state %s, %s: a refusal goes on", test.reply, test.add, test.state, more)
			}
		}
	}
}

func TestReplyActionElsewhere(t *testing.T) {
	e := must(t, "", "    - { name: mass-to-open-windows, match: { capabilities: [mass_message, group_management] }, action: reply }\n")
	path := "/cgi-bin/externalcontact/add_msg_template"
	open := window.Answer{State: window.Open, Last: now, Left: -1}
	for name, test := range map[string]struct {
		c       policy.Call
		answers []window.Answer
		reason  policy.Reason
	}{
		"all open":         {call(path, wecom.Facts{Customers: []string{"a", "b"}}), []window.Answer{open, open}, policy.WindowOpen},
		"one closed":       {call(path, wecom.Facts{Customers: []string{"a", "b"}}), []window.Answer{open, {State: window.Closed}}, policy.WindowClosed},
		"one unknown":      {call(path, wecom.Facts{Customers: []string{"a", "b"}}), []window.Answer{{State: window.Unavailable}, open}, policy.StoreUnavailable},
		"closed > unknown": {call(path, wecom.Facts{Customers: []string{"a", "b"}}), []window.Answer{{State: window.Unavailable}, {State: window.Closed}}, policy.WindowClosed},
		"unproven":         {call(path, wecom.Facts{Customers: []string{"a"}}), []window.Answer{{State: window.Unproven}}, policy.StoreUnavailable},
		"cold start":       {call(path, wecom.Facts{Customers: []string{"a"}}), []window.Answer{{State: window.Incomplete}}, policy.HistoryIncomplete},
		"all customers":    {call(path, wecom.Facts{Implicit: true}), nil, policy.RecipientsImplicit},
		"a group":          {call("/cgi-bin/externalcontact/groupchat/get", wecom.Facts{Groups: []string{"wr"}}), nil, policy.RecipientsImplicit},
		"nobody":           {call(path, wecom.Facts{}), nil, policy.RecipientsMissing},
	} {
		d := decide(e, test.c, test.answers...)
		if d.Reason != test.reason || d.Go != (test.reason == policy.WindowOpen) {
			t.Errorf("%s: %+v", name, d)
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

func TestMistakesInRules(t *testing.T) {
	for rule, want := range map[string]string{
		`{ name: a, match: { capabilities: [mass_mesage] }, action: pass }`:                  `test.yaml:5:42: there is no capability "mass_mesage": did you mean mass_message?`,
		`{ name: a, match: { standings: [lapsd] }, action: pass }`:                           `did you mean lapsed?`,
		`{ name: a, match: { accounts: [WW1] }, action: pass }`:                              `there is no account "WW1"`,
		`{ name: a, match: { entities: [acne] }, action: pass }`:                             `did you mean acme?`,
		`{ name: a, match: { endpoints: [/cgi-bin/kf/send_mesg] }, action: pass }`:           `did you mean /cgi-bin/kf/send_msg?`,
		`{ name: a, action: allow }`:                                                         `action cannot be "allow"`,
		`{ name: a }`:                                                                        `rule a has no action`,
		`{ action: pass }`:                                                                   `a rule has no name`,
		`{ name: a, action: pass, refusal: { errcode: 48002 } }`:                             `a rule that passes has a refusal`,
		`{ name: a, action: refuse, refusal: { errcode: 42001 } }`:                           `refusal.errcode cannot be 42001`,
		`{ name: a, action: refuse, refusal: { errmsg: no } }`:                               `refusal.errcode is missing`,
		`{ name: a, action: pass, from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z }`: `the rule ends before it begins`,
		"{ name: a, action: pass }\n    - { name: a, action: pass }":                         `two rules are called a: the other is in line 5`,
	} {
		if _, err := engine(t, "", "    - "+rule+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}

// The first rule that matches decides, whatever the rules: checked against a plain search.
func TestFirstMatchDecides(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	capabilities := wecom.Capabilities()
	for range 200 {
		type plain struct {
			name, action string
			caps, corps  []string
			standings    []string
		}
		var rules []plain
		var text strings.Builder
		some := func(all []string) (out []string) {
			for _, w := range all {
				if random.IntN(2) == 0 {
					out = append(out, w)
				}
			}
			return out
		}
		for i := range 1 + random.IntN(6) {
			var caps []string
			for range random.IntN(4) {
				caps = append(caps, string(capabilities[random.IntN(len(capabilities))]))
			}
			p := plain{name: string(rune('a' + i)), action: []string{"pass", "refuse"}[random.IntN(2)], caps: caps, corps: some([]string{"ww1", "ww2"}), standings: some([]string{"active", "grace", "lapsed", "free"})}
			rules = append(rules, p)
			var match []string
			for name, list := range map[string][]string{"capabilities": p.caps, "accounts": p.corps, "standings": p.standings} {
				if len(list) > 0 {
					match = append(match, name+": ["+strings.Join(list, ", ")+"]")
				}
			}
			text.WriteString("    - { name: " + p.name + ", match: { " + strings.Join(match, ", ") + " }, action: " + p.action + " }\n")
		}
		e := must(t, "ruleset: off", text.String())
		for range 50 {
			ep := wecom.Endpoints()[random.IntN(len(wecom.Endpoints()))]
			who := policy.Subject{CorpID: []string{"ww1", "ww2", "ww3"}[random.IntN(3)], Standing: account.Standings()[random.IntN(4)]}
			want := "everything-passes"
			for _, p := range rules {
				in := func(list []string, w string) bool { return len(list) == 0 || slices.Contains(list, w) }
				if in(p.caps, string(ep.Capability)) && in(p.corps, who.CorpID) && in(p.standings, string(who.Standing)) {
					want = p.name
					break
				}
			}
			c := policy.Call{Who: who, Endpoint: ep, At: now}
			if rule := e.Match(c).Rule; rule == nil || rule.Name != want {
				t.Fatalf("%s %+v: rule %v, want %s of\n%s", ep.Path, who, rule, want, text.String())
			}
		}
	}
}

func TestZeroValuesRefuse(t *testing.T) {
	var d policy.Decision
	if d.Verdict.String() != "refuse" || d.Go {
		t.Error("the zero Decision lets a call go")
	}
	if d := must(t, "", "").Decide(call("/cgi-bin/kf/send_msg", wecom.Facts{}), policy.Match{}, policy.Evidence{}); d.Go || d.Reason != policy.NoRule {
		t.Errorf("without a rule: %+v", d)
	}
	var w window.Window
	if w.Judge(0, time.Hour, 5) == window.Open {
		t.Error("the zero Window is open")
	}
}

func BenchmarkDecide(b *testing.B) {
	c, err := config.Parse("bench", []byte("accounts: [{ corp_id: ww1, entity: acme }]"))
	if err != nil {
		b.Fatal(err)
	}
	e, err := policy.New("bench", c, account.NewBook(c.Accounts))
	if err != nil {
		b.Fatal(err)
	}
	active := policy.Subject{CorpID: "ww1", Standing: account.Active}
	send, get := wecom.Lookup("/cgi-bin/kf/send_msg"), wecom.Lookup("/cgi-bin/externalcontact/get")
	reply := policy.Call{Who: lapsed, Endpoint: send, Facts: wecom.Facts{Customers: []string{"wm"}}, At: now}
	answers := policy.Evidence{Windows: []window.Answer{{State: window.Open, Last: now, Left: 4}}}
	b.Run("passing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Inspections(active, send, now)
		}
	})
	b.Run("replying", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Inspections(lapsed, send, now)
			e.Decide(reply, e.Match(reply), answers)
		}
	})
	b.Run("refusing", func(b *testing.B) {
		b.ReportAllocs()
		c := policy.Call{Who: lapsed, Endpoint: get, At: now}
		for b.Loop() {
			e.Inspections(lapsed, get, now)
			e.Decide(c, e.Match(c), policy.Evidence{})
		}
	})
}

// A rule's percent takes the same customers every time, as many as it says, and not those of
// another rule.
func TestPercent(t *testing.T) {
	rules := "    - { name: some, match: { capabilities: [kf_reply], standings: [lapsed] }, percent: %d, action: refuse }\n"
	for _, percent := range []int{0, 1, 30, 99, 100} {
		e := must(t, "", fmt.Sprintf(rules, percent))
		again := must(t, "", fmt.Sprintf(rules, percent))
		const n = 100_000
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
		if got := float64(taken) * 100 / n; math.Abs(got-float64(percent)) > 1 {
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

// Rule sets change over at their instant.
func TestDatedRuleSets(t *testing.T) {
	e := must(t, "ruleset: [{ ruleset: grandfathered-2023 }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00+08:00 }, { ruleset: off, from: 2027-01-01T00:00:00+08:00 }]", "")
	change := time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC)
	details, adding := wecom.Lookup("/cgi-bin/externalcontact/get"), wecom.Lookup("/cgi-bin/externalcontact/add_contact_way")
	for _, test := range []struct {
		at              time.Time
		details, adding policy.Inspection
	}{
		{change.Add(-time.Nanosecond), policy.InspectNone, policy.InspectPath},
		{change, policy.InspectPath, policy.InspectPath},
		{change.AddDate(1, 0, 0), policy.InspectNone, policy.InspectNone},
	} {
		if d, a := e.Inspections(lapsed, details, test.at).Enforced, e.Inspections(lapsed, adding, test.at).Enforced; d != test.details || a != test.adding {
			t.Errorf("%s: details %d, adding %d", test.at, d, a)
		}
	}
	if e.AlwaysPasses(details) || e.AlwaysPasses(adding) {
		t.Error("free, though one of the rule sets refuses it")
	}
	for more, want := range map[string]string{
		"ruleset: [{ ruleset: off }, { ruleset: reply-only-2024 }]": "not in the order of their from",
		"ruleset: [{ ruleset: of, from: 2026-01-01T00:00:00Z }]":    "did you mean off?",
		"ruleset: [{ from: 2026-01-01T00:00:00Z }]":                 "there is no rule set",
		"ruleset: []": "empty list",
	} {
		if _, err := engine(t, more, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// A * stands for one name; clients tell callers apart.
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
