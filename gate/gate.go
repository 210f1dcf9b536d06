// Package gate judges one API call: it determines the caller and how much of the call must be read,
// finds the rule, reads the windows of the customers, and returns the decision. The proxy, explain,
// preflight, rule tests and replay all use it.
//
// It has no HTTP server, sends nothing, and does not settle the replies that it reserves.
package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Gate judges calls by one configuration. It is immutable, but for what it remembers of accounts,
// and safe for concurrent use.
type Gate struct {
	Config   *config.Config
	Accounts *account.Book
	Engine   *policy.Engine
	Clients  Clients
	distinct *distinctAccounts
}

// New compiles a configuration. The error holds every config.Mistake found; file is the
// configuration's name in them.
func New(file string, c *config.Config) (Gate, error) {
	book := account.NewBook(c.Accounts)
	engine, err := policy.New(file, c, book)
	return Gate{Config: c, Accounts: book, Engine: engine, Clients: newClients(c.Clients), distinct: &distinctAccounts{}}, err
}

// Store is the source of windows and one-time codes; *window.Store implements it. Its methods do
// not fail: an unreadable store is a state of the answer. Reserve and ConsumeCode count a reply or
// use up a code; Peek and PeekCode change nothing. Peek answers in the order of its keys.
type Store interface {
	Reserve(context.Context, window.Key) window.Answer
	Peek(context.Context, ...window.Key) []window.Answer
	ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer
	PeekCode(ctx context.Context, corp, code string) window.CodeAnswer
}

// Head is what the head of a request tells about a call.
type Head struct {
	Route wecom.Route
	Who   policy.Subject
	At    time.Time
}

// Judgement is the decision about a call, with its inputs.
type Judgement struct {
	Decision policy.Decision  // to be applied
	Shadow   *policy.Decision // with the rules in shadow enforced, or without shadow mode; nil if there is no difference to report
	Read     bool             // the body was read: Facts is complete
	Facts    wecom.Facts
	Evidence policy.Evidence
	Seen     []window.Answer // as the when of a rule saw them, before this call was counted; nil if no rule uses them
	Keys     []window.Key    // of Evidence.Windows, one each; nil if the call has a code

	Match, ShadowMatch policy.Match // of Decision and Shadow; zero if no rule was reached
}

// Subject tells who calls, and whether the accounts list the corp. One that they do not list may do
// what a lapsed one may without being judged, or all, by unlisted_account.
func (g *Gate) Subject(corp, client string, at time.Time) (who policy.Subject, listed bool) {
	who = policy.Subject{CorpID: corp, Client: client, Standing: account.Lapsed, Account: g.Accounts.Find(corp)}
	switch {
	case who.Account != nil:
		who.Entity, who.Standing = who.Account.Entity, who.Account.Standing(at)
		return who, true
	case g.Config.UnlistedAccount == config.Pass:
		who.Standing = account.Active
		return who, true
	}
	return who, false
}

// AlwaysPasses tells whether no rule could ever refuse the call, whoever makes it. Then whose it is
// does not matter.
func (g *Gate) AlwaysPasses(r wecom.Route) bool {
	return everyReading(r, g.Engine.AlwaysPasses)
}

// PassesWithoutAccount tells whether a call passes that carries another credential than an access
// token, so that it belongs to no account: one that no rule set ever refuses.
func (g *Gate) PassesWithoutAccount(r wecom.Route) bool {
	return everyReading(r, g.Engine.SetsAlwaysPass)
}

// everyReading reports whether all endpoints hold that a path may name.
func everyReading(r wecom.Route, holds func(*wecom.Endpoint) bool) bool {
	if !r.Ambiguous() {
		return holds(r.Endpoint)
	}
	return !slices.ContainsFunc(r.Readings, func(e *wecom.Endpoint) bool { return !holds(e) })
}

// Inspection is how a call of one corp must be inspected before it is decided.
type Inspection struct {
	policy.Inspections
	Who    policy.Subject // whose call it is
	Listed bool           // the accounts list the corp, or unlisted_account is pass
}

// Unlisted reports whether the call is rejected because the accounts do not list its corp; see
// Gate.Reject.
func (i Inspection) Unlisted() bool { return !i.Listed && i.Overall != policy.InspectNone }

