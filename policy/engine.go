package policy

import (
	"fmt"
	"slices"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/wecom"
)

// Engine holds the rules in force and decides.
type Engine struct {
	phases         []phase // by the instant from which each applies; never empty
	alwaysPasses   map[*wecom.Endpoint]bool
	refusals       map[refusalKey]string // why each interface is refused and what to do
	shadow         bool                  // policy.mode: nothing is obeyed
	hasShadowRules bool                  // some rule is in shadow
	usesWindows    bool                  // some rule's when speaks of windows
	usesClients    bool                  // some rule asks what the caller is
	usesPercent    bool                  // some rule takes a share of customers
	passUnsure     bool                  // a kf reply that stays unsure goes on, else it is answered with -1
	coldStart      Verdict
	length         time.Duration
	lengthInWords  string // length in words
	chinese        bool   // the language of refusals, else English
}

// phase is what applies from an instant on: the operator's rules, then those of a rule set.
type phase struct {
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
		shadow:     c.Policy.Mode == config.Shadow,
		passUnsure: c.Policy.OnUnsure == config.Pass,
		coldStart:  Pass,
		length:     c.Window.Length,
		chinese:    c.Policy.Language == config.Chinese,
	}
	e.lengthInWords = lengthText(e.length, e.chinese)
	if c.Policy.ColdStart == config.Refuse {
		e.coldStart = Refuse
	}
	rules := own.rules(c.Policy.Rules)
	for _, r := range rules {
		e.usesClients = e.usesClients || len(r.clients) > 0 || r.when.uses("call.client")
		e.usesPercent = e.usesPercent || r.percent < 100
		e.hasShadowRules = e.hasShadowRules || r.Shadow
		e.usesWindows = e.usesWindows || r.when.usesWindows
	}
	e.phases = own.phases(c, rules)
	if err := own.mistakes.Err(); err != nil {
		return nil, err
	}
	endpoints := slices.Concat(wecom.Endpoints(), wecom.Uncatalogueds())
	for i := range e.phases {
		e.phases[i].buildTables(endpoints)
	}
	e.alwaysPasses, e.refusals = map[*wecom.Endpoint]bool{}, map[refusalKey]string{}
	for _, ep := range endpoints {
		e.alwaysPasses[ep] = e.passesAtAllTimes(ep)
		for _, c := range capabilities(ep) {
			e.refusals[refusalKey{ep, c, false}] = e.format(textRefusedByRule, c, ep.Meaning)
			e.refusals[refusalKey{ep, c, true}] = e.format(textLapsed, c, ep.Meaning, e.lengthInWords)
		}
	}
	return e, nil
}

// refusalKey is a refusal of an interface by one of its capabilities.
type refusalKey struct {
	endpoint   *wecom.Endpoint
	capability wecom.Capability
	lapsed     bool // the account is
}

// capabilities are those that calls of e can have: its own first.
func capabilities(e *wecom.Endpoint) []wecom.Capability {
	return append([]wecom.Capability{e.Capability}, e.Also()...)
}

// phases compiles the rule sets of a configuration behind the operator's rules.
func (c *compiler) phases(cfg *config.Config, rules []*Rule) []phase {
	for i, r := range rules {
		r.order = i
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
			c.mistake(d.At, "the rule sets are not in the order of their from", "write the earlier one first, and a from behind each but the first")
		}
		for j, r := range set.rules {
			r.order = len(rules) + j
		}
		all = append(all, phase{from: d.From, rules: slices.Concat(rules, set.rules), opens: set.opens})
	}
	return all
}

// at returns what applies at an instant: before the first from the first rule set does.
func (p *Engine) at(now time.Time) *phase {
	for i := len(p.phases) - 1; i > 0; i-- {
		if !now.Before(p.phases[i].from) {
			return &p.phases[i]
		}
	}
	return &p.phases[0]
}

// OpensWindow tells whether a customer's message that became known by that kind opens a window.
func (p *Engine) OpensWindow(kind string, now time.Time) bool { return p.at(now).opens[kind] }

// UsesClients tells whether some rule depends on what the caller is.
func (p *Engine) UsesClients() bool { return p.usesClients }

// UsesPercent tells whether some rule takes a share of customers, by their ids.
func (p *Engine) UsesPercent() bool { return p.usesPercent }

// Shadow tells that decisions are made and counted, but not obeyed.
func (p *Engine) Shadow() bool { return p.shadow }

// ruleSet is a rule set, compiled.
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

// AlwaysPasses tells whether no rule could ever refuse a call of e or ask for its body, whoever calls and
// when.
func (p *Engine) AlwaysPasses(e *wecom.Endpoint) bool { return p.alwaysPasses[e] }

func (p *Engine) passesAtAllTimes(e *wecom.Endpoint) bool {
	for i := range p.phases {
		for _, c := range capabilities(e) {
			if !p.phases[i].alwaysPasses(e, c) {
				return false
			}
		}
	}
	return true
}

func (p *phase) alwaysPasses(e *wecom.Endpoint, c wecom.Capability) bool {
	for _, r := range p.rules {
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
