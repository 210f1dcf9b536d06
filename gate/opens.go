package gate

import (
	"context"
	"slices"
	"sync"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// What a setting opens is measured with the gate itself. Sample calls to every interface of the
// catalogue are judged twice for a lapsed account: by a rule set alone, and by the configuration.
// decisions/0022-warnings.md has the reasons.

// reference is a rule set alone, and the interfaces that it refuses to a lapsed account whose
// customer has not written.
type reference struct {
	name    string
	gate    Gate
	refused []*wecom.Endpoint
}

// references are the built-in rule sets by name. Each is made when it is first asked for.
var references = func() map[string]func() *reference {
	all := map[string]func() *reference{}
	for _, name := range policy.RuleSets() {
		all[name] = sync.OnceValue(func() *reference { return newReference(name) })
	}
	return all
}()

// newReference walks the catalogue with a built-in rule set.
func newReference(name string) *reference {
	c := config.Default()
	c.Policy.Ruleset = name
	g, err := New(name, &c)
	if err != nil {
		panic("BUG: the rule set " + name + ": " + err.Error())
	}
	r := &reference{name: name, gate: g}
	for _, e := range wecom.Endpoints() {
		if slices.ContainsFunc(sampleCalls(e, sampleCustomer, nil), func(f wecom.Facts) bool { return r.refuses(e, f) }) {
			r.refused = append(r.refused, e)
		}
	}
	return r
}

func (r *reference) refuses(e *wecom.Endpoint, f wecom.Facts) bool {
	return !r.gate.sample(policy.Subject{Standing: account.Lapsed}, e, f, time.Time{}, window.Closed).Decision.Go
}

// sampleCustomer is the customer of sample calls, except those of a rule with percent.
const sampleCustomer = "wm0"

// sampleCalls are calls of an interface that rules may treat differently: with each of msgtypes,
// with a second capability, and, where calls can name customers, without one.
func sampleCalls(e *wecom.Endpoint, customer string, msgtypes []config.Word) []wecom.Facts {
	named := wecom.Facts{Channel: "wk0", Customers: []string{customer}}
	if e.Capability == wecom.KfEventReply {
		named.Code = "code"
	}
	all := []wecom.Facts{e.Plausible(named)}
	for _, also := range e.Also() {
		f := all[0]
		f.Also = also
		all = append(all, f)
	}
	if e.NamesCustomers() {
		all = append(all, e.Plausible(wecom.Facts{Channel: named.Channel}))
	}
	if e.SaysMsgType() {
		for _, m := range msgtypes {
			f := named
			f.MsgType = m.Text
			all = append(all, e.Plausible(f))
		}
	}
	return all
}

// sample judges a sample call of a caller whose standing is given, with all windows in one state.
func (g *Gate) sample(who policy.Subject, e *wecom.Endpoint, f wecom.Facts, at time.Time, windows window.State) Judgement {
	h := Head{Route: wecom.Route{Path: e.Path, Endpoint: e}, Who: who, At: at}
	j, judged := g.judgeHead(context.Background(), h, g.Inspections(h), sampleStore{windows},
		func(*wecom.Endpoint) (wecom.Facts, error) { return f, nil })
	if judged {
		return j
	}
	// It passes unread; what passes it may be another rule than that of its first capability.
	if m := g.Engine.Match(policy.Call{Who: who, Endpoint: e, Facts: f, At: at}); m.Rule != nil {
		j.Decision.Rule, j.Decision.Capability = m.Rule.Name, m.Capability
	}
	return j
}

// sampleStore answers that every window is in one state. Codes are fresh unless it is closed.
type sampleStore struct{ state window.State }

func (s sampleStore) Peek(_ context.Context, keys ...window.Key) []window.Answer {
	answers := make([]window.Answer, len(keys))
	for i := range answers {
		answers[i] = window.Answer{State: s.state, Left: -1}
	}
	return answers
}

func (s sampleStore) Reserve(ctx context.Context, k window.Key) window.Answer {
	return s.Peek(ctx, k)[0]
}

func (s sampleStore) PeekCode(context.Context, string, string) window.CodeAnswer {
	if s.state == window.Closed {
		return window.CodeAnswer{}
	}
	return window.CodeAnswer{State: window.CodeTaken}
}

func (s sampleStore) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	return s.PeekCode(ctx, corp, code)
}

// lapsedCallers returns the accounts as if each had lapsed, those that rules treat alike once.
func (g *Gate) lapsedCallers() []policy.Subject {
	var all []policy.Subject
	seen := map[string]bool{}
	for _, a := range g.Accounts.All() {
		if key := g.Engine.Alike(a); !seen[key] {
			seen[key] = true
			all = append(all, policy.Subject{CorpID: a.CorpID, Entity: a.Entity, Standing: account.Lapsed, Account: a, Client: g.clients(nil)[0]})
		}
	}
	return all
}

