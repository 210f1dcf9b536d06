package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Every capability is in exactly one rule of reply-only-2024 after the first two, which are for
// good standing.
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
	for _, r := range rules[2:] {
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
		"ruleset: [{ ruleset: offf, from: 2026-01-01T00:00:00Z }]":  "did you mean off?",
		"ruleset: [{ from: 2026-01-01T00:00:00Z }]":                 "there is no rule set",
		"ruleset: []": "empty list",
	} {
		if _, err := engine(t, more, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// Every rule set opens windows by messages of customers, and by nothing else.
func TestOpensWindow(t *testing.T) {
	for _, name := range policy.RuleSets() {
		e := must(t, "ruleset: "+name, "")
		for _, kind := range wecom.MessageKinds() {
			if !e.OpensWindow(kind, now) {
				t.Errorf("%s: %s opens no window", name, kind)
			}
		}
		for _, kind := range []string{"", "enter_session", "KF_MESSAGE", "change_external_contact.add_external_contact"} {
			if e.OpensWindow(kind, now) {
				t.Errorf("%s: %q opens a window", name, kind)
			}
		}
	}
}

// In every rule set an account in good standing passes unread, and each call of any account is
// decided.
func TestRuleSetsAreComplete(t *testing.T) {
	endpoints := wecom.Endpoints()
	for _, name := range policy.RuleSets() {
		e := must(t, "ruleset: "+name, "")
		for _, ep := range endpoints {
			for _, s := range account.Standings() {
				who := policy.Subject{CorpID: "ww1", Standing: s}
				adds := s == account.Full && slices.ContainsFunc(append(ep.Also(), ep.Capability), adding)
				if s != account.Lapsed && !adds && e.Inspections(who, ep, now).Overall != policy.InspectNone {
					t.Errorf("%s: %s reads %s", name, s, ep.Path)
				}
				for _, also := range append(ep.Also(), "") {
					if m := e.Match(policy.Call{Who: who, Endpoint: ep, Facts: wecom.Facts{Also: also}, At: now}); m.Rule == nil || m.Err != nil {
						t.Errorf("%s: %s has no rule for %s %s", name, s, ep.Path, also)
					}
				}
			}
		}
	}
}

// Mistakes of several rules are reported together, each at its place.
func TestMistakesAreJoined(t *testing.T) {
	_, err := engine(t, "ruleset: of", "    - { name: a, action: allow }\n    - { name: b, percent: -1, action: pass }\n")
	for _, want := range []string{`test.yaml:4:12: there is no rule set "of"`, `test.yaml:6:26: action cannot be "allow"`, "test.yaml:7:7: percent cannot be -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// An engine is used by many calls at once.
func TestConcurrentUse(t *testing.T) {
	e := must(t, "", "    - { name: r, match: { accounts: [ww1], capabilities: [kf_reply] }, when: window.open, percent: 50, action: pass }\n")
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 200 {
				c := call(send, wecom.Facts{Customers: []string{fmt.Sprintf("wm%d", i)}})
				c.Windows = []window.Answer{{State: window.Open, Last: now}}
				e.Inspections(c.Who, c.Endpoint, now)
				if d := decide(e, c, c.Windows...); !d.Go {
					t.Errorf("worker %d: %+v", worker, d)
				}
			}
		})
	}
	all.Wait()
}
