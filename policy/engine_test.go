package policy_test

import (
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
)

// Every capability is in exactly one rule of reply-only-2024 after the first, which is for good standing.
func TestRuleSetNamesEveryCapabilityOnce(t *testing.T) {
	data, err := policy.RuleSet("reply-only-2024")
	if err != nil {
		t.Fatal(err)
	}
	set, err := config.ParseRuleSet("reply-only-2024.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	rules := set.Rules
	named := map[string]int{}
	for _, r := range rules[1:] {
		if len(r.Match.Capabilities) == 0 || len(r.Match.Standings) != 0 {
			t.Errorf("rule %s is not about capabilities alone", r.Name.Text)
		}
		for _, c := range r.Match.Capabilities {
			named[c.Text]++
		}
	}
	for _, c := range wecom.Capabilities() {
		if named[string(c)] != 1 {
			t.Errorf("%s is in %d rules", c, named[string(c)])
		}
	}
}

func TestEveryRuleSetCompiles(t *testing.T) {
	for _, name := range policy.RuleSets() {
		must(t, "ruleset: "+name, "")
	}
	_, err := engine(t, "ruleset: reply-only-2042", "")
	if err == nil || !strings.Contains(err.Error(), "test.yaml:4:12") || !strings.Contains(err.Error(), "did you mean reply-only-2024?") {
		t.Errorf("an unknown rule set: %v", err)
	}
}

func TestRuleSetOff(t *testing.T) {
	e := must(t, "ruleset: off", "")
	for _, ep := range wecom.Endpoints() {
		if !e.AlwaysPasses(ep) || e.Inspections(lapsed, ep, now).Overall != policy.InspectNone {
			t.Errorf("%s is judged", ep.Path)
		}
	}
}

// A rule set applies from its instant on.
func TestDatedRuleSets(t *testing.T) {
	e := must(t, "ruleset: [{ ruleset: grandfathered-2023 }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00+08:00 }, { ruleset: off, from: 2027-01-01T00:00:00+08:00 }]", "")
	change := time.Date(2026, 11, 30, 16, 0, 0, 0, time.UTC)
	details, adding := wecom.Lookup("/cgi-bin/externalcontact/get"), wecom.Lookup("/cgi-bin/externalcontact/add_contact_way")
	for _, test := range []struct {
		at              time.Time
		details, adding policy.Inspection
	}{
		{change.Add(-time.Nanosecond), policy.InspectNone, policy.InspectPath},
		{change, policy.InspectPath, policy.InspectPath},
		{change.AddDate(1, 0, 0), policy.InspectNone, policy.InspectNone},
	} {
		if d, a := e.Inspections(lapsed, details, test.at).Enforced, e.Inspections(lapsed, adding, test.at).Enforced; d != test.details || a != test.adding {
			t.Errorf("%s: details %d, adding %d", test.at, d, a)
		}
	}
	if e.AlwaysPasses(details) || e.AlwaysPasses(adding) {
		t.Error("free, though one of the rule sets refuses it")
	}
	for more, want := range map[string]string{
		"ruleset: [{ ruleset: off }, { ruleset: reply-only-2024 }]": "not in the order of their from",
		"ruleset: [{ ruleset: of, from: 2026-01-01T00:00:00Z }]":    "did you mean off?",
		"ruleset: [{ from: 2026-01-01T00:00:00Z }]":                 "there is no rule set",
		"ruleset: []": "empty list",
	} {
		if _, err := engine(t, more, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}
