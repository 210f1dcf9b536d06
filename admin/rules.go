package admin

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"replygate/policy"
	"replygate/record"
)

// RuleList is the answer of GET /v1/rules: the rules in the order in which they are tried, with
// what this gateway counted since its configuration is in force.
type RuleList struct {
	Since   string       `json:"since"`   // when the configuration in force was put in force
	Gateway string       `json:"gateway"` // whose counts these are
	Mode    string       `json:"mode"`    // policy.mode
	Ruleset string       `json:"ruleset"` // that holds now
	Next    *NextRuleset `json:"next_ruleset,omitempty"`
	Rules   []RuleRow    `json:"rules"`
	AsOf    string       `json:"as_of"`
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
	values, err := checkedValues(r, "corp_id")
	if err != nil {
		failQuery(w, err)
		return
	}
	list := a.ruleList()
	if corp := values.Get("corp_id"); corp != "" {
		acc := a.Gateway.Gate().Accounts.Find(corp)
		if acc == nil {
			failNoAccount(w)
			return
		}
		names := a.Gateway.Gate().Engine.Naming(acc.CorpID, acc.Entity)
		list.Rules = slices.DeleteFunc(list.Rules, func(row RuleRow) bool { return row.From != policy.OwnRule || !slices.Contains(names, row.Name) })
	}
	if !unchanged(w, r, list.Since, list.Ruleset, list.Next, list.Rules) {
		reply(w, http.StatusOK, list)
	}
}

func (a *Admin) ruleList() RuleList {
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
			row.Examples, row.Shadow = s.examples, &RuleShadow{topFacets(s.corps, maxFacets), topFacets(s.endpoints, maxFacets)}
		}
		list.Rules = append(list.Rules, row)
	}
	return list
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
