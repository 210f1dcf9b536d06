package policy_test

import (
	"fmt"
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

// A refusal names the interface and the capability that decided, for every endpoint and capability;
// in Chinese it says what the capability is.
func TestRefusedInterfaceTexts(t *testing.T) {
	const all = `
    - { name: none, action: refuse }
`
	for _, language := range []string{"", "language: zh"} {
		e := must(t, language, all)
		chinese := language != ""
		for _, ep := range slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds()) {
			if ep.NeverJudged() {
				continue
			}
			for _, also := range slices.Concat(ep.Also(), []wecom.Capability{""}) {
				for _, standing := range account.Standings() {
					c := policy.Call{Who: policy.Subject{CorpID: "ww1", Standing: standing}, Endpoint: ep, Facts: wecom.Facts{Also: also}, At: now}
					d := decide(e, c)
					meaning := ep.Meaning
					if chinese {
						meaning = policy.Meaning(d.Capability, true)
					}
					if d.Rule != "none" || !strings.Contains(d.Errmsg, string(d.Capability)) || !strings.Contains(d.Errmsg, meaning) {
						t.Fatalf("%s, %s: %+v", ep.Path, standing, d)
					}
				}
			}
		}
	}
}

// An answer to an event is not counted as a reply: an exhausted window is open to it, and so is one
// with a recent message on record and a gap since.
func TestCodeWithExhaustedWindow(t *testing.T) {
	e := must(t, "", "")
	c := call("/cgi-bin/kf/send_msg_on_event", wecom.Facts{Code: "c"})
	code := window.CodeAnswer{State: window.CodeTaken, Code: window.Code{Kind: string(wecom.EnterSession), Deadline: now.Add(-time.Minute)}}
	for _, test := range []struct {
		window window.Answer
		reason policy.Reason
	}{
		{window.Answer{State: window.Exhausted, Last: now.Add(-time.Hour)}, policy.WindowOpen},
		{window.Answer{State: window.Incomplete, Last: now.Add(-time.Hour), Left: -1}, policy.WindowOpen},
		{window.Answer{State: window.Incomplete, Last: now.Add(-49 * time.Hour), Left: -1}, policy.HistoryIncomplete},
		{window.Answer{State: window.Incomplete, Left: -1}, policy.HistoryIncomplete},
		{window.Answer{State: window.Unproven, Last: now.Add(-time.Hour), Left: -1}, policy.WindowOpen},
		{window.Answer{State: window.Unproven, Last: now.Add(-49 * time.Hour), Left: -1}, policy.StoreUnavailable},
		{window.Answer{State: window.Unproven, Left: -1}, policy.StoreUnavailable},
	} {
		d := e.Decide(c, e.Match(c), policy.Evidence{Code: code, Windows: []window.Answer{test.window}})
		if d.Reason != test.reason || d.Go != (test.reason == policy.WindowOpen) {
			t.Errorf("%v: %+v", test.window, d)
		}
	}
}

// An unknown code is refused only if the history is complete; else the call is unsure, and
// cold_start does not forward it.
func TestUnknownCode(t *testing.T) {
	c := call("/cgi-bin/kf/send_msg_on_event", wecom.Facts{Code: "c"})
	for _, settings := range []string{"", "language: zh"} {
		e := must(t, settings, "")
		for state, want := range map[window.CodeState]policy.Decision{
			window.CodeUnknown:     {Verdict: policy.Refuse, Reason: policy.CodeUnknown, Errcode: 95002},
			window.CodeIncomplete:  {Verdict: policy.Unsure, Reason: policy.HistoryIncomplete, Errcode: -1},
			window.CodeUnavailable: {Verdict: policy.Unsure, Reason: policy.StoreUnavailable, Errcode: -1},
		} {
			d := e.Decide(c, e.Match(c), policy.Evidence{Code: window.CodeAnswer{State: state}})
			if d.Verdict != want.Verdict || d.Reason != want.Reason || d.Errcode != want.Errcode || d.Go || d.Errmsg == "" {
				t.Errorf("%s, %s: %+v", settings, state, d)
			}
		}
	}
}

