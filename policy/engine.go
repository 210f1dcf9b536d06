package policy

import (
	"fmt"
	"slices"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/wecom"
)

// Engine is a compiled policy: the rules of a configuration, its rule sets and its settings. It is
// immutable, but for the counts of its rules, and safe for concurrent use.
type Engine struct {
	file         string  // the configuration's name
	phases       []phase // in order of their from; never empty
	own          []*Rule // the operator's rules; every phase begins with them
	alwaysPasses map[*wecom.Endpoint]bool
	setsPass     map[*wecom.Endpoint]bool // the rule sets always pass it
	refusals     map[refusalKey]string    // errmsg of each refused interface

	shadow        bool // policy.mode is shadow: decisions are made but not applied
	passUnsure    bool // policy.on_unsure is pass: an unsure kf reply is forwarded
	coldStart     Verdict
	length        time.Duration // of a window
	lengthInWords string
	chinese       bool // the language of refusals; else English

	// What at least one of the operator's rules uses.
	hasShadowRules bool
	usesWindows    bool
	usesClients    bool
	usesPercent    bool
}

// phase holds what applies from an instant on: the operator's rules, then those of a rule set.
type phase struct {
	name   string // of the rule set
	from   time.Time
	rules  []*Rule
	tables map[*wecom.Endpoint]endpointTables
	opens  map[string]bool // the kinds of messages that open a window
}

// New compiles the policy of a configuration. The error holds every config.Mistake found; file is
// the configuration's name in them.
func New(file string, c *config.Config, book *account.Book) (*Engine, error) {
	own := compiler{file: file, accounts: book, clients: []string{config.UnknownClient}}
	for _, cl := range c.Clients {
		own.clients = append(own.clients, cl.Name)
	}
	e := &Engine{
		file:          file,
		shadow:        c.Policy.Mode == config.Shadow,
		passUnsure:    c.Policy.OnUnsure == config.Pass,
		coldStart:     Pass,
		length:        c.Window.Length,
		lengthInWords: lengthText(c.Window.Length, c.Policy.Language == config.Chinese),
		chinese:       c.Policy.Language == config.Chinese,
	}
	if c.Policy.ColdStart == config.Refuse {
		e.coldStart = Refuse
	}
	e.own = own.rules(c.Policy.Rules)
	e.noteUses(e.own)
	e.phases = own.phases(c, e.own)
	if err := own.mistakes.Err(); err != nil {
		return nil, err
	}
	e.index()
	return e, nil
}

// noteUses records which inputs the operator's rules need. Rule sets need none of them.
func (p *Engine) noteUses(rules []*Rule) {
	for _, r := range rules {
		p.usesClients = p.usesClients || len(r.clients) > 0 || r.when.uses("call.client")
		p.usesPercent = p.usesPercent || r.percent < 100
		p.hasShadowRules = p.hasShadowRules || r.Shadow
		p.usesWindows = p.usesWindows || r.when.usesWindows
	}
}

// index precomputes what depends on the endpoint alone: rule tables, which endpoints always pass,
// and the text of each refusal.
func (p *Engine) index() {
	endpoints := slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds())
	for i := range p.phases {
		p.phases[i].buildTables(endpoints)
	}
	p.alwaysPasses, p.setsPass, p.refusals = map[*wecom.Endpoint]bool{}, map[*wecom.Endpoint]bool{}, map[refusalKey]string{}
	for _, ep := range endpoints {
		p.alwaysPasses[ep] = p.passesInEveryPhase(ep, 0)
		p.setsPass[ep] = p.passesInEveryPhase(ep, len(p.own))
		for _, c := range capabilities(ep) {
			for _, lapsed := range []bool{false, true} {
				key := refusalKey{ep, c, lapsed}
				p.refusals[key] = p.refusalText(key)
			}
		}
	}
}

// refusalKey identifies the refusal of an endpoint because of one of its capabilities.
type refusalKey struct {
	endpoint   *wecom.Endpoint
	capability wecom.Capability
	lapsed     bool // the account has lapsed
}

// refusalText writes the errmsg of a refused interface.
func (p *Engine) refusalText(key refusalKey) string {
	meaning := p.meaning(key.endpoint, key.capability)
	if key.lapsed {
		return p.format(textLapsed, key.capability, meaning, p.lengthInWords)
	}
	return p.format(textRefusedByRule, key.capability, meaning)
}

// meaning says what an interface does: as the catalogue, which is in English, or in Chinese as its
// capability.
func (p *Engine) meaning(e *wecom.Endpoint, c wecom.Capability) string {
	if p.chinese {
		return Meaning(c, true)
	}
	return e.Meaning
}

// In returns the engine with its refusals in Chinese or in English.
func (p *Engine) In(chinese bool) *Engine {
	if p.chinese == chinese {
		return p
	}
	other := *p
	other.chinese, other.lengthInWords = chinese, lengthText(p.length, chinese)
	other.refusals = nil // they are written as they are needed
	return &other
}

