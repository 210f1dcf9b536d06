package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/policy"
)

// Lint reports likely mistakes at their place, and nothing else.
func TestLint(t *testing.T) {
	const head = "accounts: [{ corp_id: ww1, entity: acme, contacts: { total: 5 } }, { corp_id: ww2, entity: other }]\n"
	for _, test := range []struct{ text, want string }{
		{head, ""},
		{head + "policy: { rules: [{ name: r, match: { capabilities: [kf_reply], endpoints: [/cgi-bin/media/upload] }, action: pass }] }\n",
			"f:2:19: rule r can never match: none of its endpoints has one of its capabilities"},
		{head + "policy: { rules: [{ name: r, match: { accounts: [ww1], entities: [other] }, action: pass }] }\n",
			"f:2:19: rule r can never match: none of its accounts belongs to one of its entities"},
		{head + "policy: { rules: [{ name: r, match: { capabilities: [token] }, action: refuse }] }\n",
			"f:2:19: rule r can never match: no rule applies to the calls that fetch tokens, nor to those of /cgi-bin/service/"},
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
			"f:4:7: rule r asks for account.contacts, which 1 of its accounts do not have"},
		{head + "policy:\n  rules:\n    - { name: r, match: { accounts: [ww1] }, when: account.contacts < 10, action: pass }\n", ""},
		{head + "policy:\n  rules:\n    - { name: r, when: account.contacts_known && account.contacts < 10, action: pass }\n", ""},
		{"accounts: [{ corp_id: ww1, subscription: { expires_at: 2016-10-01T00:00:00+08:00 } }]\n", "f:1:12: the subscription of ww1 ended on 2016-10-01, over a year ago: check the year"},
		{"accounts: [{ corp_id: ww1, contacts: { free: 100 } }]\n", "f:1:12: contacts of ww1 have no total"},
		{"accounts: [{ corp_id: ww1, contacts: { total: 5, purchased: 100 }, secrets: { contact: s } }]\n", ""},
		{"accounts: [{ corp_id: ww1, contacts: { purchased: 100 }, secrets: { contact: s } }]\n", ""}, // the gateway counts
		{"accounts: [{ corp_id: ww1, contacts: { total: 2000 } }]\n", ""},
		{"accounts: [{ corp_id: ww1, contacts: { total: 2001 } }]\n", "f:1:12: ww1 has 2001 contacts, more than the 2000 that are free, and no contacts.purchased, so it is never full"},
		{"accounts: [{ corp_id: ww1, contacts: { total: 2001, purchased: 5000 } }]\n", ""},
		{"accounts: [{ corp_id: ww1, subscription: none, contacts: { total: 2001 } }]\n", ""},
		{"accounts: [{ corp_id: ww1, subscription: none }]\n", "f:1:12: ww1 has no subscription, and its contacts are not known, so it is active"},
		{"accounts: [{ corp_id: ww1, subscription: none, contacts: { free: 100 } }]\n", "f:1:12: ww1 has no subscription, and its contacts are not known, so it is active"},
		{"accounts: [{ corp_id: ww1, subscription: none, secrets: { contact: s } }]\n", ""},
		{head + "meter: { every: 1h, warn: [50%] }\n", ""},           // bots' counts have the same age
		{head + "meter: { every: 6h, warn: [80%, 90%, 95%] }\n", ""}, // defaults
		{"accounts: [{ corp_id: ww1, contacts: { total: 1, counted_at: 2026-11-22T00:00:01Z } }]\n", "f:1:12: the contacts of ww1 were counted at 2026-11-22T00:00:01Z, which is in the future"},
		{"accounts: [{ corp_id: ww1, contacts: { total: 1, counted_at: 2026-11-22T00:00:00Z } }]\n", ""},
		{head + "policy: { rules: [{ name: r, match: { capabilities: [customer_details], msgtypes: [text] }, action: pass }] }\n",
			"f:2:19: rule r can never match: none of its calls has a msgtype"},
		{head + "policy: { rules: [{ name: r, match: { capabilities: [kf_reply], msgtypes: [text] }, action: pass }] }\n", ""},
		{head + "policy: { rules: [{ name: r, match: { capabilities: [kf_reply], msgtypes: [text, txt] }, action: pass }] }\n",
			"f:2:82: rule r is about the msgtype \"txt\", which WeCom does not document: did you mean text?"},
		{head + "policy: { rules: [{ name: r, when: 'call.msgtype == \"vidoe\"', action: pass }] }\n",
			"f:2:36: rule r is about the msgtype \"vidoe\", which WeCom does not document: did you mean video?"},
		{head + "policy: { rules: [{ name: r, when: 'call.msgtype in [\"video\", \"\"]', action: pass }] }\n", ""},
		{"accounts: [{ corp_id: ww1, entity: acme }, { corp_id: ww2, entity: Acme }, { corp_id: ww3 }]\n",
			"f:1:44: entity Acme of ww2 differs from entity acme only in letter case: write both alike"},
		{head + "redis: { addrs: [10.0.0.1:6379] }\n", "f:2:17: redis.addrs has no effect: redis.mode is embedded: set redis.mode"},
		{head + "redis: { addrs: [127.0.0.1:6379], master_name: \"\", tls: false, db: 0 }\n", ""}, // defaults
		{head + "redis: { username: u }\n", "f:2:20: redis.username has no effect"},
		{head + "redis: { password: secret }\n", "f:2:20: redis.password has no effect"},
		{head + "redis: { db: 2 }\n", "f:2:14: redis.db has no effect"},
		{head + "redis: { tls: true }\n", "f:2:15: redis.tls has no effect"},
		{head + "redis: { mode: single, master_name: m }\n", "f:2:37: redis.master_name has no effect: redis.mode is single"},
		{head + "redis: { mode: cluster, sentinel_username: u }\n", "f:2:44: redis.sentinel_username has no effect"},
		{head + "redis: { mode: single, sentinel_password: p }\n", "f:2:43: redis.sentinel_password has no effect"},
		{head + "redis: { mode: sentinel, master_name: m, sentinel_password: p, sentinel_username: u, username: a, password: b, tls: true }\n", ""},
		{head + "redis: { mode: single, listen: 127.0.0.1:6379 }\n", "f:2:32: redis.listen has no effect"},
		{head + "redis: { mode: single, snapshot: other }\n", "f:2:34: redis.snapshot has no effect"},
		{head + "listen: { callback: 127.0.0.1:8082 }\n", "f:2:21: listen.callback has no effect: there are no callbacks"},
		{head + "log: { ids_key: 0123456789abcdef }\n", "f:2:17: log.ids_key has no effect: log.ids is plain"},
		{head + "clients: [{ name: pc, header: User-Agent, contains: x }]\n", "f:2:10: clients has no effect: no rule asks what the caller is"},
		{head + "clients: [{ name: pc, header: User-Agent, contains: x }]\npolicy: { rules: [{ name: r, when: call.client == \"pc\", action: pass }] }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, match: { accounts: [ww1] }, action: pass }\n    - { name: b, match: { accounts: [ww1, ww2] }, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, match: { accounts: [ww1, ww2] }, action: pass }\n    - { name: b, match: { accounts: [ww2] }, action: refuse }\n", "f:5:7: rule b can never match: rule a before it"},
		{head + "policy:\n  rules:\n    - { name: a, match: { entities: [acme] }, action: pass }\n    - { name: b, match: { standings: [lapsed], entities: [acme] }, action: refuse }\n", "f:5:7: rule b can never match"},
		{head + "policy:\n  rules:\n    - { name: a, when: call.groups > 1, action: pass }\n    - { name: b, when: call.groups > 1, action: refuse }\n", "f:5:7: rule b can never match"},
		{head + "policy:\n  rules:\n    - { name: a, when: call.groups > 1, action: pass }\n    - { name: b, when: call.groups > 2, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, match: { msgtypes: [text] }, action: pass }\n    - { name: b, match: { msgtypes: [text, image] }, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, from: 2026-12-01T00:00:00Z, action: pass }\n    - { name: b, action: refuse }\n", ""},
		{head + "policy:\n  rules:\n    - { name: a, until: 2030-01-01T00:00:00Z, action: pass }\n    - { name: b, until: 2029-01-01T00:00:00Z, action: refuse }\n", "f:5:7: rule b can never match"},
		{head + "policy:\n  rules:\n    - { name: a, mode: shadow, action: pass }\n    - { name: b, mode: shadow, action: refuse }\n", "f:5:7: rule b can never match"},
		{head + "policy:\n  rules:\n    - { name: a, action: pass }\n    - { name: b, mode: shadow, action: refuse }\n", "f:5:7: rule b can never match"},
		{head + "policy: { rules: [{ name: r, until: 2026-11-22T00:00:01Z, action: pass }] }\n", ""},
		{"accounts: [{ corp_id: ww1, subscription: { expires_at: 2025-11-22T00:00:00Z } }]\n", ""}, // a year ago, not over
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
		var want []string // how each finding begins
		if test.want != "" {
			want = strings.Split(test.want, "\n")
		}
		if !slices.EqualFunc(found, want, func(m config.Mistake, begin string) bool { return strings.HasPrefix(m.Error(), begin) }) {
			t.Errorf("%sgot %v, want %s", test.text, found.Err(), test.want)
		}
	}
}
