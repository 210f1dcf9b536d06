package policy

import (
	"time"

	"replygate/account"
	"replygate/wecom"
	"replygate/window"
)

// Endpoints, capabilities and standings are few, and most rules name few accounts. So rules are
// sorted into tables at compile time, and a call only tests rules that can match it. The cost of a
// call does not grow with the number of rules.

// endpointTables holds the rules of one endpoint, per capability that its calls can have; the
// endpoint's own capability comes first.
type endpointTables []struct {
	capability wecom.Capability
	tables     [5]*table // by standingIndex
}

// standingIndex numbers the standings.
func standingIndex(s account.Standing) int {
	switch s {
	case account.Active:
		return 0
	case account.Grace:
		return 1
	case account.Free:
		return 2
	case account.Full:
		return 4
	}
	return 3 // lapsed, and unknown values
}

// table holds the rules for one endpoint, capability and standing, in rule order. Rules that name
// accounts, or else entities, are listed under each of these.
type table struct {
	everyone []*Rule
	byCorp   map[string][]*Rule
	byEntity map[string][]*Rule
}

// buildTables sorts the rules of a phase. Equal rule lists share a table.
func (p *phase) buildTables(endpoints []*wecom.Endpoint) {
	p.tables = make(map[*wecom.Endpoint]endpointTables, len(endpoints))
	shared := map[string]*table{}
	for _, e := range endpoints {
		all := make(endpointTables, 0, 1+len(e.Also()))
		for _, c := range capabilities(e) {
			var rules []*Rule
			for _, r := range p.rules {
				if r.capabilities.allows(c) && r.matchesEndpoint(e) {
					rules = append(rules, r)
				}
			}
			all = append(all, endpointTables{{capability: c}}...)
			for _, s := range account.Standings() {
				all[len(all)-1].tables[standingIndex(s)] = tableFor(rules, s, shared)
			}
		}
		p.tables[e] = all
	}
}

