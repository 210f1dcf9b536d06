package proxy

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/gate"
	"replygate/policy"
	"replygate/record"
	"replygate/trace"
	"replygate/upstream"
	"replygate/wecom"
	"replygate/window"
)

// apiRequest is one call of a bot on its way through the gateway.
type apiRequest struct {
	request
	caller
	head        gate.Head
	inspections policy.Inspections // how much of the call must be read
	name        string             // of the account
	found       string             // the client, once countedClient has looked for it

	decision *policy.Decision // of a judged call
	judged   gate.Judgement   // likewise
	wait     wait             // of a call that is unsure

	forwarded bool   // of a call that failed: WeCom may have taken it
	cause     string // of a call that WeCom gave no whole answer to
	probe     bool   // of a load balancer: no call

	out         upstream.Request
	shortAnswer shortBody // a short answer while it is read

	untilClose *streamedAnswer // an answer that ends with the connection; nil for most

	access AccessRecord
	record DecisionRecord
}

// serve is the walk of one call: read it, know who calls, judge it, forward or refuse it.
func (x *apiRequest) serve() {
	if !x.readHead() {
		return
	}
	switch x.head.Route.Path {
	case pathPreflight:
		x.preflight()
		return
	case pathHealthz:
		x.healthz()
		return
	}
	for x.judge(); x.wait.again; x.judge() {
		if !x.waitAndRejudge() {
			return
		}
	}
}

// judge judges the call, and forwards or refuses it, unless it is to wait and be judged anew.
func (x *apiRequest) judge() {
	if x.gate.AlwaysPasses(x.head.Route) { // its corp does not matter: neither tokens nor Redis are read
		x.stream()
		return
	}
	switch x.identify() {
	case unread:
		x.stream()
	case judged:
		x.judgeKnown()
	}
}

// judgeKnown judges a call as that of the corp that was found, and forwards or refuses it.
func (x *apiRequest) judgeKnown() {
	switch x.inspections.Overall {
	case policy.InspectNone:
		x.inspections.By.CountUnread(x.at)
		x.stream()
	case policy.InspectPath:
		judging := x.trace.Begin(trace.Judge)
		j := x.gate.ByPath(x.head)
		judging.End("")
		if x.apply(j) {
			x.stream()
		}
	case policy.InspectBody:
		x.judgeBody()
	}
}

// readHead reads the head as far as every call needs it. One that can be read in two ways is
// refused for everybody.
func (x *apiRequest) readHead() bool {
	x.head.At = x.at
	return x.readTarget() && x.readRoute()
}

// identify finds the corp that calls, and how the call must be inspected.
func (x *apiRequest) identify() next {
	n, refusal := x.findCorp(true)
	if n == judged || n == refused || x.by != gate.ByNone {
		x.countCaller()
	}
	switch {
	case n == judged && x.corp == "":
		x.head.Who = policy.Subject{Standing: account.Active, Client: x.client()}
		x.inspections = x.gate.Inspections(x.head)
	case n == judged:
		in := x.gate.Inspect(x.head.Route, x.corp, x.client(), x.head.At)
		x.head.Who, x.inspections = in.Who, in.Inspections
		if in.Unlisted() {
			n, refusal = refused, x.reject(policy.UnlistedAccount, x.corp)
		}
		if x.head.Who.Account != nil {
			x.name = x.head.Who.Account.Name
		}
	}
	if n != refused {
		return n
	}
	if x.apply(*refusal) {
		return unread
	}
	return answered
}

// client returns what the caller is, as far as a rule asks. What a client says of itself in
// X-Forwarded-For counts for nothing: its address is that of its connection.
func (x *apiRequest) client() string {
	if !x.gate.Engine.UsesClients() {
		return ""
	}
	name, _ := x.gate.Clients.Find(x.remote(), func(header, text string) (bool, bool) {
		return strings.Contains(string(x.rc.Request.Header.Peek(header)), text), true
	})
	return name
}

// reject judges a call that a rule could refuse, and that never comes to one.
func (x *apiRequest) reject(why policy.Reason, detail string) *gate.Judgement {
	return x.rejectAs(x.gate.Engine.Reject(why, x.capability(), detail))
}

// ownerUnavailable judges a call with a token that Redis may know, and cannot be asked for.
func (x *apiRequest) ownerUnavailable() *gate.Judgement {
	return x.rejectAs(x.gate.Engine.OwnerUnavailable(x.capability()))
}

// rejectAs is reject by another decision of the engine.
func (x *apiRequest) rejectAs(d policy.Decision) *gate.Judgement {
	j := x.gate.Reject(d, x.inspections)
	return &j
}

func (x *apiRequest) capability() wecom.Capability {
	if x.head.Route.Ambiguous() {
		return ""
	}
	return x.head.Route.Endpoint.Capability
}

