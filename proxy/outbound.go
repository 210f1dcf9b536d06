package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// exchange is one call of a bot on its way through the gateway.
type exchange struct {
	visit
	route wecom.Route
	token string
	corp  string // "" if unknown
	name  string // of the account

	id       string           // of the decision; "" for a call that is not judged
	decision *policy.Decision // of a judged call
	facts    wecom.Facts      // of a judged call whose body was read
	waited   time.Duration    // for the store, to learn whose the token is
	standing account.Standing // of a judged call
}

// serve is the walk of one call: read it, know who calls, judge it, forward or refuse it.
func (x *exchange) serve() {
	if !x.readHead() {
		return
	}
	who, ok := x.identify()
	if !ok {
		return
	}
	switch x.need(who) {
	case policy.NeedNothing:
		x.stream()
	case policy.NeedPath:
		x.judgePath(who)
	case policy.NeedBody:
		x.judgeBody(who)
	}
}

// readHead reads path and credential. What can be read in two ways is refused for everybody.
func (x *exchange) readHead() bool {
	if !x.readTarget() {
		return false
	}
	x.route = wecom.ReadPath(x.path)
	token, err := wecom.ReadToken(x.query)
	if err != nil {
		x.fault = string(policy.AmbiguousCredential)
		x.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, err.Error()+"; send exactly one, plainly spelt")
		return false
	}
	x.token = token
	return true
}

// identify finds out who calls, as far as it matters: a call that no rule could refuse anybody needs
// nobody. It answers the call itself, and returns false, if the caller stays unknown.
func (x *exchange) identify() (policy.Subject, bool) {
	if x.free() {
		return policy.Subject{}, true
	}
	if x.token == "" {
		x.turnAway(policy.MissingToken, "")
		return policy.Subject{}, false
	}
	asked := time.Now()
	corp, owner := x.Tokens.Owner(x.ctx, x.token)
	x.waited = time.Since(asked)
	if owner != account.Known {
		switch x.Config.UnknownToken {
		case config.Reauthenticate, config.Refuse:
			x.turnAwayStranger(owner)
			return policy.Subject{}, false
		case config.Pass:
			return policy.Subject{Standing: account.Active, Client: x.client()}, true
		}
		corp = x.Config.UnknownToken
	}
	x.corp = corp
	a := x.Accounts.Find(corp)
	if a == nil {
		return x.unlisted(corp)
	}
	x.name = a.Name
	return policy.Subject{CorpID: corp, Entity: a.Entity, Standing: a.Standing(x.at), Client: x.client()}, true
}

// unlisted is identify for a corp that the configuration does not know. As a lapsed one it may make the
// calls that are not judged, or all of them if the configuration says so.
func (x *exchange) unlisted(corp string) (policy.Subject, bool) {
	if x.Config.UnlistedAccount == config.Pass {
		return policy.Subject{CorpID: corp, Standing: account.Active, Client: x.client()}, true
	}
	who := policy.Subject{CorpID: corp, Standing: account.Lapsed, Client: x.client()}
	if x.need(who) == policy.NeedNothing {
		return who, true
	}
	x.turnAway(policy.UnlistedAccount, corp)
	return policy.Subject{}, false
}

// free tells whether no rule could ever refuse the call, whoever makes it. Then whose it is does not
// matter, and neither a token nor Redis is looked at.
func (x *exchange) free() bool {
	if !x.route.Odd() {
		return x.Engine.Free(x.route.Endpoint)
	}
	for _, e := range x.route.Readings {
		if !x.Engine.Free(e) {
			return false
		}
	}
	return true
}

// turnAway refuses a call that a rule could refuse, and that never comes to one.
func (x *exchange) turnAway(why policy.Reason, detail string) {
	x.refuse(x.Engine.TurnAway(why, x.capability(), detail))
}

// turnAwayStranger is turnAway for a token that nobody learnt. For a few seconds it is answered as an
// expired one, so that the bot fetches its next one through the gateway, which then knows whose it is.
func (x *exchange) turnAwayStranger(o account.Owner) {
	again := x.Tokens.Reauthenticate(x.token)
	switch {
	case again && x.Config.UnknownToken == config.Reauthenticate:
		x.refuse(x.Engine.Reauthenticate(x.capability()))
	case o == account.Unreachable:
		x.refuse(x.Engine.OwnerUnavailable(x.capability()))
	default:
		x.turnAway(policy.UnknownToken, "")
	}
}

// need tells how much of the call must be read. An odd path needs as much as its strictest reading.
func (x *exchange) need(who policy.Subject) policy.Need {
	if !x.route.Odd() {
		return x.Engine.Need(who, x.route.Endpoint, x.at)
	}
	for _, e := range x.route.Readings {
		if x.Engine.Need(who, e, x.at) != policy.NeedNothing {
			return policy.NeedPath
		}
	}
	return policy.NeedNothing
}

func (x *exchange) capability() wecom.Capability {
	if x.route.Odd() {
		return ""
	}
	return x.route.Endpoint.Capability
}

// judgePath decides a call that is refused whatever its body says.
func (x *exchange) judgePath(who policy.Subject) {
	x.standing = who.Standing
	if x.route.Odd() {
		x.turnAway(policy.AmbiguousPath, "")
		return
	}
	c := policy.Call{Who: who, Endpoint: x.route.Endpoint, At: x.at}
	rule, capability := x.Engine.Match(c)
	x.refuse(x.Engine.Decide(c, rule, capability, policy.Evidence{}))
}

