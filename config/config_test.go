package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"replygate/config"
)

func TestDefaults(t *testing.T) {
	if _, err := config.Parse("f", []byte("accounts: [{ corp_id: wwAbC.1-x }]")); err == nil {
		t.Fatal("a corp id with a dot passes")
	}
	c, err := config.Parse("f", []byte("accounts: [{ corp_id: wwAbC1x, contacts: { total: 5 } }]"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Accounts[0].CorpID != "wwAbC1x" || c.Accounts[0].Contacts.Free != 2000 || *c.Accounts[0].Contacts.Total != 5 {
		t.Errorf("%+v", c.Accounts[0])
	}
	if c.Window.Length != 48*time.Hour || c.Window.Replies != 5 || c.Policy.Ruleset != "reply-only-2024" || c.Listen.API != "127.0.0.1:8080" {
		t.Errorf("%+v", c)
	}
}

func TestEnvironmentGoesOverTheFile(t *testing.T) {
	t.Setenv("REPLYGATE_LISTEN_API", "127.0.0.1:1234")
	t.Setenv("REPLYGATE_WINDOW_LENGTH", "24h")
	t.Setenv("REPLYGATE_REDIS_DB", "3")
	t.Setenv("REPLYGATE_REDIS_PASSWORD", "from-env")
	t.Setenv("REPLYGATE_POLICY_COLD_START", "")
	t.Setenv("ACME_CORP", "wwFromEnv")
	c, err := config.Parse("f", []byte("accounts: [{ corp_id: \"${ACME_CORP}\" }]\nwindow: { length: 12h, replies: 3 }\npolicy: { cold_start: refuse }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.API != "127.0.0.1:1234" || c.Window.Length != 24*time.Hour || c.Window.Replies != 3 || c.Redis.DB != 3 ||
		c.Redis.Password.Reveal() != "from-env" || c.Policy.ColdStart != "refuse" || c.Accounts[0].CorpID != "wwFromEnv" {
		t.Errorf("%+v", c)
	}
	t.Setenv("REPLYGATE_WINDOW_LENGTH", "24")
	if _, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1 }]")); err == nil || !strings.Contains(err.Error(), "environment REPLYGATE_WINDOW_LENGTH: a duration needs a unit") {
		t.Errorf("%v", err)
	}
}

// The environment's rule set stands over a list in the file too.
func TestEnvironmentGoesOverAListOfRuleSets(t *testing.T) {
	file := []byte("accounts: [{ corp_id: ww1 }]\npolicy: { ruleset: [{ ruleset: off }, { ruleset: reply-only-2024, from: 2026-12-01T00:00:00Z }] }\n")
	for env, lists := range map[string]int{"": 2, "grandfathered-2023": 0} {
		t.Setenv("REPLYGATE_POLICY_RULESET", env)
		c, err := config.Parse("f", file)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Policy.Rulesets) != lists || env != "" && c.Policy.Ruleset != env {
			t.Errorf("with %q: %+v", env, c.Policy)
		}
	}
}

func TestSecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1 }]\nredis: { password_file: "+file+" }\n"))
	if err != nil || c.Redis.Password.Reveal() != "from-file" {
		t.Errorf("%v", err)
	}
}

func TestSecretsPrintAsStars(t *testing.T) {
	s := struct{ Key config.Secret }{"hush"}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	all := string(data)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.Key) + fmt.Sprintf(verb, &s)
	}
	if strings.Contains(all, "hush") || strings.Contains(all, "68757368") {
		t.Errorf("a secret shows: %s", all)
	}
}

func TestAnchorsWork(t *testing.T) {
	c, err := config.Parse("f", []byte("accounts:\n  - { corp_id: ww1, subscription: &paid { expires_at: 2026-10-01T00:00:00+08:00 } }\n  - { corp_id: ww2, subscription: *paid }\n"))
	if err != nil || !c.Accounts[1].Subscription.ExpiresAt.Equal(c.Accounts[0].Subscription.ExpiresAt) {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("../testdata/config/bad/*/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}