// capabilities returns those that calls of e can have, the endpoint's own first.
func capabilities(e *wecom.Endpoint) []wecom.Capability {
	return append([]wecom.Capability{e.Capability}, e.Also()...)
}

// phases compiles the rule sets of a configuration. The operator's rules come first in each.
func (c *compiler) phases(cfg *config.Config, rules []*Rule) []phase {
	for i, r := range rules {
		r.order, r.own = i, true
	}
	dated := cfg.Policy.Rulesets
	if len(dated) == 0 {
		dated = []config.DatedRuleSet{{Ruleset: config.Word{Text: cfg.Policy.Ruleset, At: cfg.Where("policy.ruleset")}}}
	}
	var all []phase
	for i, d := range dated {
		set, err := compileRuleSet(d.Ruleset.Text)
		if err != nil {
			c.mistake(d.Ruleset.At, err.Error(), "")
		}
		key := fmt.Sprintf("policy.ruleset[%d].from", i)
		switch at := cfg.Where(key); {
		case i == 0 && (!d.From.IsZero() || at != config.Position{}):
			c.mistake(at, "the from of the first rule set has no effect: the set applies before that instant too",
				"take it out; to refuse nothing until then put { ruleset: off } before it")
		case i > 0 && !d.From.After(dated[i-1].From):
			c.mistake(d.At, "the rule sets are not in the order of their from",
				"write the earlier one first, and give each but the first a from")
		}
		for j, r := range set.rules {
			r.order = len(rules) + j
		}
		all = append(all, phase{name: d.Ruleset.Text, from: d.From, rules: slices.Concat(rules, set.rules), opens: set.opens})
	}
	return all
}

// at returns the phase of an instant. The first phase also covers the time before its from.
func (p *Engine) at(now time.Time) *phase {
	for i := len(p.phases) - 1; i > 0; i-- {
		if !now.Before(p.phases[i].from) {
			return &p.phases[i]
		}
	}
	return &p.phases[0]
}

// OpensWindow reports whether a customer's message of a kind (see wecom.MessageKinds) opens a
// window.
func (p *Engine) OpensWindow(kind string, now time.Time) bool { return p.at(now).opens[kind] }

// UsesClients reports whether some rule depends on the caller's client.
func (p *Engine) UsesClients() bool { return p.usesClients }

// UsesPercent reports whether some rule applies to a percentage of customers, by their ids.
func (p *Engine) UsesPercent() bool { return p.usesPercent }

// Shadow reports whether policy.mode is shadow: decisions are made and counted, but not applied.
func (p *Engine) Shadow() bool { return p.shadow }

// ruleSet is a compiled rule set.
type ruleSet struct {
	rules []*Rule
	opens map[string]bool
}

func compileRuleSet(name string) (ruleSet, error) {
	data, err := RuleSet(name)
	if err != nil {
		return ruleSet{}, err
	}
	file, err := config.ParseRuleSet(name+".yaml", data)
	if err != nil {
		return ruleSet{}, err
	}
	c := compiler{file: name + ".yaml"}
	set := ruleSet{rules: c.rules(file.Rules), opens: map[string]bool{}}
	for _, w := range file.Opens {
		if !slices.Contains(wecom.MessageKinds(), w.Text) {
			c.mistake(w.At, fmt.Sprintf("%q is not a message of a customer", w.Text), config.DidYouMean(w.Text, wecom.MessageKinds()))
		}
		set.opens[w.Text] = true
	}
	return set, c.mistakes.Err()
}

// AlwaysPasses reports whether no rule can refuse a call of e or need its body, whoever calls and
// when.
func (p *Engine) AlwaysPasses(e *wecom.Endpoint) bool { return p.alwaysPasses[e] }

// SetsAlwaysPass reports whether no rule of a rule set can refuse a call of e, whoever calls and
// when. A rule of the operator may.
func (p *Engine) SetsAlwaysPass(e *wecom.Endpoint) bool { return p.setsPass[e] }

// passesInEveryPhase reports whether the rules from an index on always pass calls of e.
func (p *Engine) passesInEveryPhase(e *wecom.Endpoint, from int) bool {
	for i := range p.phases {
		for _, c := range capabilities(e) {
			if !alwaysPass(p.phases[i].rules[from:], e, c) {
				return false
			}
		}
	}
	return true
}

// alwaysPass reports whether the rules up to the first unconditional one all pass.
func alwaysPass(rules []*Rule, e *wecom.Endpoint, c wecom.Capability) bool {
	for _, r := range rules {
		if !r.capabilities.allows(c) || !r.matchesEndpoint(e) {
			continue
		}
		if r.Action != ActionPass || r.Shadow {
			return false
		}
		if r.unconditional() && len(r.standings) == 0 {
			return true
		}
	}
	return false
}
