package gate

import (
	"strconv"
	"time"

	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Fate is what would become of the calls of one client to one endpoint.
type Fate struct {
	Verdict    FateVerdict
	Rule       string // "" if no rule was reached
	Capability wecom.Capability
	Varies     bool // the verdict is that of an ordinary call: others may have another one
}

// FateVerdict tells whether calls are sent, whoever they reach.
type FateVerdict string

// The verdicts of a Fate.
const (
	FatePass   FateVerdict = "pass"   // all are sent
	FateReply  FateVerdict = "reply"  // those to customers whose window is open are sent
	FateRefuse FateVerdict = "refuse" // none is sent
	FateUnsure FateVerdict = "unsure" // it cannot be told: none is sent, and nothing refuses it
)

// Fate judges sample calls of a caller to an endpoint at an instant, as if policy.mode were
// enforce: to a customer whose window is open, and to one who has not written.
func (g *Gate) Fate(who policy.Subject, e *wecom.Endpoint, at time.Time) Fate {
	samples := g.ordinaryCalls(who.CorpID, e)
	fate := g.fateOf(who, e, samples[0], at)
	for _, f := range samples[1:] {
		fate.Varies = fate.Varies || g.fateOf(who, e, f, at).Verdict != fate.Verdict
	}
	return fate
}

func (g *Gate) fateOf(who policy.Subject, e *wecom.Endpoint, f wecom.Facts, at time.Time) Fate {
	open, closed := g.sample(who, e, f, at, window.Open).Decision, g.sample(who, e, f, at, window.Closed).Decision
	fate := Fate{Verdict: FateRefuse, Rule: closed.Rule, Capability: closed.Capability}
	switch {
	case open.Go && closed.Go:
		fate.Verdict = FatePass
	case open.Go:
		fate.Verdict = FateReply
	case closed.Verdict == policy.Unsure:
		fate.Verdict = FateUnsure
	}
	return fate
}

// otherCustomers are samples of the customers that rules with percent tell apart.
const otherCustomers = 8

// ordinaryCalls are sample calls as bots make them every day: the first is the most usual one, the
// others differ from it in what the operator's rules look at.
func (g *Gate) ordinaryCalls(corp string, e *wecom.Endpoint) []wecom.Facts {
	named := sampleCalls(e, sampleCustomer, nil)[0]
	all := []wecom.Facts{named}
	with := func(customer, msgtype string) {
		f := named
		if customer != "" && e.NamesCustomers() {
			f.Customers = []string{customer}
		}
		if msgtype != "" && e.SaysMsgType() {
			f.MsgType, f.Also = msgtype, ""
		}
		all = append(all, e.Plausible(f))
	}
	for i, rule := range g.Engine.OwnRules() {
		if !rule.CanMatch(e) {
			continue
		}
		for _, m := range g.Config.Policy.Rules[i].Match.MsgTypes {
			with("", m.Text)
		}
		if customer := rule.SampleCustomer(corp); customer != sampleCustomer {
			with(customer, "")
		}
	}
	if g.Engine.UsesPercent() {
		for i := range otherCustomers {
			with("wm"+strconv.Itoa(i+1), "")
		}
	}
	return all
}

// RuleSetAt returns the name of the rule set that is in force at an instant.
func (g *Gate) RuleSetAt(at time.Time) string {
	name := g.Config.Policy.Ruleset
	for i, d := range g.Config.Policy.Rulesets {
		if i == 0 || !at.Before(d.From) {
			name = d.Ruleset.Text
		}
	}
	return name
}
