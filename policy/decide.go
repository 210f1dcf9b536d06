package policy

import (
	"errors"
	"time"

	"replygate/account"
	"replygate/wecom"
	"replygate/window"
)

// Decision is the result for one judged call. The zero Decision refuses.
type Decision struct {
	Verdict    Verdict
	Reason     Reason
	Rule       string           // "" if no rule was reached
	Capability wecom.Capability // the one that decided
	Go         bool             // forward the call: it passes, or the configuration forwards it though unsure
	Errcode    int              // WeCom errcode of the answer, if the call is not forwarded
	Errmsg     string           // what was refused, why, and what to do
	Closes     time.Time        // when the window of a reply closes; zero if unknown
	Left       int              // replies left after this one; -1 if unknown or not counted
	Rest       []string         // customers to remove from a forwarded call (partial: trim)
	Transient  bool             // unsure for a reason that may pass within seconds, so the call may wait
}

// Evidence is what the store knows about the recipients of a call whose rule has action: reply.
type Evidence struct {
	Windows []window.Answer   // one per customer, in the order of the call; or that of the code's customer
	Code    window.CodeAnswer // of a call that answers an event by its one-time code
}

// RequiredEvidence reports what Decide needs for a match: the windows of the call's customers, or
// its code.
func (p *Engine) RequiredEvidence(c Call, m Match) (windows, code bool) {
	if m.leniency() != replies && (m.other == nil || m.other.leniency() != replies) {
		return false, false
	}
	code = c.Facts.Code != ""
	return !code && !c.Facts.Implicit && len(c.Facts.Groups) == 0, code
}

// Decide judges a call by its match and by the evidence that RequiredEvidence asks for. If the call
// has two capabilities, the stricter decision is returned: a refusal before unsure, unsure before a
// pass.
func (p *Engine) Decide(c Call, m Match, found Evidence) Decision {
	d := p.decide(&c, m, &found)
	if m.other == nil {
		return d
	}
	if other := p.decide(&c, *m.other, &found); other.strictness() > d.strictness() {
		return other
	}
	return d
}

func (d *Decision) strictness() int {
	switch {
	case d.Verdict == Refuse:
		return 3
	case !d.Go:
		return 2
	case d.Verdict == Unsure:
		return 1
	}
	return 0
}

// decide judges a call for one capability.
func (p *Engine) decide(c *Call, m Match, found *Evidence) Decision {
	rule, d := m.Rule, Decision{Capability: m.Capability, Left: -1}
	if rule == nil {
		return p.refuse(d, NoRule, rule, wecom.CodeNoPermission, p.format(textNoRule))
	}
	d.Rule = rule.Name
	if m.Err != nil {
		d = p.unsure(d, WhenFailed, p.format(textWhenFailed, m.Err))
		d.Transient = errors.Is(m.Err, errNoWindow)
		return d
	}
	switch rule.Action {
	case ActionPass:
		d.Verdict, d.Reason, d.Go = Pass, RulePass, true
		return d
	case ActionReply:
		return p.decideReply(d, c, rule, found)
	}
	key := refusalKey{c.Endpoint, m.Capability, c.Who.Standing == account.Lapsed}
	why, prepared := p.refusals[key]
	if !prepared {
		why = p.refusalText(key)
	}
	if full, ok := p.fullText(c, m); ok {
		why = full
	}
	return p.refuse(d, RuleRefuse, rule, wecom.CodeNoPermission, why)
}

// fullText returns the text of a refusal because the account is full. It reports false if the rule
// also refuses accounts that are not.
func (p *Engine) fullText(c *Call, m Match) (string, bool) {
	isAboutFull := c.Who.Standing == account.Full && !m.Rule.standings.allows(account.Active)
	if !isAboutFull || c.Who.Account == nil {
		return "", false
	}
	n, _ := c.Who.Account.Counted()
	limit, kind := c.Who.Account.Limit(c.At)
	return p.format(textFull, n.Total, limit, kind, m.Capability, p.meaning(c.Endpoint, m.Capability)), true
}

// decideReply judges a call that may only reach customers with an open window.
func (p *Engine) decideReply(d Decision, c *Call, rule *Rule, found *Evidence) Decision {
	switch {
	case c.Facts.Code != "":
		return p.decideByCode(d, c, rule, found)
	case c.Facts.Implicit || len(c.Facts.Groups) > 0:
		return p.refuse(d, RecipientsImplicit, rule, wecom.CodeNoPermission, p.format(textImplicit, p.lengthInWords))
	case len(found.Windows) == 0:
		return p.refuse(d, RecipientsMissing, rule, wecom.CodeParameter, p.format(textNoCustomer))
	}
	// A lenient body is not rewritten: parsers may disagree about it.
	if rule.Trim && len(found.Windows) > 1 && !c.Facts.Lenient {
		return p.decideTrimmed(d, c, rule, found.Windows)
	}
	return p.decideByWorst(d, rule, found.Windows)
}

