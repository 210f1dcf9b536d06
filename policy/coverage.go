package policy

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"replygate/wecom"
)

// counts are what a rule did since its configuration is in force.
type counts struct {
	matched     atomic.Int64
	decided     atomic.Int64
	wouldRefuse atomic.Int64 // a shadow rule: calls that went on
	wouldPass   atomic.Int64 // a shadow rule: calls that did not
	last        atomic.Int64 // the newest match, unix ms
}

// match counts a match. last moves once a second at most, so that concurrent calls rarely contend
// for writing it.
func (c *counts) match(at time.Time) {
	c.matched.Add(1)
	if now := at.UnixMilli(); now-c.last.Load() >= time.Second.Milliseconds() {
		c.last.Store(now)
	}
}

// CountUnread counts a call that a rule passes without its body being read. A nil rule counts
// nothing.
func (r *Rule) CountUnread(at time.Time) {
	if r != nil {
		r.counts.match(at)
		r.counts.decided.Add(1)
	}
}

// Count counts a judged call: for the rules that matched, and for the one that decided. would is
// the decision if the rules in shadow, or all by policy.mode, were enforced; nil if there is none.
func (p *Engine) Count(m Match, d *Decision, shadow Match, would *Decision, at time.Time) {
	for _, r := range [...]*Rule{m.Rule, m.otherRule()} {
		switch {
		case r == nil:
			continue
		case p.shadow:
			r.countShadow(d, would)
		case r.Name == d.Rule:
			r.counts.decided.Add(1)
		}
		r.counts.match(at)
	}
	for _, r := range [...]*Rule{shadow.Rule, shadow.otherRule()} {
		if r == nil || r == m.Rule || r == m.otherRule() {
			continue
		}
		r.countShadow(d, would)
		r.counts.match(at)
	}
}

// countShadow counts for the rule of a decision in shadow whether the call would end otherwise.
func (r *Rule) countShadow(d, would *Decision) {
	switch {
	case would == nil || would.Rule != r.Name || would.Go == d.Go:
	case would.Go:
		r.counts.wouldPass.Add(1)
	default:
		r.counts.wouldRefuse.Add(1)
	}
}

// Coverage is what one rule did since its configuration is in force.
type Coverage struct {
	Name        string
	From        string // its rule set; OwnRule for one of the operator
	At          string // FILE:LINE
	Action      string
	Shadow      bool // it, or the whole policy, is in shadow
	Holds       bool // at the instant asked for
	Begins      time.Time
	Ends        time.Time
	Matched     int64 // calls, with those that it passed unread
	Decided     int64 // of these
	WouldRefuse int64 // calls that went on, of a rule in shadow
	WouldPass   int64 // calls that did not
	Last        time.Time
	HiddenBy    string // a rule before it takes every call that it is about
}

// OwnRule is the From of a rule that the configuration has.
const OwnRule = "own"

// Coverage returns the rules in the order in which they are tried: the operator's own, those of the
// rule set that holds at an instant, and those of later ones.
func (p *Engine) Coverage(now time.Time) (all []Coverage) {
	current := p.at(now)
	hidden := hiddenRules(current.rules)
	for _, r := range current.rules {
		all = append(all, p.coverage(r, current, hidden[r], now))
	}
	for i := range p.phases {
		if later := &p.phases[i]; later.from.After(now) && later != current {
			hidden := hiddenRules(later.rules)
			for _, r := range later.rules[len(p.own):] {
				all = append(all, p.coverage(r, later, hidden[r], now))
			}
		}
	}
	return all
}

func (p *Engine) coverage(r *Rule, of *phase, hiddenBy string, now time.Time) Coverage {
	c := Coverage{
		Name: r.Name, From: of.name, At: fmt.Sprintf("rulesets/%s.yaml:%d", of.name, r.At.Line), Action: r.Action.String(), Shadow: r.Shadow || p.shadow,
		Begins: r.from, Ends: r.until, HiddenBy: hiddenBy,
		Matched: r.counts.matched.Load(), Decided: r.counts.decided.Load(), WouldRefuse: r.counts.wouldRefuse.Load(), WouldPass: r.counts.wouldPass.Load(),
	}
	if r.order < len(p.own) {
		c.From, c.At = OwnRule, fmt.Sprintf("%s:%d", cmp.Or(r.At.File, p.file), r.At.Line)
	} else if of.from.After(now) {
		c.Begins = of.from
	}
	c.Holds = r.inForce(now) && !c.Begins.After(now)
	if last := r.counts.last.Load(); last != 0 {
		c.Last = time.UnixMilli(last)
	}
	return c
}

// Naming returns the operator's rules that name an account or its entity.
func (p *Engine) Naming(corpID, entity string) (names []string) {
	for _, r := range p.own {
		_, account := r.accounts[corpID]
		if _, ofEntity := r.entities[entity]; account || ofEntity {
			names = append(names, r.Name)
		}
	}
	return names
}

// hiddenRules names for each rule an earlier one that takes every call which it is about.
func hiddenRules(rules []*Rule) map[*Rule]string {
	l := linter{endpoints: slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds())}
	calls, hidden := make([]map[string]bool, len(rules)), map[*Rule]string{}
	for i, r := range rules {
		calls[i] = l.calls(r)
		for j, e := range rules[:i] {
			if (r.Shadow || !e.Shadow) && covers(e, r) && includesKeys(calls[j], calls[i]) {
				hidden[r] = e.Name
				break
			}
		}
	}
	return hidden
}

// String returns the action as rules are written.
func (a Action) String() string { return [...]string{"refuse", "reply", "pass"}[a] }

// DatedRuleSet is a rule set with the instant from which it holds.
type DatedRuleSet struct {
	Name string
	From time.Time // zero: from the beginning
}

// RuleSetsFrom returns the rule set that holds at an instant and those that follow.
func (p *Engine) RuleSetsFrom(now time.Time) (all []DatedRuleSet) {
	current := p.at(now)
	for i := range p.phases {
		if at := &p.phases[i]; at == current || at.from.After(now) {
			all = append(all, DatedRuleSet{at.name, at.from})
		}
	}
	return all
}
