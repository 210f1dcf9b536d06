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

func TestHostNames(t *testing.T) {
	for host, want := range map[string]string{
		"Acme.Gateway.Internal":       "acme.gateway.internal",
		"acme.gateway.internal:8080":  "acme.gateway.internal",
		"acme.gateway.internal:":      "acme.gateway.internal",
		"acme.gateway.internal.":      "acme.gateway.internal",
		"acme.gateway.internal.:8080": "acme.gateway.internal",
		"10.0.0.1:80":                 "10.0.0.1",
		"[::1]:8080":                  "::1",
		"[FE80::1]":                   "fe80::1",
		"::1":                         "::1",
		"http://acme":                 "http://acme",
		"acme:eighty":                 "acme:eighty",
		"":                            "",
	} {
		if got := config.HostName(host); got != want {
			t.Errorf("HostName(%q) = %q, want %q", host, got, want)
		}
	}
}

// Hosts and channels of accounts stand in the file itself, or in another one as YAML or CSV.
func TestHostsAndChannels(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const own = "accounts: [{ corp_id: ww1, hosts: [one.internal], channels: [wkOne] }]\naccounts_file: "
	for name, text := range map[string]string{
		"more.yaml": "- { corp_id: ww2, hosts: [two.internal, zwei.internal], channels: [wkTwo, wkone] }\n",
		"more.csv":  "corp_id,channels,hosts\nww2,wkTwo wkone,  two.internal  zwei.internal \n",
	} {
		c, err := config.Parse("f", []byte(own+write(name, text)+"\n"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprint(c.Accounts[0].Hosts, c.Accounts[0].Channels, c.Accounts[1].Hosts, c.Accounts[1].Channels); got != "[one.internal] [wkOne] [two.internal zwei.internal] [wkTwo wkone]" {
			t.Errorf("%s: %s", name, got)
		}
		other, err := config.Parse("f", []byte(own+write(name, strings.Replace(text, "zwei", "drei", 1))+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(c.Changes(other)); got != "[accounts]" {
			t.Errorf("%s: another host changes %s", name, got)
		}
	}
}

func TestUnknownTokenIsAutoByDefault(t *testing.T) {
	for text, want := range map[string]string{"": "auto", "unknown_token: auto\n": "auto", "unknown_token: ww1\n": "ww1"} {
		if c, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1 }]\n"+text)); err != nil || c.UnknownToken != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}
