package policy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/policy"
)

// covering is a configuration with a rule for each way of being counted.
const covering = `accounts:
  - { corp_id: wwLapsed, entity: acme, subscription: { expires_at: 2020-01-01T00:00:00Z } }
  - { corp_id: wwActive, entity: acme }
policy:
  ruleset:
    - { ruleset: reply-only-2024 }
    - { from: 2027-01-01T00:00:00Z, ruleset: grandfathered-2023 }
  rules:
    - { name: tags-pass, match: { capabilities: [customer_tags] }, action: pass }
    - { name: tags-again, match: { capabilities: [customer_tags], accounts: [wwLapsed] }, action: refuse }
    - { name: groups-in-shadow, mode: shadow, match: { capabilities: [group_management] }, action: pass }
    - { name: later, match: { capabilities: [customer_moments] }, from: 2028-01-01T00:00:00Z, action: pass }
`

func coverageOf(t *testing.T, g *gate.Gate, now time.Time) map[string]policy.Coverage {
	t.Helper()
	all := map[string]policy.Coverage{}
	for _, c := range g.Engine.Coverage(now) {
		all[c.From+"/"+c.Name] = c
	}
	return all
}

// Each rule counts the calls that it matched, decided, and would have decided otherwise.
func TestCoverage(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	for _, mode := range []string{"enforce", "shadow"} {
		c, err := config.Parse("own.yaml", []byte(strings.Replace(covering, "policy:\n", "policy:\n  mode: "+mode+"\n", 1)))
		if err != nil {
			t.Fatal(err)
		}
		g, err := gate.New("own.yaml", c)
		if err != nil {
			t.Fatal(err)
		}
		judge := func(corp, path string, at time.Time) {
			in := gate.Call{Corp: corp, Path: []byte(path), Body: []byte(`{}`), At: at}
			j, h, judged := g.Judge(context.Background(), in, nil)
			if judged {
				g.Count(&j, at)
				return
			}
			g.Inspect(h.Route, corp, "", at).By.CountUnread(at)
		}
		judge("wwLapsed", "/cgi-bin/externalcontact/edit_corp_tag", now)
		judge("wwLapsed", "/cgi-bin/externalcontact/opengid_to_chatid", now)
		judge("wwLapsed", "/cgi-bin/externalcontact/opengid_to_chatid", now.Add(time.Minute))
		judge("wwActive", "/cgi-bin/externalcontact/opengid_to_chatid", now)
		judge("wwLapsed", "/cgi-bin/externalcontact/add_moment_task", now)
		all := coverageOf(t, &g, now)
		wants := map[string]string{
			"own/tags-pass":                          "own.yaml:10 pass holds 1 1 0 0 ",
			"own/tags-again":                         "own.yaml:11 refuse holds 0 0 0 0 tags-pass",
			"own/groups-in-shadow":                   "own.yaml:12 pass holds 2 0 0 2 ",
			"own/later":                              "own.yaml:13 pass not 0 0 0 0 ",
			"reply-only-2024/in-good-standing":       "rulesets/reply-only-2024.yaml:32 pass holds 1 1 0 0 ",
			"reply-only-2024/no-group-management":    "* refuse holds 2 2 0 0 ",
			"reply-only-2024/no-moments":             "* refuse holds 1 1 0 0 ",
			"grandfathered-2023/in-good-standing":    "* pass not 0 0 0 0 ",
			"reply-only-2024/full-adds-no-customers": "* refuse holds 0 0 0 0 ",
		}
		if mode == "shadow" {
			wants["own/tags-pass"] = "own.yaml:10 pass holds 1 1 0 0 "
			wants["own/groups-in-shadow"] = "own.yaml:12 pass holds 0 0 0 0 "
			wants["reply-only-2024/no-group-management"] = "* refuse holds 2 0 2 0 "
			wants["reply-only-2024/no-moments"] = "* refuse holds 1 0 1 0 "
		}
		for key, want := range wants {
			c, found := all[key]
			holds := map[bool]string{true: "holds", false: "not"}[c.Holds]
			got := fmt.Sprintf("%s %s %s %d %d %d %d %s", c.At, c.Action, holds, c.Matched, c.Decided, c.WouldRefuse, c.WouldPass, c.HiddenBy)
			if strings.HasPrefix(want, "* ") {
				_, got, _ = strings.Cut(got, " ")
				want = want[2:]
			}
			if !found || got != want {
				t.Errorf("%s: %s: %q, want %q", mode, key, got, want)
			}
			if (c.Matched > 0) == c.Last.IsZero() {
				t.Errorf("%s: %s: matched %d, last %s", mode, key, c.Matched, c.Last)
			}
		}
		if first := g.Engine.Coverage(now)[0]; first.Name != "tags-pass" {
			t.Errorf("%s is tried first", first.Name)
		}
		if sets := g.Engine.RuleSetsFrom(now); len(sets) != 2 || sets[0].Name != "reply-only-2024" || sets[1].Name != "grandfathered-2023" {
			t.Errorf("%+v", sets)
		}
		if all := coverageOf(t, &g, now.AddDate(1, 0, 0)); !all["grandfathered-2023/in-good-standing"].Holds || len(all["reply-only-2024/no-moments"].Name) > 0 {
			t.Errorf("a year later: %+v", all)
		}
	}
}
