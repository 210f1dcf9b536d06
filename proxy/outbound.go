package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// exchange is one call on its way through the gateway.
type exchange struct {
	*Gateway
	rc    *fasthttp.RequestCtx
	ctx   context.Context // not the request's: fasthttp uses that again
	start time.Time       // for durations
	at    time.Time       // by the gateway's clock
	path  []byte          // as sent
	query []byte          // as sent
	route wecom.Route
	token string
	corp  string // "" if unknown
	name  string // of the account

	id       string           // of the decision; "" for a call that is not judged
	decision *policy.Decision // of a judged call
	facts    wecom.Facts      // of a judged call whose body was read
	standing account.Standing // of a judged call
	fault    string           // why the gateway answered by itself without a decision
	hangUp   bool             // the connection ends behind the answer: what follows on it cannot be trusted
}

func (g *Gateway) begin(rc *fasthttp.RequestCtx) *exchange {
	return &exchange{Gateway: g, rc: rc, ctx: context.Background(), start: time.Now(), at: g.Now()}
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
	target := x.rc.Request.Header.RequestURI()
	if len(target) > maxTarget {
		x.fault = "target too long"
		x.hangUp = true
		x.fail(fasthttp.StatusRequestURITooLong, wecom.CodeTargetTooLong, fmt.Sprintf("the URL is longer than %d KiB", maxTarget>>10))
		return false
	}
	if err := checkHead(&x.rc.Request.Header); err != nil {
		x.fault = "malformed head"
		x.hangUp = true // where this request ends, and the next begins, nobody can tell
		x.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, err.Error()+"; nothing was sent")
		return false
	}
	x.path, x.query, _ = bytes.Cut(target, []byte{'?'})
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
		x.turnAway(policy.MissingToken, wecom.CodeNoToken, "the call has no access_token; put it in the query")
		return policy.Subject{}, false
	}
	corp, owner := x.Tokens.Owner(x.ctx, x.token)
	if owner != account.Known {
		switch x.Config.UnknownToken {
		case config.Reauthenticate, config.Refuse:
			x.turnAwayStranger(owner)
			return policy.Subject{}, false
		case config.Pass:
			return policy.Subject{Standing: account.Active}, true
		}
		corp = x.Config.UnknownToken
	}
	x.corp = corp
	a := x.Accounts.Find(corp)
	if a == nil {
		return x.unlisted(corp)
	}
	x.name = a.Name
	return policy.Subject{CorpID: corp, Entity: a.Entity, Standing: a.Standing(x.at)}, true
}

