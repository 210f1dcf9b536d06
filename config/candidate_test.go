package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"replygate/config"
)

// A candidate reads neither files nor the environment, also where its mistakes would show them, and
// takes from the configuration in force what does not decide.
func TestParseCandidate(t *testing.T) {
	inForce := parse(t, "accounts: [{ corp_id: ww1 }, { corp_id: ww2 }]\nlisten: { admin: '127.0.0.1:1234' }\nredis: { prefix: 'mine:' }\n")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush-hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HUSH", "hush-hush")
	t.Setenv("REPLYGATE_POLICY_MODE", "shadow")
	for name, test := range map[string]struct {
		text     string
		accounts int    // -1: it has mistakes
		want     string // in the mistakes
	}{
		"no accounts":       {"policy: { language: zh }\n", 2, ""},
		"accounts":          {"accounts: [{ corp_id: ww3 }]\n", 1, ""},
		"a file of them":    {"accounts_file: " + secret + "\n", 2, ""},
		"no such file":      {"accounts_file: /does/not/exist\n", 2, ""},
		"a file of a key":   {"admin: { read_key_file: " + secret + " }\n", 2, ""},
		"a certificate":     {"listen: { tls: { cert_file: " + secret + ", key_file: " + secret + " } }\n", 2, ""},
		"a CA":              {"upstream: { ca_file: " + secret + " }\n", 2, ""},
		"a variable":        {"policy: { ruleset: '${HUSH}' }\n", 2, ""},
		"one without value": {"redis: { password: '${NONE}' }\n", 2, ""},
		"a corp in force":   {"unknown_token: ww1\n", 2, ""},
		"an unknown corp":   {"unknown_token: ww9\n", -1, "unknown_token cannot be \"ww9\""},
		"a mistake":         {"policy: { rulset: off }\n", -1, "candidate:1:11: unknown key policy.rulset"},
		"no YAML":           {"a: [", -1, "candidate:1:"},
	} {
		c, err := config.ParseCandidate("candidate", []byte(test.text), inForce)
		if err != nil && (strings.Contains(err.Error(), "hush-hush") || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: it tells %v", name, err)
		}
		switch {
		case test.accounts < 0 && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", name, err, test.want)
		case test.accounts >= 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.accounts >= 0 && (len(c.Accounts) != test.accounts || c.Listen.Admin != "127.0.0.1:1234" || c.Redis.Prefix != "mine:" || c.Policy.Mode != config.Enforce || c.Admin.ReadKey != ""):
			t.Errorf("%s: %+v", name, c)
		}
	}
}
