package policy_test

import (
	"strings"
	"testing"
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
	} {
		if _, err := engine(t, "", "    - "+rule+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}