// A body that parsers may read differently is not rewritten, so its call is judged by the worst
// window.
func TestLenientBodiesAreNotTrimmed(t *testing.T) {
	e := must(t, "", "    - { name: mass, match: { capabilities: [mass_message], endpoints: [/cgi-bin/externalcontact/add_msg_template] }, action: reply, partial: trim }\n")
	for lenient, want := range map[bool]policy.Reason{false: policy.RecipientsTrimmed, true: policy.WindowClosed} {
		f, err := wecom.Lookup("/cgi-bin/externalcontact/add_msg_template").ReadFacts(nil, []byte(`{"external_userid":["a","b"],"text":{"content":"x"}}`))
		if lenient {
			f, err = wecom.Lookup("/cgi-bin/externalcontact/add_msg_template").ReadFacts(nil, []byte("{\"external_userid\":[\"a\",\"b\"],\"text\":{\"content\":\"x\n\"}}"))
		}
		if err != nil {
			t.Fatal(err)
		}
		d := decide(e, call("/cgi-bin/externalcontact/add_msg_template", f), window.Answer{State: window.Open, Last: now}, window.Answer{State: window.Closed})
		if d.Reason != want {
			t.Errorf("lenient %v: %s", lenient, d.Reason)
		}
	}
}

func TestReplyByWindow(t *testing.T) {
	wrote := now.Add(-47 * time.Hour)
	one := wecom.Facts{Channel: "wk", Customers: []string{"wm"}, MsgType: "text"}
	for _, test := range []struct {
		state   window.State
		more    string
		verdict policy.Verdict
		reason  policy.Reason
		goes    bool
		errcode int
	}{
		{window.Open, "", policy.Pass, policy.WindowOpen, true, 0},
		{window.Cached, "", policy.Pass, policy.WindowRemembered, true, 0},
		{window.Closed, "", policy.Refuse, policy.WindowClosed, false, 95002},
		{window.ClosedByPlatform, "", policy.Refuse, policy.WindowShut, false, 95002},
		{window.Exhausted, "", policy.Refuse, policy.RepliesUsedUp, false, 95001},
		{window.Unavailable, "", policy.Unsure, policy.StoreUnavailable, false, -1},
		{window.Unavailable, "on_unsure: pass", policy.Unsure, policy.StoreUnavailable, true, -1},
		{window.Incomplete, "", policy.Unsure, policy.HistoryIncomplete, true, 0},
		{window.Unproven, "", policy.Unsure, policy.StoreUnavailable, true, -1},
		{window.Unproven, "on_unsure: pass", policy.Unsure, policy.StoreUnavailable, true, -1},
	} {
		d := decide(must(t, test.more, ""), call("/cgi-bin/kf/send_msg", one), window.Answer{State: test.state, Last: wrote, Left: 3})
		if d.Verdict != test.verdict || d.Reason != test.reason || d.Go != test.goes || d.Errcode != test.errcode {
			t.Errorf("state %d %s: %+v", test.state, test.more, d)
		}
		if d.Rule != "reply-inside-the-window" || d.Capability != wecom.KfReply || !d.Closes.Equal(wrote.Add(48*time.Hour)) {
			t.Errorf("state %d: %+v", test.state, d)
		}
	}
}

// cold_start: refuse only applies to an incomplete history: a window that cannot be proven closed
// at the moment stays unsure.
func TestColdStartRefuse(t *testing.T) {
	c, err := config.Parse("test.yaml", []byte("accounts: [{ corp_id: ww1 }]\npolicy: { cold_start: refuse }\n"))
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

// on_unsure and cold_start forward kf replies only, since WeCom enforces their window itself.
func TestOnlyKfRepliesPassWhenUnsure(t *testing.T) {
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
					t.Errorf("%s, window %s: verdict %s, reason %s, rule %s, forwarded %v", name, state, d.Verdict, d.Reason, d.Rule, d.Go)
				}
			}
		}
	}
}

// Transient marks causes that may pass within seconds, and nothing else.
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

// An open window allows replies only.
func TestOpenWindowDoesNotAllowAdding(t *testing.T) {
	e := must(t, "", "")
	card := wecom.Facts{Channel: "wk", Customers: []string{"wm"}, MsgType: "business_card", Also: "add_customer"}
	d := decide(e, call("/cgi-bin/kf/send_msg", card), window.Answer{State: window.Open, Last: now})
	if d.Verdict != policy.Refuse || d.Rule != "no-adding-customers" || d.Capability != "add_customer" || d.Errcode != 48002 {
		t.Errorf("%+v", d)
	}
}