// decideByWorst judges a call by the worst of its customers' windows.
func (p *Engine) decideByWorst(d Decision, rule *Rule, answers []window.Answer) Decision {
	a := worst(answers)
	d.Closes, d.Left = a.Closes(p.length), a.Left
	return p.decideByWindow(d, rule, a)
}

// decideTrimmed judges a call by the customers that it may reach; the others are in Decision.Rest.
func (p *Engine) decideTrimmed(d Decision, c *Call, rule *Rule, answers []window.Answer) Decision {
	var reached []window.Answer
	var rest []string
	transient := false // a customer in rest may become reachable within seconds
	for i, a := range answers {
		one := p.decideByWindow(d, rule, a)
		transient = transient || one.Transient
		if one.Go {
			reached = append(reached, a)
		} else {
			rest = append(rest, c.Facts.Customers[i])
		}
	}
	if len(reached) == 0 || len(rest) == 0 {
		return p.decideByWorst(d, rule, answers)
	}
	d = p.decideByWorst(d, rule, reached)
	d.Reason, d.Rest, d.Transient = RecipientsTrimmed, rest, transient
	return d
}

// worst returns the answer with the highest severity, which decides a call with several customers.
func worst(answers []window.Answer) window.Answer {
	w := answers[0]
	for _, a := range answers[1:] {
		if severity[a.State] > severity[w.State] {
			w = a
		}
	}
	return w
}

// decideByCode judges a call that answers an event by its one-time code. A code of enter_session
// passes until its deadline. After that, and for other codes, the customer's window must be open.
// WeCom does not count such an answer as a reply, so an exhausted window is open to it.
func (p *Engine) decideByCode(d Decision, c *Call, rule *Rule, found *Evidence) Decision {
	code := found.Code.Code
	switch found.Code.State {
	case window.CodeUnavailable:
		return p.storeUnavailable(d)
	case window.CodeIncomplete:
		return p.unsure(d, HistoryIncomplete, p.format(textCodeIncomplete))
	case window.CodeUnknown:
		return p.refuse(d, CodeUnknown, rule, wecom.CodeReplyWindow, p.format(textCodeUnknown))
	case window.CodeUsed:
		return p.refuse(d, CodeUsed, rule, wecom.CodeReplyWindow, p.format(textCodeUsed))
	}
	if code.Kind == string(wecom.EnterSession) && c.At.Before(code.Deadline) {
		d.Verdict, d.Reason, d.Go = Pass, CodeLive, true
		return d
	}
	w := window.Answer{State: window.Unavailable}
	if len(found.Windows) == 1 {
		w = found.Windows[0]
	}
	d.Closes = w.Closes(p.length)
	switch w.State {
	case window.Exhausted:
		w.State = window.Open
	case window.Incomplete, window.Unproven: // a recent message on record is enough for a pass
		if c.At.Before(d.Closes) {
			w.State = window.Open
		}
	case window.Closed, window.ClosedByPlatform:
		if code.Kind == string(wecom.EnterSession) {
			return p.refuse(d, CodeExpired, rule, wecom.CodeReplyWindow, p.format(textCodeExpired, p.formatTime(code.Deadline)))
		}
	}
	return p.decideByWindow(d, rule, w)
}

// severity orders window states from a certain pass to a certain refusal.
var severity = map[window.State]int{
	window.Open: 0, window.Cached: 1, window.Incomplete: 2, window.Unproven: 3, window.Unavailable: 4,
	window.Exhausted: 5, window.ClosedByPlatform: 6, window.Closed: 7,
}

func (p *Engine) decideByWindow(d Decision, rule *Rule, a window.Answer) Decision {
	switch a.State {
	case window.Open:
		d.Verdict, d.Reason, d.Go = Pass, WindowOpen, true
		return d
	case window.Cached:
		d.Verdict, d.Reason, d.Go = Pass, WindowRemembered, true
		return d
	case window.Incomplete:
		return p.decideIncomplete(d, rule)
	case window.Unproven:
		d = p.storeUnavailable(d)
		if p.coldStart == Pass && d.Capability == wecom.KfReply {
			d.Go, d.Transient = true, false // WeCom enforces the window itself, so waiting gains nothing
		}
		return d
	case window.Unavailable:
		return p.storeUnavailable(d)
	case window.Exhausted:
		return p.refuse(d, RepliesUsedUp, rule, wecom.CodeReplyCount, p.format(textExhausted, p.formatTime(a.Last)))
	case window.ClosedByPlatform:
		return p.refuse(d, WindowShut, rule, wecom.CodeReplyWindow, p.format(textClosedByPlatform, p.formatTime(a.Last)))
	}
	if a.Last.IsZero() {
		return p.refuse(d, WindowClosed, rule, wecom.CodeReplyWindow, p.format(textNeverWrote, p.lengthInWords))
	}
	return p.refuse(d, WindowClosed, rule, wecom.CodeReplyWindow, p.format(textClosed, p.formatTime(a.Last), p.formatTime(a.Closes(p.length))))
}