// Inspect tells who makes a call and how much of it must be read. It changes nothing.
func (g *Gate) Inspect(r wecom.Route, corp, client string, at time.Time) Inspection {
	who, listed := g.Subject(corp, client, at)
	return Inspection{Who: who, Listed: listed, Inspections: g.Inspections(Head{Route: r, Who: who, At: at})}
}

// Inspections tell how much of a call must be read. An ambiguous path needs as much as its
// strictest reading.
func (g *Gate) Inspections(h Head) policy.Inspections {
	if !h.Route.Ambiguous() {
		return g.Engine.Inspections(h.Who, h.Route.Endpoint, h.At)
	}
	var n policy.Inspections
	for _, e := range h.Route.Readings {
		need := g.Engine.Inspections(h.Who, e, h.At)
		if need.Enforced != policy.InspectNone {
			n.Enforced = policy.InspectPath
		}
		if need.Overall != policy.InspectNone {
			n.Overall = policy.InspectPath
		}
	}
	return n
}

// Reject judges a call before any rule applies, by a decision of the engine such as
// policy.Engine.Reject. If only rules in shadow judge the call, it is forwarded, and the decision
// is reported as Shadow.
func (g *Gate) Reject(d policy.Decision, n policy.Inspections) Judgement {
	if n.Enforced != policy.InspectNone || g.Engine.Shadow() {
		return g.applyMode(d)
	}
	shadow := d // a copy, so that d does not escape to the heap in the common case
	return Judgement{
		Decision: policy.Decision{Verdict: policy.Pass, Reason: policy.RulePass, Capability: d.Capability, Go: true, Left: -1},
		Shadow:   &shadow,
	}
}

func capabilityOf(r wecom.Route) wecom.Capability {
	if r.Ambiguous() {
		return ""
	}
	return r.Endpoint.Capability
}

// Count counts for the rules what became of a judged call.
func (g *Gate) Count(j *Judgement, at time.Time) {
	g.Engine.Count(j.Match, &j.Decision, j.ShadowMatch, j.Shadow, at)
}

// applyMode applies policy.mode to a decision: in shadow mode the call is forwarded, and the
// decision is reported as Shadow.
func (g *Gate) applyMode(d policy.Decision) Judgement {
	if !g.Engine.Shadow() {
		return Judgement{Decision: d}
	}
	shadow := d // a copy, so that d does not escape to the heap in the common case
	return Judgement{
		Decision: policy.Decision{Verdict: policy.Pass, Reason: policy.ShadowMode, Capability: d.Capability, Go: true, Left: -1},
		Shadow:   &shadow,
	}
}

// ByPath judges a call by its caller and path alone (policy.InspectPath).
func (g *Gate) ByPath(h Head) Judgement {
	if h.Route.Ambiguous() {
		return g.Reject(g.Engine.Reject(policy.AmbiguousPath, "", ""), g.Inspections(h))
	}
	c := policy.Call{Who: h.Who, Endpoint: h.Route.Endpoint, Facts: h.Route.Endpoint.Bare(), At: h.At}
	m := g.Engine.Match(c)
	j := g.applyMode(g.Engine.Decide(c, m, policy.Evidence{}))
	j.Match = m
	if shadow, differs := g.Engine.ShadowMatch(c, m); differs && j.Shadow == nil {
		d := g.Engine.Decide(c, shadow, policy.Evidence{})
		j.Shadow, j.ShadowMatch = &d, shadow
	}
	return j
}

// Ambiguous judges a call that needs its body, but whose body is unreadable or ambiguous because of
// why. If only rules in shadow need the body, the call is judged by its path.
func (g *Gate) Ambiguous(h Head, n policy.Inspections, why error) Judgement {
	d := g.Engine.Reject(policy.AmbiguousBody, capabilityOf(h.Route), why.Error())
	if n.Enforced == policy.InspectBody || g.Engine.Shadow() {
		return g.applyMode(d)
	}
	j := g.ByPath(h) // the enforced rules do not need the body
	j.Shadow = &d
	return j
}

