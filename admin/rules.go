package admin

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"replygate/policy"
	"replygate/record"
)

// RuleList is the answer of GET /v1/rules: the rules in the order in which they are tried, with
// what all gateways counted since their configurations are in force.
type RuleList struct {
	Since   string       `json:"since"`   // when the configuration was put in force, where that was latest
	Gateway string       `json:"gateway"` // which one answers
	Mode    string       `json:"mode"`    // policy.mode
	Ruleset string       `json:"ruleset"` // that holds now
	Next    *NextRuleset `json:"next_ruleset,omitempty"`
	Rules   []RuleRow    `json:"rules"`
	AsOf    string       `json:"as_of"`
	Partial []Missing    `json:"partial,omitempty"` // gateways whose counts are missing
}

// NextRuleset is the rule set that holds from a later instant on.
type NextRuleset struct {
	Ruleset string `json:"ruleset"`
	From    string `json:"from"`
}

// RuleRow is one rule.
type RuleRow struct {
	Name     string `json:"name"`
	From     string `json:"from"` // its rule set, or own
	At       string `json:"at"`   // FILE:LINE
	Mode     string `json:"mode"` // enforce or shadow
	Action   string `json:"action"`
	Holds    bool   `json:"holds"` // it is in force now
	Begins   string `json:"begins,omitempty"`
	Ends     string `json:"ends,omitempty"`
	Matched  int64  `json:"matched"` // calls, with those that it passed unread
	Decided  int64  `json:"decided"` // of these
	Differs  int64  `json:"differs"` // calls that would end otherwise if it were enforced
	Refuses  int64  `json:"would_refuse"`
	Passes   int64  `json:"would_pass"`
	Last     string `json:"last,omitempty"` // the newest match; absent: never
	HiddenBy string `json:"hidden_by"`      // a rule before it takes every call that it is about

	Examples []string    `json:"examples,omitempty"` // ids of decisions that would differ, the newest first
	Shadow   *RuleShadow `json:"shadow,omitempty"`
}

// RuleShadow counts the decisions in memory that would end otherwise.
type RuleShadow struct {
	CorpID   []Facet `json:"corp_id"`
	Endpoint []Facet `json:"endpoint"`
}

const maxShadowExamples = 5

// rules answers GET /v1/rules; with corp_id only the rules that name the account or its entity.
func (a *Admin) rules(w http.ResponseWriter, r *http.Request) {
	values, err := checkedValues(r, "corp_id", fromPeer)
	if err != nil {
		failQuery(w, err)
		return
	}
	peer, err := isPeer(values)
	if err != nil {
		failQuery(w, err)
		return
	}
	facets := maxPeerFacets
	if !peer {
		facets = maxFacets
	}
	list := a.ruleList(facets)
	if !peer {
		a.addRuleCounts(r.Context(), &list)
	}
	if corp := values.Get("corp_id"); corp != "" {
		acc := a.Gateway.Gate().Accounts.Find(corp)
		if acc == nil {
			failNoAccount(w)
			return
		}
		names := a.Gateway.Gate().Engine.Naming(acc.CorpID, acc.Entity)
		list.Rules = slices.DeleteFunc(list.Rules, func(row RuleRow) bool { return row.From != policy.OwnRule || !slices.Contains(names, row.Name) })
	}
	if !unchanged(w, r, list.Since, list.Ruleset, list.Next, list.Rules, list.Partial) {
		reply(w, http.StatusOK, list)
	}
}

// ruleList lists the rules with what this gateway counted, and so many facets.
func (a *Admin) ruleList(facets int) RuleList {
	g, since := a.Gateway.GateSince()
	now := a.Now()
	list := RuleList{
		Since: stamp(since), Gateway: a.Gateway.Address(), Mode: g.Config.Policy.Mode, AsOf: stamp(now),
		Rules: []RuleRow{},
	}
	sets := g.Engine.RuleSetsFrom(now)
	if list.Ruleset = sets[0].Name; len(sets) > 1 {
		list.Next = &NextRuleset{sets[1].Name, stamp(sets[1].From)}
	}
	coverage := g.Engine.Coverage(now)
	var shadows map[string]*shadowResult
	if slices.ContainsFunc(coverage, func(c policy.Coverage) bool { return c.Shadow }) { // else every record would be read for nothing
		lines, _ := a.Gateway.NewestDecisions()
		shadows = shadowResults(lines, since)
	}
	for _, c := range coverage {
		row := ruleRow(c)
		if s := shadows[c.Name]; s != nil && c.Shadow {
			row.Examples, row.Shadow = s.examples, &RuleShadow{topFacets(s.corps, facets), topFacets(s.endpoints, facets)}
		}
		list.Rules = append(list.Rules, row)
	}
	return list
}