// decideIncomplete judges a reply while the history has a gap, so that a missing record proves
// nothing. WeCom enforces the window of kf replies itself, so policy.cold_start may forward those.
func (p *Engine) decideIncomplete(d Decision, rule *Rule) Decision {
	if d.Capability != wecom.KfReply {
		return p.unsure(d, HistoryIncomplete, p.format(textIncomplete))
	}
	if p.coldStart == Refuse {
		return p.refuse(d, HistoryIncomplete, rule, wecom.CodeReplyWindow, p.format(textColdStart, p.lengthInWords))
	}
	d.Verdict, d.Reason, d.Go = Unsure, HistoryIncomplete, true
	return d
}

// storeUnavailable decides a call whose window or code cannot be read from Redis at the moment. A
// kf reply may be forwarded by policy.on_unsure, since WeCom enforces its window itself.
func (p *Engine) storeUnavailable(d Decision) Decision {
	d = p.unsure(d, StoreUnavailable, p.format(textStoreUnavailable))
	d.Go, d.Transient = p.passUnsure && d.Capability == wecom.KfReply, true
	return d
}

// unsure decides a call that cannot be judged. The call is not forwarded.
func (p *Engine) unsure(d Decision, why Reason, errmsg string) Decision {
	d.Verdict, d.Reason, d.Errcode, d.Errmsg = Unsure, why, wecom.CodeBusy, errmsg
	return d
}

// refuse refuses a call with errcode and errmsg, or with those of the rule if it has its own.
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

// Details of an UnknownToken: why the call was not attributed by its path, Host, channel or code.
const (
	NamesIgnored = "unknown_token" // the configured unknown_token uses the token alone
	NamedSeveral = "several_corps" // calls with the token have named several accounts
)

// Reject decides a call before any rule applies: no token, an unlisted account, or an ambiguous
// path or body. detail is the corp of an UnlistedAccount, the corps of a CorpContradiction, the
// error of an AmbiguousBody, NamesIgnored or NamedSeveral for an UnknownToken, else "".
func (p *Engine) Reject(why Reason, capability wecom.Capability, detail string) Decision {
	d := Decision{Capability: capability, Left: -1}
	switch why {
	case MissingToken:
		return p.refuse(d, why, nil, wecom.CodeNoToken, p.format(textMissingToken))
	case UnlistedAccount:
		return p.refuse(d, why, nil, wecom.CodeNoPermission, p.format(textUnlistedAccount, detail))
	case CorpContradiction:
		return p.refuse(d, why, nil, wecom.CodeNoPermission, p.format(textCorpContradiction, detail))
	case AmbiguousCredential:
		return p.refuse(d, why, nil, wecom.CodeAmbiguous, p.format(textAmbiguousCredential))
	case AmbiguousPath:
		return p.refuse(d, why, nil, wecom.CodeParameter, p.format(textAmbiguousPath))
	case AmbiguousBody:
		return p.refuse(d, why, nil, wecom.CodeParameter, p.format(textAmbiguousBody, detail))
	}
	text := textUnknownToken
	switch detail {
	case NamesIgnored:
		text = textNamesIgnored
	case NamedSeveral:
		text = textNamedSeveral
	}
	return p.refuse(d, UnknownToken, nil, wecom.CodeNoPermission, p.format(text))
}

// ManyReadings says of the path of an AmbiguousPath why it is one.
func (p *Engine) ManyReadings() string { return p.format(textManyReadings) }

// Reauthenticate answers a call with an unknown token as WeCom answers an expired one (errcode
// 42001), so that the bot fetches a new token through the gateway.
func (p *Engine) Reauthenticate(capability wecom.Capability) Decision {
	return p.refuse(Decision{Capability: capability, Left: -1}, UnknownToken, nil, wecom.CodeTokenExpired, p.format(textReauthenticate))
}

// OwnerUnavailable decides a call with a token whose owner cannot be read from Redis at the moment.
// It is never forwarded, since no account's rules allow it.
func (p *Engine) OwnerUnavailable(capability wecom.Capability) Decision {
	d := p.unsure(Decision{Capability: capability, Left: -1}, StoreUnavailable, p.format(textTokenUnsure))
	d.Transient = capability == wecom.KfReply || capability == wecom.KfEventReply
	return d
}

// Waited adds to the errmsg of a call that was not forwarded how its wait ended. The decision of a
// call that was judged again (WaitPassed, WaitRefused) stays as it is.
func (p *Engine) Waited(d Decision, how WaitOutcome, waited time.Duration) Decision {
	switch how {
	case WaitStillUnsure:
		d.Errmsg += p.format(textWaited, p.waitText(waited.Round(100*time.Millisecond)))
	case WaitQueueFull:
		d.Errmsg += p.format(textQueueFull)
	case WaitShutdown:
		d.Errmsg += p.format(textShutdown)
	case WaitClientGone:
		d.Verdict, d.Reason, d.Go, d.Left = Unsure, StoreUnavailable, false, -1
		d.Errcode, d.Errmsg = wecom.CodeBusy, p.format(textClientGone)
	}
	return d
}
