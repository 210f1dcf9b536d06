package config_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"replygate/config"
)

// The files that a configuration names are known, also while it has mistakes.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, test := range []struct{ text, want string }{
		{"accounts: [{ corp_id: ww1 }]\n", "[]"},
		{"accounts_file: a.csv\n", "[{accounts_file a.csv}]"},
		{"accounts_file: a.csv\nacounts: 7\nwindow: { length: 0 }\n", "[{accounts_file a.csv}]"},
		{"listen: { tls: { cert_file: c, key_file: k } }\nupstream: { ca_file: u }\nredis: { ca_file: r }\n",
			"[{listen.tls.cert_file c} {listen.tls.key_file k} {upstream.ca_file u} {redis.ca_file r}]"},
		{"redis: { password_file: " + in("p") + " }\ncallbacks:\n  - { path: /a, token_file: " + in("t") + " }\n",
			"[{redis.password_file " + in("p") + "} {callbacks[0].token_file " + in("t") + "}]"},
		{"accounts_file: [a.csv\n", "[]"},
		{"", "[]"},
	} {
		if got := fmt.Sprint(config.FilesIn("f", []byte(test.text))); got != test.want {
			t.Errorf("%s: %s, want %s", test.text, got, test.want)
		}
	}
	t.Setenv("REPLYGATE_ACCOUNTS_FILE", "env.csv")
	if got := fmt.Sprint(config.FilesIn("f", []byte("accounts_file: a.csv\n"))); got != "[{accounts_file env.csv}]" {
		t.Error(got)
	}
}