// ByBody judges a call by its path and body. The reservations that it makes are in
// Judgement.Evidence; the caller must settle them.
func (g *Gate) ByBody(ctx context.Context, h Head, facts wecom.Facts, s Store) Judgement {
	c := policy.Call{Who: h.Who, Endpoint: h.Route.Endpoint, Facts: facts, At: h.At}
	keys := keysOf(c)
	if g.Engine.WantsWindows(c) {
		c.Windows = s.Peek(ctx, keys...)
	}
	m := g.Engine.Match(c)
	found := g.reserveEvidence(ctx, c, m, keys, s)
	j := g.applyMode(g.Engine.Decide(c, m, found))
	j.Read, j.Facts, j.Evidence, j.Seen, j.Match = true, facts, found, c.Windows, m
	if len(found.Windows) == len(keys) && facts.Code == "" {
		j.Keys = keys
	}
	if shadow, differs := g.Engine.ShadowMatch(c, m); differs && j.Shadow == nil {
		d := g.Engine.Decide(c, shadow, g.peekEvidence(ctx, c, shadow, keys, found, s))
		j.Shadow, j.ShadowMatch = &d, shadow
	}
	return j
}

// keysOf returns the window keys of the customers of a call, in their order.
func keysOf(c policy.Call) []window.Key {
	if len(c.Facts.Customers) == 0 {
		return nil
	}
	keys := make([]window.Key, len(c.Facts.Customers))
	for i, customer := range c.Facts.Customers {
		keys[i] = window.Key{Corp: c.Who.CorpID, Channel: c.Facts.Channel, Customer: customer}
	}
	return keys
}

// reserveEvidence reads what a match depends on: the windows of the call's customers, or its code.
// A kf reply is counted and a code used up in the same step, so that two gateways cannot both send
// the last one.
func (g *Gate) reserveEvidence(ctx context.Context, c policy.Call, m policy.Match, keys []window.Key, s Store) (found policy.Evidence) {
	windows, code := g.Engine.RequiredEvidence(c, m)
	switch {
	case code:
		found.Code = s.ConsumeCode(ctx, c.Who.CorpID, c.Facts.Code)
		found.Windows = windowOfCode(ctx, s, found.Code)
	case windows && c.Endpoint.Capability == wecom.KfReply:
		found.Windows = make([]window.Answer, len(keys))
		for i, k := range keys {
			found.Windows[i] = s.Reserve(ctx, k)
		}
	case windows && c.Windows != nil:
		found.Windows = c.Windows
	case windows:
		found.Windows = s.Peek(ctx, keys...)
	}
	return found
}

// windowOfCode returns the window of the customer that a code names, or nil if the code cannot
// be used.
func windowOfCode(ctx context.Context, s Store, a window.CodeAnswer) []window.Answer {
	if a.State != window.CodeTaken {
		return nil
	}
	return s.Peek(ctx, a.Code.Key)
}

// peekEvidence is reserveEvidence for a match in shadow: it changes nothing, and does not read
// again what the enforced match has read.
func (g *Gate) peekEvidence(ctx context.Context, c policy.Call, m policy.Match, keys []window.Key, known policy.Evidence, s Store) (found policy.Evidence) {
	windows, code := g.Engine.RequiredEvidence(c, m)
	switch {
	case code && known.Code.Asked():
		return known
	case code:
		found.Code = s.PeekCode(ctx, c.Who.CorpID, c.Facts.Code)
		found.Windows = windowOfCode(ctx, s, found.Code)
	case windows && len(known.Windows) > 0:
		return known
	case windows && c.Windows != nil:
		found.Windows = c.Windows
	case windows:
		found.Windows = s.Peek(ctx, keys...)
	}
	return found
}

// ReadFacts reads the facts of a call from its query and body. It fails if parsers could read the
// call in different ways, or if the body has a Content-Encoding. types and encodings are all
// Content-Type and Content-Encoding values of the request, joined by commas.
func ReadFacts(e *wecom.Endpoint, query []byte, types, encodings string, body []byte) (wecom.Facts, error) {
	if !e.SaysInBody() {
		return e.ReadFacts(query, nil)
	}
	for coding := range strings.SplitSeq(encodings, ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
			return wecom.Facts{}, errors.New("the body has a Content-Encoding; send it as plain JSON")
		}
	}
	facts, err := e.ReadFacts(query, body)
	if err != nil {
		return wecom.Facts{}, wecom.ExplainForm(types, body, err)
	}
	return facts, e.CheckForm(types, body)
}
