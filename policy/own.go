package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"replygate/account"
	"replygate/wecom"
)

// OwnRules returns the operator's rules, in the order of the configuration.
func (p *Engine) OwnRules() []*Rule { return p.own }

// CanMatch reports whether a rule can match calls of an endpoint.
func (r *Rule) CanMatch(e *wecom.Endpoint) bool {
	return r.matchesEndpoint(e) && slices.ContainsFunc(capabilities(e), r.capabilities.allows)
}

// namesNeverJudged reports whether a rule would match calls of an endpoint to which none applies.
func (r *Rule) namesNeverJudged(e *wecom.Endpoint) bool {
	return e.NeverJudged() && r.namesEndpoint(e) && slices.ContainsFunc(capabilities(e), r.capabilities.allows)
}

// CanMatchAccount reports whether a rule can match calls of an account.
func (r *Rule) CanMatchAccount(a *account.Account) bool {
	return r.accounts.allows(a.CorpID) && r.entities.allows(a.Entity)
}

// CanMatchCaller reports whether a rule can match calls of a caller, by account, entity, and a when
// that uses nothing but facts of the account.
func (r *Rule) CanMatchCaller(who Subject) bool {
	if !r.accounts.allows(who.CorpID) || !r.entities.allows(who.Entity) {
		return false
	}
	if slices.ContainsFunc(r.when.facts, func(f string) bool { return !strings.HasPrefix(f, accountPrefix) }) {
		return true
	}
	holds, err := r.when.holds(&Call{Who: who, Endpoint: wecom.Lookup("")}, "")
	return holds || err != nil
}

// CanMatchCall reports whether a rule can match a call of a caller that it can match.
func (r *Rule) CanMatchCall(c Call) bool {
	return r.when.usesWindows || slices.ContainsFunc(capabilities(c.Endpoint), func(capability wecom.Capability) bool {
		matched, err := r.matchesCall(&c, capability)
		return matched || err != nil
	})
}

// accountPrefix begins the facts of the account.
const accountPrefix = "account."

// SampleCustomer returns a made-up customer of a corp that the rule's percent selects, or "" if it
// selects nobody.
func (r *Rule) SampleCustomer(corp string) string {
	if r.percent == 0 {
		return ""
	}
	for n := 0; ; n++ {
		c := Call{Who: Subject{CorpID: corp}, Facts: wecom.Facts{Customers: []string{"wm" + strconv.Itoa(n)}}}
		if r.percent == 100 || r.bucket(&c) < r.percent {
			return c.Facts.Customers[0]
		}
	}
}

// Alike returns a key that is the same for accounts which the operator's rules treat alike, their
// standing aside.
func (p *Engine) Alike(a *account.Account) string {
	key := make([]byte, 0, len(p.own))
	byFacts := p.usesPercent // it may select accounts
	for _, r := range p.own {
		byFacts = byFacts || slices.ContainsFunc(r.when.facts, func(f string) bool { return strings.HasPrefix(f, accountPrefix) })
		if r.CanMatchAccount(a) {
			key = append(key, '1')
		} else {
			key = append(key, '0')
		}
	}
	if !byFacts {
		return string(key)
	}
	free, total, known := a.Contacts()
	return fmt.Sprintf("%s %q %q %q %d %d %v", key, a.CorpID, a.Name, a.Entity, free, total, known)
}