// unlisted is identify for a corp that the configuration does not know. As a lapsed one it may make the
// calls that are not judged, or all of them if the configuration says so.
func (x *exchange) unlisted(corp string) (policy.Subject, bool) {
	if x.Config.UnlistedAccount == config.Pass {
		return policy.Subject{CorpID: corp, Standing: account.Active}, true
	}
	who := policy.Subject{CorpID: corp, Standing: account.Lapsed}
	if x.need(who) == policy.NeedNothing {
		return who, true
	}
	x.turnAway(policy.UnlistedAccount, wecom.CodeNoPermission, "the gateway does not know this account; add corp "+corp+" to accounts")
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

// turnAway refuses a call that a rule could refuse, of a caller of whom something is missing.
func (x *exchange) turnAway(why policy.Reason, errcode int, errmsg string) {
	x.refuse(policy.Decision{Reason: why, Capability: x.capability(), Errcode: errcode, Errmsg: errmsg, Left: -1})
}

// turnAwayStranger is turnAway for a token that nobody learnt. For a few seconds it is answered as an
// expired one, so that the bot fetches its next one through the gateway, which then knows whose it is.
func (x *exchange) turnAwayStranger(o account.Owner) {
	again := x.Tokens.Reauthenticate(x.token)
	switch {
	case again && x.Config.UnknownToken == config.Reauthenticate:
		x.turnAway(policy.UnknownToken, wecom.CodeTokenExpired,
			"the gateway does not know whose this access_token is; fetch a new one through the gateway")
	case o == account.Unreachable:
		x.refuse(policy.Decision{Verdict: policy.Unsure, Reason: policy.StoreUnavailable, Capability: x.capability(), Left: -1,
			Errcode: wecom.CodeBusy, Errmsg: "the gateway cannot find out whose this access_token is just now; nothing was sent, try again"})
	default:
		x.turnAway(policy.UnknownToken, wecom.CodeNoPermission,
			"the gateway does not know whose this access_token is; let the bot call gettoken through the gateway too")
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
		x.refuse(policy.Decision{Reason: policy.AmbiguousPath, Errcode: wecom.CodeParameter, Left: -1,
			Errmsg: "the path can be read as an interface that is not open to the account; send it as WeCom documents it"})
		return
	}
	c := policy.Call{Who: who, Endpoint: x.route.Endpoint, At: x.at}
	rule, capability := x.Engine.Match(c)
	x.refuse(x.Engine.Decide(c, rule, capability, nil))
}

// judgeBody reads a call whole, decides it, and forwards or refuses it.
func (x *exchange) judgeBody(who policy.Subject) {
	x.standing = who.Standing
	body, ok := x.readBody()
	if !ok {
		return
	}
	facts, err := x.readFacts(body)
	if err != nil {
		x.refuse(policy.Decision{Reason: policy.AmbiguousBody, Capability: x.capability(), Errcode: wecom.CodeParameter, Left: -1,
			Errmsg: err.Error() + "; nothing was sent"})
		return
	}
	x.facts = facts
	c := policy.Call{Who: who, Endpoint: x.route.Endpoint, Facts: facts, At: x.at}
	rule, capability := x.Engine.Match(c)
	asked := x.ask(c, rule)
	d := x.Engine.Decide(c, rule, capability, asked.answers)
	if !d.Go {
		asked.settle(window.NotTaken)
		x.refuse(d)
		return
	}
	x.decide(d)
	x.reply(body, asked)
}

// readBody reads the body of a judged call whole, within its bound of size; that of time began with the
// end of the head.
func (x *exchange) readBody() ([]byte, bool) {
	stream := x.rc.RequestBodyStream()
	if stream == nil {
		return x.rc.Request.Body(), true
	}
	limit := int64(x.Config.Limits.JudgedBody)
	body, err := io.ReadAll(io.LimitReader(stream, limit+1))
	switch {
	case int64(len(body)) > limit:
		x.tooLarge(x.Config.Limits.JudgedBody)
		return nil, false
	case err != nil, x.rc.Conn().(*clientConn).sawEOF && x.rc.Request.Header.ContentLength() < 0:
		x.fault = "the body broke off"
		x.hangUp = true
		x.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, "the body did not arrive whole; nothing was sent")
		return nil, false
	}
	return body, true
}

func (x *exchange) tooLarge(limit config.Size) {
	x.fault = "the body is too large"
	x.hangUp = true
	x.fail(fasthttp.StatusRequestEntityTooLarge, wecom.CodeTooLarge, "the body is larger than the "+limit.String()+" that the gateway takes for this call; nothing was sent")
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

// asked are the windows of a call's customers.
type asked struct {
	x       *exchange
	keys    []window.Key
	answers []window.Answer
}

// ask asks for the window of every customer of a call, if the rule wants windows. A reply is counted at
// once, so that two gateways cannot both send the last one.
func (x *exchange) ask(c policy.Call, rule *policy.Rule) asked {
	a := asked{x: x}
	if !x.Engine.AsksWindows(c, rule) {
		return a
	}
	counted := c.Endpoint.Capability == wecom.KfReply
	for _, customer := range c.Facts.Customers {
		k := window.Key{Corp: c.Who.CorpID, Channel: c.Facts.Channel, Customer: customer}
		a.keys = append(a.keys, k)
		if counted {
			a.answers = append(a.answers, x.Windows.Reserve(x.ctx, k))
		} else {
			a.answers = append(a.answers, x.Windows.Peek(x.ctx, k))
		}
	}
	return a
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

// answer writes an answer of the gateway's own.
func (x *exchange) answer(status int, r wecom.Refusal) {
	resp := &x.rc.Response
	resp.Reset()
	resp.SetStatusCode(status)
	resp.Header.SetContentType("application/json; charset=UTF-8")
	resp.Header.Set("Error-Code", strconv.Itoa(r.Errcode))
	resp.Header.Set("Error-Msg", headerText(r.Errmsg))
	resp.SetBody(r.AppendJSON(nil))
}

// headerText keeps a text to what a header may hold.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
