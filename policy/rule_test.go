package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"replygate/policy"
)

func TestMistakesInRules(t *testing.T) {
	for rule, want := range map[string]string{
		`{ name: a, match: { capabilities: [mass_mesage] }, action: pass }`:                  `test.yaml:5:42: there is no capability "mass_mesage": did you mean mass_message?`,
		`{ name: a, match: { standings: [lapsd] }, action: pass }`:                           `did you mean lapsed?`,
		`{ name: a, match: { accounts: [WW1] }, action: pass }`:                              `there is no account "WW1"`,
		`{ name: a, match: { entities: [acne] }, action: pass }`:                             `did you mean acme?`,
		`{ name: a, match: { endpoints: [/cgi-bin/kf/send_mesg] }, action: pass }`:           `did you mean /cgi-bin/kf/send_msg?`,
		`{ name: a, action: allow }`:                                                         `action cannot be "allow"`,
		`{ name: a }`:                                                                        `rule a has no action`,
		`{ action: pass }`:                                                                   `a rule has no name`,
		`{ name: a, action: pass, refusal: { errcode: 48002 } }`:                             `a rule that passes has a refusal`,
		`{ name: a, action: refuse, refusal: { errcode: 42001 } }`:                           `refusal.errcode cannot be 42001`,
		`{ name: a, action: refuse, refusal: { errmsg: no } }`:                               `refusal.errcode is missing`,
		`{ name: a, action: pass, from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z }`: `the rule ends before it begins`,
		"{ name: a, action: pass }\n    - { name: a, action: pass }":                         `two rules are called a: the other is in line 5`,
		`{ name: a, match: { clients: [mobile] }, action: pass }`:                            `there is no client "mobile": known are unknown`,
		`{ name: a, match: { standings: [paid] }, action: pass }`:                            `there is no standing "paid": known are active, grace, lapsed, free, full`,
		`{ name: a, match: { endpoints: [/nothing/like/it] }, action: pass }`:                `there is no endpoint "/nothing/like/it": write one as the catalogue has it`,
		`{ name: a, match: { endpoints: ["/cgi-bin/kf/send?*"] }, action: pass }`:            `no endpoint matches "/cgi-bin/kf/send?*": write * for one name between slashes`,
		`{ name: a, action: pass, from: 2026-01-01T00:00:00Z, until: 2026-01-01T00:00:00Z }`: `until must be later than from`,
		`{ name: a, action: pass, partial: refuse }`:                                         `partial has no effect on a rule that does not reply`,
		`{ name: a, action: reply, mode: shadwo }`:                                           `mode cannot be "shadwo": did you mean shadow?`,
		`{ name: a, action: pass, when: " " }`:                                               `when is empty`,
	} {
		if _, err := engine(t, "", "    - "+rule+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}

// An errcode on which SDKs refresh tokens or send again cannot be the answer of a refusal.
func TestForbiddenErrcodes(t *testing.T) {
	for code, allowed := range map[int]bool{
		-1: false, 40001: false, 40014: false, 42001: false, 42007: false, 42009: false, 45009: false, 45033: false, 95018: false,
		48002: true, 48006: true, 95001: true, 95002: true, 60011: true, 990400: true,
	} {
		_, err := engine(t, "", fmt.Sprintf("    - { name: a, action: refuse, refusal: { errcode: %d } }\n", code))
		if allowed && err != nil || !allowed && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("refusal.errcode cannot be %d: SDKs", code))) {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// partial: trim is only for endpoints whose answer can report the recipients that were removed.
func TestTrimmableEndpoints(t *testing.T) {
	for match, want := range map[string]string{
		"endpoints: [/cgi-bin/externalcontact/add_msg_template]": "",
		"capabilities: [kf_reply]":                               "", // one recipient: there is nothing to trim
		"capabilities: [mass_message]":                           "",
		"capabilities: [customer_details]":                       "cannot report whom it did not reach: name endpoints that can: /cgi-bin/crm/add_msg_template, ",
	} {
		_, err := engine(t, "", "    - { name: a, match: { "+match+" }, action: reply, partial: trim }\n")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", match, err)
		}
	}
}

func TestBuiltInRuleSets(t *testing.T) {
	if names := policy.RuleSets(); !slices.Equal(names, []string{"grandfathered-2023", "off", "reply-only-2024"}) {
		t.Errorf("%v", names)
	}
	for name, want := range map[string]string{"offf": "did you mean off?", "../rule": `there is no rule set "../rule"`, "": `there is no rule set ""`} {
		if _, err := policy.RuleSet(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
