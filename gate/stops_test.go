package gate_test

import (
	"slices"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/wecom"
)

// What stops at a lapse follows the rules in force then, also in shadow mode.
func TestStops(t *testing.T) {
	lapse := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	const account = "accounts: [{ corp_id: ww1, subscription: { expires_at: 2026-12-01T00:00:00Z } }]\n"
	for _, test := range []struct {
		name, policy string
		at           time.Time
		stops, goes  []wecom.Capability
	}{
		{"reply only", "", lapse, []wecom.Capability{"mass_message", "welcome", "add_customer", "customer_moments"}, []wecom.Capability{"kf_reply", "kf_event_reply"}},
		{"shadow", "policy: { mode: shadow }", lapse, []wecom.Capability{"mass_message", "welcome", "add_customer"}, []wecom.Capability{"kf_reply"}},
		{"off", "policy: { ruleset: off }", lapse, nil, []wecom.Capability{"mass_message", "add_customer"}},
		{"before the change", "policy: { ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-12-02T00:00:00Z }] }", lapse, nil, []wecom.Capability{"mass_message"}},
		{"after the change", "policy: { ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-12-02T00:00:00Z }] }", lapse.AddDate(0, 0, 1), []wecom.Capability{"mass_message"}, nil},
		{"2023", "policy: { ruleset: grandfathered-2023 }", lapse, []wecom.Capability{"add_customer"}, []wecom.Capability{"mass_message", "kf_reply"}},
		{"a rule that passes", "policy: { rules: [{ name: moments, match: { capabilities: [customer_moments] }, action: pass }] }", lapse, []wecom.Capability{"mass_message"}, []wecom.Capability{"customer_moments"}},
		{"a rule that refuses to all", "policy: { rules: [{ name: none, match: { capabilities: [customer_moments] }, action: refuse }] }", lapse, []wecom.Capability{"mass_message"}, []wecom.Capability{"customer_moments"}},
	} {
		c, err := config.Parse("f", []byte(account+test.policy))
		if err != nil {
			t.Fatal(test.name, err)
		}
		g, err := gate.New("f", c)
		if err != nil {
			t.Fatal(test.name, err)
		}
		stops := gate.NewStops(&g)
		for range 2 { // the second time from memory
			got := stops.Of(g.Accounts.Find("ww1"), test.at)
			for _, c := range test.stops {
				if !slices.Contains(got, c) {
					t.Errorf("%s: %s does not stop: %v", test.name, c, got)
				}
			}
			for _, c := range test.goes {
				if slices.Contains(got, c) {
					t.Errorf("%s: %s stops: %v", test.name, c, got)
				}
			}
		}
	}
}

func BenchmarkStops(b *testing.B) {
	c, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1, subscription: { expires_at: 2026-12-01T00:00:00Z } }]\n"))
	if err != nil {
		b.Fatal(err)
	}
	g, err := gate.New("f", c)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		gate.NewStops(&g).Of(g.Accounts.Find("ww1"), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	}
}
