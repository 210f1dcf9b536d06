package policy

import (
	"fmt"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/wecom"
	"replygate/window"
)

// Engine holds the rules in force and decides.
type Engine struct {
	rules     []*Rule
	busy      bool // answer unsure with -1, else let it pass
	coldStart Verdict
	length    time.Duration
}

// New compiles the policy of a configuration. The error holds every config.Mistake found; file is the
// configuration's name in them.
func New(file string, c *config.Config, book *account.Book) (*Engine, error) {
	own := compiler{file: file, accounts: book}
	e := &Engine{
		rules:     own.rules(c.Policy.Rules),
		busy:      c.Policy.OnUnsure == config.Busy,
		coldStart: Pass,
		length:    c.Window.Length,
	}
	if c.Policy.ColdStart == config.Refuse {
		e.coldStart = Refuse
	}
	shipped, err := compileRuleSet(c.Policy.Ruleset)
	if err != nil {
		own.wrong(c.Where("policy.ruleset"), err.Error(), "")
	}
	e.rules = append(e.rules, shipped...)
	return e, own.mistakes.Err()
}

func compileRuleSet(name string) ([]*Rule, error) {
	data, err := RuleSet(name)
	if err != nil {
		return nil, err
	}
	rules, err := config.ParseRules(name+".yaml", data)
	if err != nil {
		return nil, err
	}
	c := compiler{file: name + ".yaml"}
	compiled := c.rules(rules)
	return compiled, c.mistakes.Err()
}

// Need is what a decision needs to know of a call besides who calls which endpoint.
type Need uint8

// The needs.
const (
	NeedNothing Need = iota // not judged: the call passes unread
	NeedPath                // refused whatever the body says
	NeedBody                // the body decides
)

// Need tells how much of a call of e must be read. It is the test for a judged call.
func (p *Engine) Need(who Subject, e *wecom.Endpoint, now time.Time) Need {
	need := p.need(who, e, e.Capability, now)
	for _, c := range e.Also() {
		if also := p.need(who, e, c, now); also != need {
			return NeedBody
		}
	}
	return need
}

func (p *Engine) need(who Subject, e *wecom.Endpoint, c wecom.Capability, now time.Time) Need {
	first := NeedPath // no rule: refused
	some := false     // rules that only the message type keeps from being the first
	for _, r := range p.rules {
		if !r.matches(who, e, c, now) {
			continue
		}
		if len(r.msgtypes) > 0 {
			some = true
			continue
		}
		first = needs[r.Action]
		break
	}
	if some {
		return NeedBody
	}
	return first
}

var needs = map[Action]Need{ActionPass: NeedNothing, ActionRefuse: NeedPath, ActionReply: NeedBody}

// Call is a judged call with all that was read from it.
type Call struct {
	Who      Subject
	Endpoint *wecom.Endpoint
	Facts    wecom.Facts
	At       time.Time
}

// Match returns the rule that decides a call, and for which of its capabilities. A call with two
// capabilities must satisfy both: the stricter rule decides. nil means that no rule matches.
func (p *Engine) Match(c Call) (*Rule, wecom.Capability) {
	rule := p.match(c, c.Endpoint.Capability)
	if c.Facts.Also == "" {
		return rule, c.Endpoint.Capability
	}
	also := p.match(c, c.Facts.Also)
	if also == nil || rule != nil && also.Action <= rule.Action {
		return also, c.Facts.Also
	}
	return rule, c.Endpoint.Capability
}

func (p *Engine) match(c Call, capability wecom.Capability) *Rule {
	for _, r := range p.rules {
		if r.matches(c.Who, c.Endpoint, capability, c.At) && r.msgtypes.allows(c.Facts.MsgType) {
			return r
		}
	}
	return nil
}

