package policy_test

import (
	"slices"
	"testing"
	"time"
	"unicode"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
	"replygate/wecom"
)

// Every capability has a meaning in both languages, and every one that a shipped rule set refuses
// to a lapsed account has an advice of its own.
func TestMeaningsAndAdvices(t *testing.T) {
	c, err := config.Parse("advice.yaml", []byte("accounts: [{ corp_id: ww1 }]"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policy.New("advice.yaml", c, account.NewBook(c.Accounts))
	if err != nil {
		t.Fatal(err)
	}
	refused := map[wecom.Capability]bool{}
	for _, e := range wecom.Endpoints() {
		call := policy.Call{Who: policy.Subject{Standing: account.Lapsed}, Endpoint: e, Facts: e.Bare(), At: time.Unix(1e9, 0)}
		if m := engine.Match(call); m.Rule.Action == policy.ActionRefuse {
			refused[e.Capability] = true
		}
	}
	if len(refused) < 12 {
		t.Errorf("only %d capabilities are refused", len(refused))
	}
	han := func(s string) bool {
		return slices.ContainsFunc([]rune(s), func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	for _, capability := range wecom.Capabilities() {
		en, zh := policy.Meaning(capability, false), policy.Meaning(capability, true)
		if en == string(capability) || han(en) || !han(zh) {
			t.Errorf("%s means %q, %q", capability, en, zh)
		}
		en, zh = policy.AdviceRefused(capability, "some-rule", false), policy.AdviceRefused(capability, "some-rule", true)
		if han(en) || !han(zh) {
			t.Errorf("%s: %q, %q", capability, en, zh)
		}
		if general := policy.AdviceRefused("none", "some-rule", false); refused[capability] == (en == general) && capability != wecom.UncataloguedCustomer {
			t.Errorf("%s is refused: %v; the advice is %q", capability, refused[capability], en)
		}
	}
}