// addRuleCounts adds what the other gateways counted for the same rules.
func (a *Admin) addRuleCounts(ctx context.Context, list *RuleList) {
	if len(a.Keys.Peers) == 0 {
		return
	}
	answers := a.ruled.get(ctx, numbersFresh, numbersStale, func(ctx context.Context) []peerAnswer[RuleList] {
		return askPeers[RuleList](ctx, a, "/v1/rules", url.Values{})
	})
	list.Partial = unanswered(answers)
	for _, p := range answers {
		if p.err != nil {
			continue
		}
		list.Since = max(list.Since, p.value.Since)
		for i := range list.Rules {
			row := &list.Rules[i]
			if of := slices.IndexFunc(p.value.Rules, row.same); of >= 0 {
				row.add(p.value.Rules[of])
			}
		}
	}
}

// same reports whether a row of another gateway is that of the same rule.
func (r *RuleRow) same(o RuleRow) bool {
	return r.Name == o.Name && r.From == o.From && r.Mode == o.Mode && r.Action == o.Action
}

// add adds what another gateway counted.
func (r *RuleRow) add(o RuleRow) {
	r.Matched, r.Decided, r.Differs = r.Matched+o.Matched, r.Decided+o.Decided, r.Differs+o.Differs
	r.Refuses, r.Passes, r.Last = r.Refuses+o.Refuses, r.Passes+o.Passes, max(r.Last, o.Last)
	r.Examples = slices.Concat(r.Examples, o.Examples)
	slices.SortFunc(r.Examples, func(x, y string) int { return cmp.Compare(y, x) }) // ids begin with the time
	r.Examples = r.Examples[:min(len(r.Examples), maxShadowExamples)]
	switch {
	case r.Shadow == nil:
		r.Shadow = o.Shadow
	case o.Shadow != nil:
		r.Shadow = &RuleShadow{addFacets(maxFacets, r.Shadow.CorpID, o.Shadow.CorpID), addFacets(maxFacets, r.Shadow.Endpoint, o.Shadow.Endpoint)}
	}
}

func ruleRow(c policy.Coverage) RuleRow {
	row := RuleRow{
		Name: c.Name, From: c.From, At: c.At, Mode: "enforce", Action: c.Action, Holds: c.Holds,
		Begins: Stamp(c.Begins), Ends: Stamp(c.Ends), Matched: c.Matched, Decided: c.Decided,
		Differs: c.WouldRefuse + c.WouldPass, Refuses: c.WouldRefuse, Passes: c.WouldPass, Last: Stamp(c.Last), HiddenBy: c.HiddenBy,
	}
	if c.Shadow {
		row.Mode = "shadow"
	}
	return row
}

// shadowResult collects the decisions that a rule in shadow would change.
type shadowResult struct {
	corps, endpoints map[string]*int
	examples         []string // ids
}

// ShadowExamples returns by rule the ids of decisions that a rule in shadow would change, the
// newest first, from decision records that are not earlier than since.
func ShadowExamples(lines [][]byte, since time.Time) map[string][]string {
	all := map[string][]string{}
	for name, s := range shadowResults(lines, since) {
		all[name] = s.examples
	}
	return all
}

// shadowResults collects them by rule from decision records that are not earlier than since.
func shadowResults(lines [][]byte, since time.Time) map[string]*shadowResult {
	all, from := map[string]*shadowResult{}, stamp(since)
	for _, line := range slices.Backward(lines) {
		at := bytes.Index(line, shadowStart)
		if at < 0 || record.Time(line) < from {
			continue
		}
		would := line[at:]
		goes := record.Member(line, "forwarded") == "true"
		if passes := record.Member(would, "verdict") == "pass"; passes == goes {
			continue
		}
		name := record.Member(would, "rule")
		s := all[name]
		if s == nil {
			s = &shadowResult{corps: map[string]*int{}, endpoints: map[string]*int{}}
			all[name] = s
		}
		countIn(s.corps, record.Raw(line, "corp_id"))
		countIn(s.endpoints, record.Raw(line, "endpoint"))
		if len(s.examples) < maxShadowExamples {
			s.examples = append(s.examples, record.Member(line, "id"))
		}
	}
	return all
}