// If one of two capabilities is refused, an unsure decision about the other does not hide it.
func TestTwoCapabilities(t *testing.T) {
	const (
		fails  = "when: account.contacts < 5, action: pass" // the account does not tell: unsure
		byName = "action: reply"
		passes = "action: pass"
	)
	open, closed, away := window.Open, window.Closed, window.Unavailable
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
				t.Errorf("replies %s, adds %s, state %s, %s: a refusal is forwarded", test.reply, test.add, test.state, more)
			}
		}
	}
}

func TestReplyActionOnMassMessages(t *testing.T) {
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

func TestZeroValuesRefuse(t *testing.T) {
	var d policy.Decision
	if d.Verdict.String() != "refuse" || d.Go {
		t.Error("the zero Decision forwards a call")
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

// A call to several customers is judged by the worst of their windows, wherever it is in the list.
func TestWorstOfManyCustomers(t *testing.T) {
	e := must(t, "", "    - { name: mass, match: { capabilities: [mass_message] }, action: reply }\n")
	order := []struct { // from the best to the worst
		state  window.State
		reason policy.Reason
	}{
		{window.Open, policy.WindowOpen}, {window.Cached, policy.WindowRemembered}, {window.Incomplete, policy.HistoryIncomplete},
		{window.Unproven, policy.StoreUnavailable}, {window.Unavailable, policy.StoreUnavailable}, {window.Exhausted, policy.RepliesUsedUp},
		{window.ClosedByPlatform, policy.WindowShut}, {window.Closed, policy.WindowClosed},
	}
	c := call(mass, wecom.Facts{Customers: []string{"a", "b", "c"}})
	for i, worst := range order {
		for _, better := range order[:i+1] {
			for at := range 3 {
				answers := []window.Answer{{State: better.state, Last: now}, {State: better.state, Last: now}, {State: better.state, Last: now}}
				answers[at] = window.Answer{State: worst.state, Last: now.Add(-time.Hour), Left: 1}
				if d := decide(e, c, answers...); d.Reason != worst.reason {
					t.Errorf("%s at %d among %s: %s", worst.state, at, better.state, d.Reason)
				}
			}
		}
	}
	d := decide(e, c, window.Answer{State: window.Open, Last: now, Left: 5}, window.Answer{State: window.Closed, Last: now.Add(-50 * time.Hour)}, window.Answer{State: window.Open, Last: now})
	if !d.Closes.Equal(now.Add(-2 * time.Hour)) {
		t.Errorf("it gives the close of another window: %s", d.Closes)
	}
}

// Rest holds the customers who cannot be reached, in the order of the call; the others decide by
// the worst of their windows.
func TestTrimmedDecision(t *testing.T) {
	e := must(t, "", "    - { name: mass, match: { capabilities: [mass_message], endpoints: ["+mass+"] }, action: reply, partial: trim }\n")
	many := make([]string, 100)
	answers := make([]window.Answer, len(many))
	var rest []string
	for i := range many {
		many[i] = fmt.Sprintf("wm%d", i)
		answers[i] = window.Answer{State: window.Open, Last: now.Add(-time.Duration(i) * time.Minute), Left: -1}
		if i%3 == 0 {
			answers[i] = window.Answer{State: []window.State{window.Closed, window.Exhausted, window.Incomplete, window.Unavailable}[i%4]}
			rest = append(rest, many[i])
		}
	}
	d := decide(e, call(mass, wecom.Facts{Customers: many}), answers...)
	if d.Verdict != policy.Pass || d.Reason != policy.RecipientsTrimmed || !slices.Equal(d.Rest, rest) || !d.Transient {
		t.Errorf("%+v", d)
	}
	one := decide(e, call(mass, wecom.Facts{Customers: many[:1]}), answers[0])
	if one.Verdict != policy.Refuse || one.Rest != nil {
		t.Errorf("a single customer is not trimmed: %+v", one)
	}
}

// RequiredEvidence asks for windows or a code only where a rule with action: reply may decide.
func TestRequiredEvidence(t *testing.T) {
	const rules = `
    - { name: adds, match: { capabilities: [add_customer], msgtypes: [ca_link] }, action: reply }
    - { name: cards, match: { capabilities: [add_customer], msgtypes: [business_card] }, action: pass }
    - { name: masses, match: { capabilities: [mass_message] }, action: reply }
    - { name: fails, match: { capabilities: [customer_details] }, when: account.contacts < 5, action: reply }
`
	e := must(t, "", rules)
	one := []string{"wm"}
	for name, test := range map[string]struct {
		call          policy.Call
		windows, code bool
	}{
		"a reply":                        {call(send, wecom.Facts{Customers: one}), true, false},
		"a reply without a customer":     {call(send, wecom.Facts{}), true, false},
		"a code":                         {call(onEvent, wecom.Facts{Code: "c"}), false, true},
		"an event without a code":        {call(onEvent, wecom.Facts{}), true, false},
		"a mass message":                 {call(mass, wecom.Facts{Customers: one}), true, false},
		"a mass message to all":          {call(mass, wecom.Facts{Implicit: true}), false, false},
		"a mass message to a group":      {call(mass, wecom.Facts{Groups: []string{"wr"}}), false, false},
		"a refused interface":            {call("/cgi-bin/externalcontact/remark", wecom.Facts{Customers: one}), false, false},
		"an upload":                      {call("/cgi-bin/media/upload", wecom.Facts{}), false, false},
		"a condition that fails":         {call("/cgi-bin/externalcontact/get", wecom.Facts{Customers: one}), false, false},
		"a reply that adds, both reply":  {call(send, wecom.Facts{Customers: one, MsgType: "ca_link", Also: "add_customer"}), true, false},
		"a reply that adds, one passes":  {call(send, wecom.Facts{Customers: one, MsgType: "business_card", Also: "add_customer"}), true, false},
		"a reply that adds, one refused": {call(send, wecom.Facts{Customers: one, MsgType: "text", Also: "add_customer"}), false, false},
	} {
		if windows, code := e.RequiredEvidence(test.call, e.Match(test.call)); windows != test.windows || code != test.code {
			t.Errorf("%s: windows %v, code %v", name, windows, code)
		}
	}
}

// A decision gives when the window closes and how many replies are left, for replies by window.
func TestDecisionDetails(t *testing.T) {
	e := must(t, "", "")
	c := call(send, wecom.Facts{Customers: []string{"wm"}})
	d := decide(e, c, window.Answer{State: window.Open, Last: now.Add(-time.Hour), Left: 3})
	if !d.Closes.Equal(now.Add(47*time.Hour)) || d.Left != 3 || d.Capability != wecom.KfReply || d.Rule != "reply-inside-the-window" {
		t.Errorf("%+v", d)
	}
	if d := decide(e, c, window.Answer{State: window.Closed}); !d.Closes.IsZero() {
		t.Errorf("a customer who never wrote has a close: %s", d.Closes)
	}
	if d := decide(e, call("/cgi-bin/externalcontact/get", wecom.Facts{})); d.Left != -1 || !d.Closes.IsZero() {
		t.Errorf("a refused interface has replies left: %+v", d)
	}
	code := call(onEvent, wecom.Facts{Code: "c"})
	if d := e.Decide(code, e.Match(code), codeOf(wecom.EnterSession, now.Add(time.Second))); d.Left != -1 || !d.Closes.IsZero() {
		t.Errorf("a live code: %+v", d)
	}
	d = e.Decide(code, e.Match(code), codeOf(wecom.SessionEnded, now, window.Answer{State: window.Open, Last: now, Left: 3}))
	if d.Left != -1 || !d.Closes.Equal(now.Add(48*time.Hour)) {
		t.Errorf("an answer to an event is not counted: %+v", d)
	}
}

// In shadow mode the engine still decides as if it were enforced; its caller does not apply it.
func TestShadowModeDecides(t *testing.T) {
	e := must(t, "mode: shadow", "")
	c := call("/cgi-bin/externalcontact/get", wecom.Facts{})
	if d := decide(e, c); d.Verdict != policy.Refuse || d.Go || !e.Shadow() {
		t.Errorf("%+v", d)
	}
	if n := e.Inspections(lapsed, c.Endpoint, now); n.Enforced != policy.InspectNone || n.Overall != policy.InspectPath {
		t.Errorf("%+v", n)
	}
}