// Decision is what became of one judged call, with all that anyone needs to know about it. The zero
// Decision refuses.
type Decision struct {
	Verdict    Verdict
	Reason     Reason
	Rule       string           // "" if no rule was reached
	Capability wecom.Capability // the one that decided
	Go         bool             // the call goes on: a pass, or an unsure that the configuration lets go
	Errcode    int              // of the answer, where it does not go on
	Errmsg     string           // what, why, and what to do
	Closes     time.Time        // when the window closes, for a reply; zero if unknown
	Left       int              // replies left after this one; -1 if unknown or not counted
}

// Decide judges a call by the rule that Match gave, and for a rule that asks for windows by the answer
// of each recipient, in the order of the call's customers.
func (p *Engine) Decide(c Call, rule *Rule, capability wecom.Capability, answers []window.Answer) Decision {
	d := Decision{Capability: capability, Left: -1}
	if rule == nil {
		return p.refuse(d, NoRule, rule, wecom.CodeNoPermission, "no rule is about this call; the operator must add one")
	}
	d.Rule = rule.Name
	switch rule.Action {
	case ActionPass:
		d.Verdict, d.Reason, d.Go = Pass, RulePass, true
		return d
	case ActionReply:
		return p.decideReply(d, c, rule, answers)
	}
	return p.refuse(d, RuleRefuse, rule, wecom.CodeNoPermission, p.interfaceText(c, capability))
}

// interfaceText says why an interface is refused and what to do.
func (p *Engine) interfaceText(c Call, capability wecom.Capability) string {
	if c.Who.Standing != account.Lapsed {
		return fmt.Sprintf("a rule refuses this interface (%s: %s); ask the operator of the gateway", capability, c.Endpoint.Meaning)
	}
	return fmt.Sprintf("the account's subscription has lapsed, and this interface (%s: %s) is not open to it; renew the subscription, or reply to customers within %s of their message",
		capability, c.Endpoint.Meaning, hours(p.length))
}

// decideReply judges a call that only goes to customers with an open window.
func (p *Engine) decideReply(d Decision, c Call, rule *Rule, answers []window.Answer) Decision {
	switch {
	case c.Facts.Code != "":
		return p.refuse(d, CodeUnknown, rule, wecom.CodeReplyWindow,
			"the gateway never saw where this code comes from; codes count only if their event passed through it")
	case c.Facts.Implicit || len(c.Facts.Groups) > 0:
		return p.refuse(d, RecipientsImplicit, rule, wecom.CodeNoPermission,
			"the call reaches customers that it does not name one by one; name each, and only those who wrote within "+hours(p.length))
	case len(answers) == 0:
		return p.refuse(d, RecipientsMissing, rule, wecom.CodeParameter, "the call names no customer; give the one it replies to")
	}
	worst := answers[0]
	for _, a := range answers[1:] {
		if severity[a.State] > severity[worst.State] {
			worst = a
		}
	}
	d.Closes, d.Left = worst.Closes(p.length), worst.Left
	return p.byWindow(d, c, rule, worst)
}

// severity orders states: the recipient with the highest decides a call with several.
var severity = map[window.State]int{
	window.Open: 0, window.Remembered: 1, window.Incomplete: 2, window.Unavailable: 3,
	window.Full: 4, window.Shut: 5, window.Closed: 6,
}

