package policy

import (
	"time"

	"replygate/account"
	"replygate/wecom"
	"replygate/window"
)

// Of which rules a call can meet most is known beforehand: its endpoint, capability and standing
// are few, and most rules name few accounts. So the rules are sorted into tables when they are
// compiled, and a call walks only over those that can be about it, however many there are.

// place is where the calls of an endpoint stand, with each of the capabilities that they can have:
// its own first.
type place []struct {
	capability wecom.Capability
	tables     [4]*table // by rank of the standing
}

// rank numbers the standings.
func rank(s account.Standing) int {
	switch s {
	case account.Active:
		return 0
	case account.Grace:
		return 1
	case account.Free:
		return 2
	}
	return 3 // lapsed, and whatever is not known
}

// table is the rules that can be about calls of one place and standing, in their order: those about
// any caller, and those about named ones.
type table struct {
	everyone []*Rule
	byCorp   map[string][]*Rule
	byEntity map[string][]*Rule
}

// tabulate sorts the rules of a phase. Places that meet the same rules share a table.
func (p *phase) tabulate(endpoints []*wecom.Endpoint) {
	p.places = make(map[*wecom.Endpoint]place, len(endpoints))
	shared := map[string]*table{}
	for _, e := range endpoints {
		all := make(place, 0, 1+len(e.Also()))
		for _, c := range capabilities(e) {
			var rules []*Rule
			for _, r := range p.rules {
				if r.abilities.allows(c) && r.about(e) {
					rules = append(rules, r)
				}
			}
			all = append(all, place{{capability: c}}...)
			for _, s := range account.Standings() {
				all[len(all)-1].tables[rank(s)] = tableOf(rules, s, shared)
			}
		}
		p.places[e] = all
	}
}

func tableOf(rules []*Rule, s account.Standing, shared map[string]*table) *table {
	var fitting []*Rule
	var name []byte
	for _, r := range rules {
		if !r.standings.allows(s) {
			continue
		}
		fitting = append(fitting, r)
		name = append(name, byte(r.order), byte(r.order>>8), byte(r.order>>16))
		if r.always() {
			break // what stands behind is never reached
		}
	}
	if t, done := shared[string(name)]; done {
		return t
	}
	t := &table{byCorp: map[string][]*Rule{}, byEntity: map[string][]*Rule{}}
	for _, r := range fitting {
		switch {
		case len(r.accounts) > 0:
			for corp := range r.accounts {
				t.byCorp[corp] = append(t.byCorp[corp], r)
			}
		case len(r.entities) > 0:
			for entity := range r.entities {
				t.byEntity[entity] = append(t.byEntity[entity], r)
			}
		default:
			t.everyone = append(t.everyone, r)
		}
	}
	shared[string(name)] = t
	return t
}

// always tells whether an enforced rule takes every call of its endpoints, capabilities and
// standings.
func (r *Rule) always() bool {
	return len(r.accounts) == 0 && len(r.entities) == 0 && len(r.clients) == 0 && !r.matchesCall() &&
		r.from.IsZero() && r.until.IsZero() && !r.Shadow
}

// walk goes over the rules that can be about a call, in their order.
type walk struct{ lists [3][]*Rule }

// walk goes over the rules for one capability of the calls of a place; the zero one is its own.
func (p place) walk(who *Subject, c wecom.Capability) walk {
	for i := range p {
		if c == "" || p[i].capability == c {
			return p[i].tables[rank(who.Standing)].walk(who)
		}
	}
	return walk{}
}

func (t *table) walk(who *Subject) walk {
	w := walk{lists: [3][]*Rule{t.everyone}}
	if len(t.byCorp) > 0 {
		w.lists[1] = t.byCorp[who.CorpID]
	}
	if len(t.byEntity) > 0 {
		w.lists[2] = t.byEntity[who.Entity]
	}
	return w
}

