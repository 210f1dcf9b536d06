package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"replygate/config"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	const acme = "accounts: [{ corp_id: ww1, name: Acme, hosts: [a, b], contacts: { total: 5 } }]\n"
	const rules = oneAccount + "policy: { rules: [{ name: a, action: refuse }] }\n"
	const callback = oneAccount + "callbacks: [{ path: /a, token: t, encoding_aes_key: KEY, receive_ids: [ww1] }]\n"
	for _, c := range []struct{ a, b, want string }{
		{oneAccount, oneAccount, "[]"},
		{oneAccount, "# another place\n\n" + oneAccount, "[]"},
		{oneAccount, "accounts:\n  - corp_id: ww1\n", "[]"},
		{oneAccount, oneAccount + "log: { level: info }\n", "[]"}, // the default
		{oneAccount, oneAccount + "log: { level: warn }\nlisten: { api: ':80' }\n", "[listen.api log.level]"},
		{oneAccount, oneAccount + "window: { length: 2880m }\n", "[]"},
		{oneAccount, oneAccount + "journal: { max_bytes: 262144KB }\n", "[]"},
		{oneAccount + "redis: { password: a }\n", oneAccount + "redis: { password: b }\n", "[redis.password]"},
		{oneAccount, oneAccount + "redis: { addrs: ['127.0.0.1:6379'] }\n", "[]"},
		{oneAccount, oneAccount + "redis: { addrs: ['127.0.0.1:6379', 'b:1'] }\n", "[redis.addrs]"},
		{acme, acme, "[]"},
		{acme, strings.Replace(acme, "Acme", "Acme2", 1), "[accounts]"},
		{acme, strings.Replace(acme, "[a, b]", "[b, a]", 1), "[accounts]"},
		{acme, strings.Replace(acme, "total: 5", "total: 6", 1), "[accounts]"},
		{acme, strings.Replace(acme, "total: 5", "total: 0", 1), "[accounts]"},
		{acme, strings.Replace(acme, " total: 5 ", "", 1), "[accounts]"},
		{acme, strings.Replace(acme, ", contacts: { total: 5 }", "", 1), "[accounts]"},
		{acme, strings.Replace(acme, "total: 5", "total: 5, free: 2000", 1), "[]"},
		{rules, oneAccount, "[policy.rules]"},
		{rules, strings.Replace(rules, "refuse", "pass", 1), "[policy.rules]"},
		{rules, strings.Replace(rules, "refuse", "refuse, percent: 0", 1), "[policy.rules]"},
		{rules, strings.Replace(rules, "{ name: a, action: refuse }", "{ action: refuse,  name: a }", 1), "[]"},
		{oneAccount, oneAccount + "policy: { ruleset: [{ ruleset: off }] }\n", "[policy.ruleset]"},
		{oneAccount + "policy: { ruleset: off }\n", oneAccount + "policy: { ruleset: [{ ruleset: off }] }\n", "[policy.ruleset]"},
		{oneAccount, callback, "[callbacks]"},
		{callback, strings.Replace(callback, "token: t", "token: u", 1), "[callbacks]"},
		{callback, callback + "unknown_token: ww1\nclients: [{ name: a, networks: [10.0.0.0/8] }]\n", "[unknown_token clients]"},
	} {
		a, errA := config.Parse("a", []byte(expand(c.a)))
		b, errB := config.Parse("b", []byte(expand(c.b)))
		if errA != nil || errB != nil {
			t.Errorf("%v, %v", errA, errB)
			continue
		}
		there, back := a.Changes(b), b.Changes(a)
		if fmt.Sprint(there) != c.want || !reflect.DeepEqual(there, back) || there == nil {
			t.Errorf("%s\n%s\n got %v, back %v\nwant %s", c.a, c.b, there, back, c.want)
		}
	}
}

func TestNeedsRestart(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		"":                         "",
		"listen.api":               "listen.api",
		"listen.tls.cert_file":     "listen.tls.cert_file",
		"admin.read_key":           "admin.read_key",
		"upstream.url redis.db":    "upstream.url redis.db",
		"journal.path window":      "journal.path window",
		"log.ids shutdown.grace":   "log.ids shutdown.grace",
		"limits.streamed_body":     "limits.streamed_body",
		"limits.judged_body":       "",
		"limits.read_answer":       "",
		"accounts accounts_file":   "",
		"callbacks clients":        "",
		"policy.rules":             "",
		"unknown_token log.format": "log.format",
		"traces.sample":            "traces.sample",
		"log.level":                "",
		"listening":                "", // not below listen
		"policy.log":               "",
	} {
		if got := strings.Join(config.NeedsRestart(strings.Fields(keys)), " "); got != want {
			t.Errorf("%s: %s, want %s", keys, got, want)
		}
	}
}