func (p *Engine) byWindow(d Decision, c Call, rule *Rule, a window.Answer) Decision {
	switch a.State {
	case window.Open:
		d.Verdict, d.Reason, d.Go = Pass, WindowOpen, true
		return d
	case window.Remembered:
		d.Verdict, d.Reason, d.Go = Pass, WindowRemembered, true
		return d
	case window.Incomplete:
		return p.coldStartDecides(d, c, rule)
	case window.Unavailable:
		return p.unsure(d, StoreUnavailable, "the gateway cannot see the customer's window just now; nothing was sent, try again")
	case window.Full:
		return p.refuse(d, RepliesUsedUp, rule, wecom.CodeReplyCount, fmt.Sprintf(
			"as many replies as WeCom allows were sent since the customer's message of %s; wait for the next message", instant(a.Last)))
	case window.Shut:
		return p.refuse(d, WindowShut, rule, wecom.CodeReplyWindow, fmt.Sprintf(
			"WeCom said that the window of the customer's message of %s is shut; wait for the next message", instant(a.Last)))
	}
	if a.Last.IsZero() {
		return p.refuse(d, WindowClosed, rule, wecom.CodeReplyWindow, fmt.Sprintf(
			"the customer has not written within %s; wait for a message, replies are open for that long after it", hours(p.length)))
	}
	return p.refuse(d, WindowClosed, rule, wecom.CodeReplyWindow, fmt.Sprintf(
		"the customer's last message is of %s and the window closed at %s; wait for the next message", instant(a.Last), instant(d.Closes)))
}

// coldStartDecides judges a reply to a customer without a record while records do not reach back far
// enough. WeCom itself still enforces the window of kf, so policy.cold_start may let those pass.
func (p *Engine) coldStartDecides(d Decision, c Call, rule *Rule) Decision {
	if c.Endpoint.Capability != wecom.KfReply {
		return p.unsure(d, HistoryIncomplete, "the gateway has not recorded messages for long enough to know; nothing was sent")
	}
	if p.coldStart == Refuse {
		return p.refuse(d, HistoryIncomplete, rule, wecom.CodeReplyWindow, fmt.Sprintf(
			"the gateway has seen no message of the customer, and has not recorded for %s yet; policy.cold_start is refuse", hours(p.length)))
	}
	d.Verdict, d.Reason, d.Go = Unsure, HistoryIncomplete, true
	return d
}

// unsure makes the decision of a call that cannot be judged.
func (p *Engine) unsure(d Decision, why Reason, errmsg string) Decision {
	d.Verdict, d.Reason, d.Go = Unsure, why, !p.busy
	d.Errcode, d.Errmsg = wecom.CodeBusy, errmsg
	return d
}

// refuse makes a refusal; a rule's own answer goes before the usual one.
func (p *Engine) refuse(d Decision, why Reason, rule *Rule, errcode int, errmsg string) Decision {
	d.Verdict, d.Reason, d.Errcode, d.Errmsg = Refuse, why, errcode, errmsg
	if rule != nil && rule.Errcode != 0 {
		d.Errcode = rule.Errcode
	}
	if rule != nil && rule.Errmsg != "" {
		d.Errmsg = rule.Errmsg
	}
	return d
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// hours writes a window's length: 48 h, or as Go writes durations if it is not whole hours.
func hours(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return d.String()
}

// AsksWindows tells whether a decision by this rule depends on the windows of the call's customers.
func (p *Engine) AsksWindows(c Call, rule *Rule) bool {
	return rule != nil && rule.Action == ActionReply && c.Facts.Code == "" && !c.Facts.Implicit && len(c.Facts.Groups) == 0
}

// Free tells whether no rule could ever refuse a call of e or ask for its body, whoever calls and when.
func (p *Engine) Free(e *wecom.Endpoint) bool {
	if !p.free(e, e.Capability) {
		return false
	}
	for _, c := range e.Also() {
		if !p.free(e, c) {
			return false
		}
	}
	return true
}

func (p *Engine) free(e *wecom.Endpoint, c wecom.Capability) bool {
	for _, r := range p.rules {
		if !r.abilities.allows(c) || !r.endpoints.allows(e.Path) {
			continue
		}
		if r.Action != ActionPass {
			return false
		}
		if r.unconditional() {
			return true
		}
	}
	return false
}

// unconditional tells whether the rule is about every call of its capabilities and endpoints.
func (r *Rule) unconditional() bool {
	return len(r.accounts) == 0 && len(r.entities) == 0 && len(r.standings) == 0 && len(r.msgtypes) == 0 &&
		r.from.IsZero() && r.until.IsZero()
}