// judgeBody reads a call whole, decides it, and forwards or refuses it. One that goes on whatever
// the rules in shadow say goes on as it came, also if its body cannot be read.
func (x *apiRequest) judgeBody() {
	body, more, ok := x.readBodyOnce()
	if !ok {
		return
	}
	switch {
	case more != nil && x.inspections.Enforced == policy.InspectBody:
		x.tooLarge(x.gate.Config.Limits.JudgedBody, nothingSent)
		return
	case more != nil:
		if x.apply(x.gate.Ambiguous(x.head, x.inspections, gate.ErrTooLarge)) {
			x.streamBody(more)
		}
		return
	}
	facts, err := x.readFacts(body)
	if err != nil {
		if x.apply(x.gate.Ambiguous(x.head, x.inspections, err)) {
			x.reply(x.path, body)
		}
		return
	}
	x.compareChannel(facts.Channel)
	path := x.path
	if x.inspections.Enforced == policy.InspectBody {
		path = []byte(x.head.Route.Path) // what was judged is what goes on
	}
	ctx := x.ctx
	if x.waited >= time.Millisecond || facts.Code != "" { // else the one question that is asked has its own bound
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(x.ctx, x.storeTimeout(len(facts.Customers)))
		defer cancel()
	}
	judging := x.trace.Begin(trace.Judge)
	j := x.gate.ByBody(ctx, x.head, facts, x.windows())
	judging.End("")
	x.noticeBypass(j)
	if x.apply(j) {
		x.reply(path, body)
	}
}

// apply applies a judgement to the call and reports whether the call goes on. If not, it is
// refused, or waits to be judged again.
func (x *apiRequest) apply(j gate.Judgement) bool {
	x.judged = j
	x.decision = &x.judged.Decision
	x.id = record.NewID(x.gw.Now())
	waits := j.Decision.Transient && x.waits()
	if j.Decision.Go && !waits {
		return true
	}
	x.settle(window.Rejected)
	if !waits {
		*x.decision = x.gate.Engine.Waited(j.Decision, x.waitOutcome(), time.Since(x.wait.began))
		x.refuse()
	}
	return false
}

// storeTimeout is how long a call may still wait for the store: its timeout in all, a little more
// for many customers.
func (x *apiRequest) storeTimeout(customers int) time.Duration {
	return max(x.gw.Windows.Timeout-x.waited, time.Millisecond) + time.Duration(customers)*time.Millisecond
}

// noticeBypass warns, once for each channel, about replies on a channel whose messages are not
// pulled through the gateway.
func (x *apiRequest) noticeBypass(j gate.Judgement) {
	for i, k := range j.Keys {
		a := j.Evidence.Windows[i]
		if a.Last.IsZero() && a.State != window.Unavailable && x.gw.Bypass.replyWithoutPages(k.Corp, k.Channel) {
			x.gw.Log.Unlimited.Warn("replies go through the gateway, but nobody pulls this channel's messages through it: let the bot call kf/sync_msg through the gateway too",
				zap.String("corp_id", k.Corp), zap.String("channel", k.Channel))
		}
	}
}

// refuse answers a judged call in WeCom's shape, with the why.
func (x *apiRequest) refuse() {
	d := x.decision
	rule := d.Rule
	if rule == "" {
		rule = "-"
	}
	status := fasthttp.StatusOK
	if d.Reason == policy.AmbiguousCredential {
		status = fasthttp.StatusBadRequest
	}
	x.answer(status, wecom.Refusal{
		Errcode: d.Errcode,
		Errmsg:  d.Errmsg + "; rule=" + rule + ", id=" + x.id,
		Verdict: d.Verdict.String(), Rule: d.Rule, Reason: string(d.Reason), DecisionID: x.id,
	})
}

// The headers that tell of a decision.
var (
	headerVerdict = []byte("Replygate-Verdict")
	headerRule    = []byte("Replygate-Rule")
	headerReason  = []byte("Replygate-Reason")
	headerID      = []byte("Replygate-Decision-Id")
	headerShadow  = []byte("Replygate-Shadow")
	headerCloses  = []byte("Replygate-Window-Closes")
	headerLeft    = []byte("Replygate-Replies-Left")
)

// markDecision puts into the headers of an answer what decided it, and its id.
func markDecision(h *fasthttp.ResponseHeader, verdict, rule, reason, id string) {
	var space [64]byte
	h.SetCanonical(headerVerdict, append(space[:0], verdict...))
	h.SetCanonical(headerRule, append(space[:0], rule...))
	h.SetCanonical(headerReason, append(space[:0], reason...))
	h.SetCanonical(headerID, append(space[:0], id...))
}

// mark puts the decision into the headers of the answer, whoever gave it.
func (x *apiRequest) mark() {
	h, d := &x.rc.Response.Header, x.decision
	var space [64]byte
	markDecision(h, d.Verdict.String(), d.Rule, string(d.Reason), x.id)
	if would := x.judged.Shadow; would != nil {
		h.SetCanonical(headerShadow, []byte(would.Verdict.String()+"; rule="+would.Rule+"; reason="+string(would.Reason)))
	}
	if d.Capability != wecom.KfReply {
		return
	}
	if !d.Closes.IsZero() {
		h.SetCanonical(headerCloses, d.Closes.UTC().AppendFormat(space[:0], time.RFC3339))
	}
	if d.Left >= 0 {
		h.SetCanonical(headerLeft, strconv.AppendInt(space[:0], int64(d.Left), 10))
	} else if d.Reason == policy.WindowRemembered || d.Verdict == policy.Unsure {
		h.SetCanonical(headerLeft, append(space[:0], "unknown"...))
	}
}
