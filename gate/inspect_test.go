package gate_test

import (
	"testing"

	"replygate/account"
	"replygate/policy"
	"replygate/wecom"
)

// How a call is inspected depends on its endpoint, on the standing of its corp, and on what becomes
// of corps that the accounts do not list.
func TestInspect(t *testing.T) {
	t.Parallel()
	const (
		active = `accounts: [{ corp_id: ww1, name: shop }]`
		lapsed = `accounts: [{ corp_id: ww1, name: shop, subscription: { expires_at: 2026-01-01T00:00:00Z } }]`
		passes = lapsed + "\nunlisted_account: pass\n"
		off    = lapsed + "\npolicy: { ruleset: off }\n"
		shadow = lapsed + "\npolicy: { mode: shadow }\n"
		mass   = "/cgi-bin/externalcontact/add_msg_template"
		send   = "/cgi-bin/kf/send_msg"
		token  = "/cgi-bin/gettoken"
		odd    = "/cgi-bin/kf/../externalcontact/add_msg_template"
	)
	none, path, body := policy.InspectNone, policy.InspectPath, policy.InspectBody
	for _, test := range []struct {
		name, config, corp, path string
		enforced, overall        policy.Inspection
		listed, unlisted         bool
		standing                 account.Standing
	}{
		{"active", active, "ww1", mass, none, none, true, false, account.Active},
		{"lapsed, an interface", lapsed, "ww1", mass, path, path, true, false, account.Lapsed},
		{"lapsed, a reply", lapsed, "ww1", send, body, body, true, false, account.Lapsed},
		{"lapsed, a token", lapsed, "ww1", token, none, none, true, false, account.Lapsed},
		{"lapsed, an ambiguous path", lapsed, "ww1", odd, path, path, true, false, account.Lapsed},
		{"unlisted, an interface", lapsed, "ww2", mass, path, path, false, true, account.Lapsed},
		{"unlisted, a token", lapsed, "ww2", token, none, none, false, false, account.Lapsed},
		{"unlisted, but passes", passes, "ww2", mass, none, none, true, false, account.Active},
		{"no rules", off, "ww1", mass, none, none, true, false, account.Lapsed},
		{"shadow", shadow, "ww1", send, none, body, true, false, account.Lapsed},
	} {
		g := newGate(t, test.config)
		got := g.Inspect(wecom.ReadPath([]byte(test.path)), test.corp, "a bot", now)
		if got.Enforced != test.enforced || got.Overall != test.overall || got.Listed != test.listed || got.Unlisted() != test.unlisted {
			t.Errorf("%s: %+v; unlisted: %v", test.name, got, got.Unlisted())
		}
		if got.Who.CorpID != test.corp || got.Who.Client != "a bot" || got.Who.Standing != test.standing || (got.Who.Account != nil) != (test.corp == "ww1") {
			t.Errorf("%s: it is made by %+v", test.name, got.Who)
		}
		if g.AlwaysPasses(wecom.ReadPath([]byte(test.path))) && got.Overall != none {
			t.Errorf("%s: it always passes, and is inspected", test.name)
		}
	}
}
