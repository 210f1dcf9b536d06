package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
)

// What is legal and surely unmeant is found, and nothing else.
func TestLint(t *testing.T) {
	const head = "accounts: [{ corp_id: ww1, entity: acme, contacts: { total: 5 } }, { corp_id: ww2, entity: other }]\n"
	for _, test := range []struct{ text, want string }{
		{head, ""},
		{head + "policy: { rules: [{ name: r, match: { capabilities: [kf_reply], endpoints: [/cgi-bin/media/upload] }, action: pass }] }\n",
			"f:2:19: rule r can never match: none of its endpoints has one of its capabilities"},
		{head + "policy: { rules: [{ name: r, match: { accounts: [ww1], entities: [other] }, action: pass }] }\n",
			"f:2:19: rule r can never match: none of its accounts belongs to one of its entities"},
		{head + "policy: { rules: [{ name: r, until: 2026-11-01T00:00:00Z, action: pass }] }\n",
			"f:2:19: rule r can never match any more: it ended on 2026-11-01T00:00:00Z"},
		{head + "policy: { rules: [{ name: r, percent: 0, action: pass }] }\n", "f:2:19: rule r can never match: its percent is 0"},
		{head + "policy:\n  rules:\n    - { name: a, match: { capabilities: [kf_reply, media] }, action: pass }\n    - { name: b, match: { endpoints: [/cgi-bin/media/upload], standings: [lapsed] }, action: refuse }\n",
			"f:5:7: rule b can never match: rule a before it takes every call that it is about: put it before the rule in line 4"},
		{head + "policy:\n  rules:\n    - { name: a, match: { capabilities: [media], standings: [lapsed] }, action: pass }\n    - { name: b, match: { endpoints: [/cgi-bin/media/upload] }, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, match: { capabilities: [media] }, percent: 50, action: pass }\n    - { name: b, match: { capabilities: [media] }, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, match: { capabilities: [media] }, mode: shadow, action: pass }\n    - { name: b, match: { capabilities: [media] }, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, match: { capabilities: [media] }, until: 2030-01-01T00:00:00Z, action: pass }\n    - { name: b, match: { capabilities: [media] }, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: r, when: account.contacts < 10, action: pass }\n",
			"f:4:7: rule r asks for account.contacts, which 1 of its accounts do not tell"},
		{head + "policy:\n  rules:\n    - { name: r, match: { accounts: [ww1] }, when: account.contacts < 10, action: pass }\n", ""},
		{head + "policy:\n  rules:\n    - { name: r, when: account.contacts_known && account.contacts < 10, action: pass }\n", ""},
		{"accounts: [{ corp_id: ww1, subscription: { expires_at: 2016-10-01T00:00:00+08:00 } }]\n", "f:1:12: the subscription of ww1 ended on 2016-10-01, over a year ago: check the year"},
		{"accounts: [{ corp_id: ww1, contacts: { free: 100 } }]\n", "f:1:12: contacts of ww1 have no total"},
	} {
		c, err := config.Parse("f", []byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		book := account.NewBook(c.Accounts)
		e, err := policy.New("f", c, book)
		if err != nil {
			t.Fatal(err)
		}
		found := e.Lint("f", c, book, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
		if got := fmt.Sprint(found.Err()); test.want == "" && len(found) > 0 || test.want != "" && (len(found) != 1 || !strings.HasPrefix(got, test.want)) {
			t.Errorf("%sgot %s, want %s", test.text, got, test.want)
		}
	}
}