// judgeBody reads a call whole, decides it, and forwards or refuses it.
func (x *exchange) judgeBody(who policy.Subject) {
	x.standing = who.Standing
	body, ok := x.readBody(x.Config.Limits.JudgedBody)
	if !ok {
		return
	}
	facts, err := x.readFacts(body)
	if err != nil {
		x.turnAway(policy.AmbiguousBody, err.Error())
		return
	}
	x.facts = facts
	c := policy.Call{Who: who, Endpoint: x.route.Endpoint, Facts: facts, At: x.at}
	rule, capability := x.Engine.Match(c)
	asked := x.ask(c, rule)
	x.watchPulls(asked)
	d := x.Engine.Decide(c, rule, capability, asked.Evidence)
	if !d.Go {
		asked.settle(window.NotTaken)
		x.refuse(d)
		return
	}
	x.decide(d)
	x.reply(body, asked)
}

// readFacts reads what the body says, if it says it plainly.
func (x *exchange) readFacts(body []byte) (wecom.Facts, error) {
	if len(x.rc.Request.Header.Peek("Content-Encoding")) > 0 {
		return wecom.Facts{}, errors.New("the body has a Content-Encoding; send it as plain JSON")
	}
	kind, _, _ := strings.Cut(strings.ToLower(string(x.rc.Request.Header.ContentType())), ";")
	switch strings.TrimSpace(kind) {
	case "application/x-www-form-urlencoded", "multipart/form-data":
		if len(body) > 0 {
			return wecom.Facts{}, errors.New("the body is declared as a form; send JSON with Content-Type: application/json")
		}
	}
	return x.route.Endpoint.ReadFacts(x.query, body)
}

// asked is what was asked about the recipients of a call, to be settled.
type asked struct {
	policy.Evidence
	x    *exchange
	keys []window.Key // of the windows
}

// ask asks for what the rule depends on: the window of every customer of the call, or its code. A reply
// is counted, and a code used, at once, so that two gateways cannot both send the last one.
func (x *exchange) ask(c policy.Call, rule *policy.Rule) asked {
	a := asked{x: x}
	windows, code := x.Engine.Asks(c, rule)
	if !windows && !code {
		return a
	}
	ctx, cancel := context.WithTimeout(x.ctx, x.patience(len(c.Facts.Customers)))
	defer cancel()
	if code {
		a.Code = x.Windows.TakeCode(ctx, c.Who.CorpID, c.Facts.Code)
		if a.Code.State == window.CodeTaken {
			a.Windows = []window.Answer{x.Windows.Peek(ctx, a.Code.Code.Key)}
		}
		return a
	}
	counted := c.Endpoint.Capability == wecom.KfReply
	for _, customer := range c.Facts.Customers {
		k := window.Key{Corp: c.Who.CorpID, Channel: c.Facts.Channel, Customer: customer}
		a.keys = append(a.keys, k)
		if counted {
			a.Windows = append(a.Windows, x.Windows.Reserve(ctx, k))
		} else {
			a.Windows = append(a.Windows, x.Windows.Peek(ctx, k))
		}
	}
	return a
}

// patience is how long a call may still wait for the store: its timeout in all, a little more for many
// customers.
func (x *exchange) patience(customers int) time.Duration {
	return max(x.Windows.Timeout-x.waited, time.Millisecond) + time.Duration(customers)*time.Millisecond
}

// watchPulls notices replies on a channel whose messages nobody pulls through the gateway.
func (x *exchange) watchPulls(a asked) {
	for i, k := range a.keys {
		if a.Windows[i].Last.IsZero() && a.Windows[i].State != window.Unavailable && x.Pulls.missing(k.Corp, k.Channel) {
			x.Log.Warn("replies go through the gateway, but nobody pulls this channel's messages through it: let the bot call kf/sync_msg through the gateway too",
				zap.String("corp_id", k.Corp), zap.String("channel", k.Channel))
		}
	}
}

// refuse answers a judged call in WeCom's shape, with the why.
func (x *exchange) refuse(d policy.Decision) {
	x.decide(d)
	rule := d.Rule
	if rule == "" {
		rule = "-"
	}
	r := wecom.Refusal{
		Errcode: d.Errcode,
		Errmsg:  fmt.Sprintf("%s; rule=%s, id=%s", d.Errmsg, rule, x.id),
		Verdict: d.Verdict.String(), Rule: d.Rule, Reason: string(d.Reason), DecisionID: x.id,
	}
	x.answer(fasthttp.StatusOK, r)
	x.mark()
}

// decide notes the decision of a judged call under an id.
func (x *exchange) decide(d policy.Decision) {
	x.decision = &d
	x.id = fmt.Sprintf("%016x", rand.Uint64())
}

// mark puts the decision into the headers of the answer.
func (x *exchange) mark() {
	h, d := &x.rc.Response.Header, x.decision
	h.Set("Replygate-Verdict", d.Verdict.String())
	h.Set("Replygate-Rule", d.Rule)
	h.Set("Replygate-Reason", string(d.Reason))
	h.Set("Replygate-Decision-Id", x.id)
	if d.Capability != wecom.KfReply {
		return
	}
	if !d.Closes.IsZero() {
		h.Set("Replygate-Window-Closes", d.Closes.UTC().Format(time.RFC3339))
	}
	if d.Left >= 0 {
		h.Set("Replygate-Replies-Left", strconv.Itoa(d.Left))
	} else if d.Reason == policy.WindowRemembered || d.Verdict == policy.Unsure {
		h.Set("Replygate-Replies-Left", "unknown")
	}
}

// fail answers a call that was not judged, or whose judgement could not be carried out.
func (x *exchange) fail(status, errcode int, errmsg string) {
	x.answer(status, wecom.Refusal{Errcode: errcode, Errmsg: errmsg, Verdict: "error", Reason: x.fault, DecisionID: x.id})
	if x.decision != nil {
		x.mark()
	}
}