// maxCallers bounds how many accounts that rules treat differently are sampled for a setting, and
// for a rule after the last one for which it opened something more.
const maxCallers = 50

// clients returns the clients that a match names, else all that there are; one is "" if no rule
// depends on the client.
func (g *Gate) clients(named []config.Word) []string {
	if !g.Engine.UsesClients() {
		return []string{""}
	}
	var all []string
	for _, w := range named {
		all = append(all, w.Text)
	}
	if len(named) == 0 {
		all = append(all, config.UnknownClient)
		for _, c := range g.Config.Clients {
			all = append(all, c.Name)
		}
	}
	return all
}

// opens counts the interfaces that ref refuses and that g passes to at least one of the callers.
func (g *Gate) opens(ref *reference, callers []policy.Subject, at time.Time) (n int) {
	for _, e := range ref.refused {
		if slices.ContainsFunc(callers[:min(len(callers), maxCallers)], func(who policy.Subject) bool { return g.opensFor(who, e, ref, at) }) {
			n++
		}
	}
	return n
}

func (g *Gate) opensFor(who policy.Subject, e *wecom.Endpoint, ref *reference, at time.Time) bool {
	return slices.ContainsFunc(sampleCalls(e, sampleCustomer, nil), func(f wecom.Facts) bool {
		return g.sample(who, e, f, at, window.Closed).Decision.Go && ref.refuses(e, f)
	})
}

// opensByRule returns the interfaces that ref refuses and that the i-th rule passes to at least one
// of its callers, with the capability that it passes. It is nil if the rule cannot be broad.
func (g *Gate) opensByRule(i int, ref *reference, callers []policy.Subject, at time.Time) map[*wecom.Endpoint]wecom.Capability {
	rule, match := g.Engine.OwnRules()[i], g.Config.Policy.Rules[i].Match
	var left []*wecom.Endpoint // that it has not opened yet
	for _, e := range ref.refused {
		if rule.CanMatch(e) {
			left = append(left, e)
		}
	}
	opened := map[*wecom.Endpoint]wecom.Capability{}
	if !isBroad(len(left), ref) {
		return opened
	}
	inVain := 0
	for _, who := range callers {
		if len(left) == 0 || inVain == maxCallers {
			break
		}
		if !rule.CanMatchCaller(who) {
			continue
		}
		before := len(opened)
		customer := rule.SampleCustomer(who.CorpID)
		for _, who.Client = range g.clients(match.Clients) {
			left = slices.DeleteFunc(left, func(e *wecom.Endpoint) bool {
				capability, opens := g.opensByRuleFor(who, rule, e, sampleCalls(e, customer, match.MsgTypes), ref, at)
				if opens {
					opened[e] = capability
				}
				return opens
			})
		}
		if inVain++; len(opened) > before {
			inVain = 0
		}
	}
	return opened
}

// opensByRuleFor reports whether a rule passes a caller's sample call that ref refuses, and the
// capability that it passes.
func (g *Gate) opensByRuleFor(who policy.Subject, rule *policy.Rule, e *wecom.Endpoint, samples []wecom.Facts, ref *reference, at time.Time) (wecom.Capability, bool) {
	for _, f := range samples {
		if !rule.CanMatchCall(policy.Call{Who: who, Endpoint: e, Facts: f, At: at}) {
			continue
		}
		if d := g.sample(who, e, f, at, window.Closed).Decision; d.Go && d.Rule == rule.Name && ref.refuses(e, f) {
			return d.Capability, true
		}
	}
	return "", false
}

// isBroad reports whether n interfaces are at least a quarter of those that ref refuses. A rule
// that opens fewer is taken as meant.
func isBroad(n int, ref *reference) bool { return n > 0 && 4*n >= len(ref.refused) }

// judgedByWindow counts the interfaces that ref refuses and that g passes to at least one of the
// callers while windows are open, and not while they are in another state.
func (g *Gate) judgedByWindow(ref *reference, callers []policy.Subject, at time.Time, other window.State) (n int) {
	for _, e := range ref.refused {
		f := sampleCalls(e, sampleCustomer, nil)[0]
		if slices.ContainsFunc(callers[:min(len(callers), maxCallers)], func(who policy.Subject) bool {
			return g.sample(who, e, f, at, window.Open).Decision.Go && !g.sample(who, e, f, at, other).Decision.Go
		}) {
			n++
		}
	}
	return n
}
