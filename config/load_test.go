package config_test

import (
	"testing"

	"replygate/config"
)

// A variable named like a section, as REPLYGATE_LOG, is not a key and must not hide those below it.
func TestVariableNamedLikeASection(t *testing.T) {
	for _, name := range []string{"REPLYGATE_LOG", "REPLYGATE_REDIS", "REPLYGATE_LISTEN_TLS"} {
		t.Setenv(name, "x")
	}
	c, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1 }]\nlog: { level: warn }\nredis: { db: 2 }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Log.Level != "warn" || c.Redis.DB != 2 {
		t.Errorf("log.level %q, redis.db %d", c.Log.Level, c.Redis.DB)
	}
}

// An empty item of a list is reported in its own line.
func TestEmptyListItem(t *testing.T) {
	_, err := config.Parse("f", []byte("accounts:\n  - { corp_id: ww1 }\n  -\n  - ~\n"))
	const want = "f:3:4: accounts[1] has no corp_id: add the id that WeCom shows under My Company, ww…\n" +
		"f:4:5: accounts[2] has no corp_id: add the id that WeCom shows under My Company, ww…"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// The list form of a key and a struct's position have entries in the decoder, but are no keys.
func TestInternalNamesAreNoKeys(t *testing.T) {
	t.Parallel()
	run(t, oneAccount, []fileCase{
		{`policy: { 'ruleset[]': [{ ruleset: off }] }`,
			`f:2:11: unknown key policy.ruleset[]: did you mean ruleset?`},
		{`clients: [{ name: a, networks: [10.0.0.0/8], '-at': }]`,
			`f:2:46: unknown key clients[0].-at: known are contains, header, name, networks`},
	})
}