func tableFor(rules []*Rule, s account.Standing, shared map[string]*table) *table {
	var matching []*Rule
	var key []byte
	for _, r := range rules {
		if !r.standings.allows(s) {
			continue
		}
		matching = append(matching, r)
		key = append(key, byte(r.order), byte(r.order>>8), byte(r.order>>16))
		if r.unconditional() {
			break // later rules are unreachable
		}
	}
	if t, done := shared[string(key)]; done {
		return t
	}
	t := &table{byCorp: map[string][]*Rule{}, byEntity: map[string][]*Rule{}}
	for _, r := range matching {
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
	shared[string(key)] = t
	return t
}

// unconditional reports whether an enforced rule matches every call of its endpoints, capabilities
// and standings.
func (r *Rule) unconditional() bool {
	return len(r.accounts) == 0 && len(r.entities) == 0 && len(r.clients) == 0 && !r.hasCallConditions() &&
		r.from.IsZero() && r.until.IsZero() && !r.Shadow
}

// ruleIterator merges up to three rule lists in rule order.
type ruleIterator struct{ lists [3][]*Rule }

// rulesFor iterates over the rules for one capability; "" is the endpoint's own.
func (p endpointTables) rulesFor(who *Subject, c wecom.Capability) ruleIterator {
	for i := range p {
		if c == "" || p[i].capability == c {
			return p[i].tables[standingIndex(who.Standing)].rulesFor(who)
		}
	}
	return ruleIterator{}
}

func (t *table) rulesFor(who *Subject) ruleIterator {
	it := ruleIterator{lists: [3][]*Rule{t.everyone}}
	if len(t.byCorp) > 0 {
		it.lists[1] = t.byCorp[who.CorpID]
	}
	if len(t.byEntity) > 0 {
		it.lists[2] = t.byEntity[who.Entity]
	}
	return it
}

// next returns the next rule, or nil after the last.
func (it *ruleIterator) next() *Rule {
	if len(it.lists[1])+len(it.lists[2]) == 0 { // the common case: no rule names this caller
		if len(it.lists[0]) == 0 {
			return nil
		}
		r := it.lists[0][0]
		it.lists[0] = it.lists[0][1:]
		return r
	}
	first := -1
	for i, list := range it.lists {
		if len(list) > 0 && (first < 0 || list[0].order < it.lists[first][0].order) {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	r := it.lists[first][0]
	it.lists[first] = it.lists[first][1:]
	return r
}

// Inspection is how much of a call must be read for a decision, besides caller and endpoint.
type Inspection uint8

// The inspections, in order of their cost.
const (
	InspectNone Inspection = iota // not judged: the call passes unread
	InspectPath                   // judged by caller and path alone
	InspectBody                   // judged by the body too
)

// Inspections is how much of a call must be read for the enforced rules, and overall, with the
// rules in shadow. Overall is at least Enforced. A call with Enforced == InspectNone is always
// forwarded.
type Inspections struct {
	Enforced, Overall Inspection
	By                *Rule // that decides by the caller and the path; nil: none, or the body is needed
}

// Stricter returns what two callers need of a call of which it is not known who of them makes it.
func (n Inspections) Stricter(other Inspections) Inspections {
	return Inspections{Enforced: max(n.Enforced, other.Enforced), Overall: max(n.Overall, other.Overall)}
}

// Inspections returns how much of a call of e must be read. A call is judged if Overall is not
// InspectNone.
func (p *Engine) Inspections(who Subject, e *wecom.Endpoint, now time.Time) Inspections {
	at := p.at(now).tables[e]
	n := inspection(&who, e, at, 0, now)
	for i := 1; i < len(at); i++ {
		also := inspection(&who, e, at, i, now)
		n.Enforced, n.Overall = both(n.Enforced, also.Enforced), both(n.Overall, also.Overall)
		n.Overall = max(n.Overall, n.Enforced)
	}
	if p.shadow {
		n.Enforced = InspectNone
	}
	return n
}

// both combines the inspections of two capabilities of an endpoint; only the body tells which of
// the two a call has.
func both(a, b Inspection) Inspection {
	if a == b {
		return a
	}
	return InspectBody
}

var inspectionFor = [...]Inspection{ActionPass: InspectNone, ActionRefuse: InspectPath, ActionReply: InspectBody}

// inspection is Inspections for the i-th capability of e, policy.mode aside.
func inspection(who *Subject, e *wecom.Endpoint, at endpointTables, i int, now time.Time) Inspections {
	shadow, body := InspectNone, false
	it := at[i].tables[standingIndex(who.Standing)].rulesFor(who)
	for r := it.next(); r != nil; r = it.next() {
		if !r.matchesCaller(who, now) {
			continue
		}
		matched, err := true, error(nil)
		needsBody := r.needsBody(e)
		if r.hasCallConditions() && !needsBody {
			matched, err = r.matchesCall(&Call{Who: *who, Endpoint: e, Facts: e.Bare(), At: now}, at[i].capability)
		}
		switch {
		case needsBody || err != nil: // whether this rule decides depends on the body
			if r.Shadow {
				shadow = InspectBody
			} else {
				body = true
			}
		case matched && r.Shadow:
			shadow = max(shadow, inspectionFor[r.Action])
		case matched && body:
			return Inspections{Enforced: InspectBody, Overall: InspectBody}
		case matched:
			return Inspections{inspectionFor[r.Action], max(inspectionFor[r.Action], shadow), r}
		}
	}
	if body {
		return Inspections{Enforced: InspectBody, Overall: InspectBody}
	}
	return Inspections{Enforced: InspectPath, Overall: max(InspectPath, shadow)} // no rule: refused
}

// Call is a judged call with everything that was read from it.
type Call struct {
	Who      Subject
	Endpoint *wecom.Endpoint
	Facts    wecom.Facts
	At       time.Time
	Windows  []window.Answer // one per customer, set only if WantsWindows reports true
}

// Match is the first rule that matches a call, for one of its capabilities.
type Match struct {
	Rule       *Rule // nil: no rule matches
	Capability wecom.Capability
	Err        error // the condition of Rule could not be evaluated

	// other is the match for a second capability, if it depends on the evidence which of the two is
	// stricter; else nil.
	other *Match
}

// Match returns the rule that decides a call. A call with two capabilities must satisfy the rules
// of both: the stricter match decides. If that depends on the evidence, Decide compares both.
func (p *Engine) Match(c Call) Match { return p.match(&c, false) }

// ShadowMatch returns the match if rules in shadow were enforced. differs reports whether it has
// other rules than enforced, the result of Match.
func (p *Engine) ShadowMatch(c Call, enforced Match) (m Match, differs bool) {
	if !p.hasShadowRules {
		return enforced, false
	}
	m = p.match(&c, true)
	return m, m.Rule != enforced.Rule || m.otherRule() != enforced.otherRule()
}

func (m Match) otherRule() *Rule {
	if m.other == nil {
		return nil
	}
	return m.other.Rule
}

func (p *Engine) match(c *Call, shadows bool) Match {
	m := p.firstMatch(c, c.Endpoint.Capability, shadows)
	if c.Facts.Also == "" {
		return m
	}
	also := p.firstMatch(c, c.Facts.Also, shadows)
	if also.leniency() > m.leniency() {
		m, also = also, m
	}
	if also.leniency() > refuses && m.leniency() < passes {
		also.other = &m
	}
	return also
}

// The leniency of a match, from a certain refusal to a certain pass. The two between depend on an
// unknown fact or on windows.
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

func (p *Engine) firstMatch(c *Call, capability wecom.Capability, shadows bool) Match {
	it := p.at(c.At).tables[c.Endpoint].rulesFor(&c.Who, capability)
	for r := it.next(); r != nil; r = it.next() {
		if r.Shadow && !shadows || !r.matchesCaller(&c.Who, c.At) {
			continue
		}
		if matched, err := r.matchesCall(c, capability); matched || err != nil {
			return Match{Rule: r, Capability: capability, Err: err}
		}
	}
	return Match{Capability: capability}
}

// WantsWindows reports whether a rule that may match the call has a when that uses windows.
func (p *Engine) WantsWindows(c Call) bool {
	if !p.usesWindows {
		return false
	}
	for _, capability := range []wecom.Capability{c.Endpoint.Capability, c.Facts.Also} {
		it := p.at(c.At).tables[c.Endpoint].rulesFor(&c.Who, capability)
		for r := it.next(); r != nil; r = it.next() {
			if r.when.usesWindows && r.matchesCaller(&c.Who, c.At) {
				return true
			}
		}
	}
	return false
}