// next returns the next rule, nil behind the last.
func (w *walk) next() *Rule {
	if len(w.lists[1])+len(w.lists[2]) == 0 { // as a rule
		if len(w.lists[0]) == 0 {
			return nil
		}
		r := w.lists[0][0]
		w.lists[0] = w.lists[0][1:]
		return r
	}
	first := -1
	for i, list := range w.lists {
		if len(list) > 0 && (first < 0 || list[0].order < w.lists[first][0].order) {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	r := w.lists[first][0]
	w.lists[first] = w.lists[first][1:]
	return r
}

// Inspection is what a decision needs to know of a call besides who calls which endpoint.
type Inspection uint8

// The needs.
const (
	InspectNone Inspection = iota // not judged: the call passes unread
	InspectPath                   // decided whatever the body says
	InspectBody                   // the body decides
)

// Needs tell how much of a call must be read: for the rules that are obeyed, and in all, with those
// in shadow. A call of which only the latter need something goes on whatever they say.
type Inspections struct{ Enforced, Overall Inspection }

// Inspection tells how much of a call of e must be read. It is the test for a judged call.
func (p *Engine) Inspections(who Subject, e *wecom.Endpoint, now time.Time) Inspections {
	at := p.at(now).places[e]
	n := inspection(&who, e, at, 0, now)
	for i := 1; i < len(at); i++ {
		also := inspection(&who, e, at, i, now)
		n = Inspections{both(n.Enforced, also.Enforced), both(n.Overall, also.Overall)}
		n.Overall = max(n.Overall, n.Enforced)
	}
	if p.shadow {
		n.Enforced = InspectNone
	}
	return n
}

// both is the need of a call that has one of two capabilities: which of them only the body says.
func both(a, b Inspection) Inspection {
	if a == b {
		return a
	}
	return InspectBody
}

var needs = [...]Inspection{ActionPass: InspectNone, ActionRefuse: InspectPath, ActionReply: InspectBody}

// inspection is Need for the i-th capability of the calls of e.
func inspection(who *Subject, e *wecom.Endpoint, at place, i int, now time.Time) Inspections {
	shadow, body := InspectNone, false
	w := at[i].tables[rank(who.Standing)].walk(who)
	for r := w.next(); r != nil; r = w.next() {
		if !r.matches(who, now) {
			continue
		}
		takes, err := true, error(nil)
		asksBody := r.needsBody(e)
		if r.matchesCall() && !asksBody {
			takes, err = r.takes(&Call{Who: *who, Endpoint: e, Facts: e.Bare(), At: now}, at[i].capability)
		}
		switch {
		case asksBody || err != nil: // only the body says whether it is the first
			if r.Shadow {
				shadow = InspectBody
			} else {
				body = true
			}
		case takes && r.Shadow:
			shadow = max(shadow, needs[r.Action])
		case takes && body:
			return Inspections{InspectBody, InspectBody}
		case takes:
			return Inspections{needs[r.Action], max(needs[r.Action], shadow)}
		}
	}
	if body {
		return Inspections{InspectBody, InspectBody}
	}
	return Inspections{InspectPath, max(InspectPath, shadow)} // no rule: refused
}

// Call is a judged call with all that was read from it.
type Call struct {
	Who      Subject
	Endpoint *wecom.Endpoint
	Facts    wecom.Facts
	At       time.Time
	Windows  []window.Answer // of its customers, where WantsWindows asks for them
}

// Match is the rule that a call meets, for one of its capabilities.
type Match struct {
	Rule       *Rule // nil: no rule matches
	Capability wecom.Capability
	Err        error // whether Rule matches cannot be told, and so neither what follows

	// other is the rule for the second capability of a call, where the windows decide which of the
	// two is stricter; else nil.
	other *Match
}

// Match returns the rule that decides a call. A call with two capabilities must satisfy both: the
// stricter rule decides, and where that depends on windows Decide compares what both come to.
func (p *Engine) Match(c Call) Match { return p.match(&c, false) }

// ShadowMatch is Match as if the rules in shadow were obeyed; differs tells whether other rules than
// those of the match which is obeyed decide then.
func (p *Engine) ShadowMatch(c Call, obeyed Match) (m Match, differs bool) {
	if !p.shadows {
		return obeyed, false
	}
	m = p.match(&c, true)
	return m, m.Rule != obeyed.Rule || m.otherRule() != obeyed.otherRule()
}

func (m Match) otherRule() *Rule {
	if m.other == nil {
		return nil
	}
	return m.other.Rule
}

func (p *Engine) match(c *Call, shadows bool) Match {
	m := p.first(c, c.Endpoint.Capability, shadows)
	if c.Facts.Also == "" {
		return m
	}
	also := p.first(c, c.Facts.Also, shadows)
	if also.leniency() > m.leniency() {
		m, also = also, m
	}
	if also.leniency() > refuses && m.leniency() < passes {
		also.other = &m
	}
	return also
}

// The leniency of a match, from the certain refusal to the certain pass. What lies between depends
// on windows or is unknown.
const (
	refuses = iota
	unknown
	replies
	passes
)

func (m Match) leniency() int {
	switch {
	case m.Rule == nil || m.Err == nil && m.Rule.Action == ActionRefuse:
		return refuses
	case m.Err != nil:
		return unknown
	case m.Rule.Action == ActionReply:
		return replies
	}
	return passes
}

func (p *Engine) first(c *Call, capability wecom.Capability, shadows bool) Match {
	w := p.at(c.At).places[c.Endpoint].walk(&c.Who, capability)
	for r := w.next(); r != nil; r = w.next() {
		if r.Shadow && !shadows || !r.matches(&c.Who, c.At) {
			continue
		}
		if takes, err := r.takes(c, capability); takes || err != nil {
			return Match{Rule: r, Capability: capability, Err: err}
		}
	}
	return Match{Capability: capability}
}

// WantsWindows tells whether a rule that may decide the call speaks of its customers' windows.
func (p *Engine) WantsWindows(c Call) bool {
	if !p.windows {
		return false
	}
	for _, capability := range []wecom.Capability{c.Endpoint.Capability, c.Facts.Also} {
		w := p.at(c.At).places[c.Endpoint].walk(&c.Who, capability)
		for r := w.next(); r != nil; r = w.next() {
			if r.when.windows && r.matches(&c.Who, c.At) {
				return true
			}
		}
	}
	return false
}
