package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/store/storetest"
	"replygate/wecom"
)

// One file for each kind of warning, beside it the exact text, as check prints it. Files whose name
// begins with none are legal and meant.
func TestWarnings(t *testing.T) {
	t.Chdir("../../testdata/config/warnings")
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			set, err := load(file)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, w := range set.lint(at) {
				got += text(w) + "\n"
			}
			if strings.HasPrefix(file, "none-") != (got == "") {
				t.Errorf("got %q", got)
			}
			wanted := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(wanted, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wanted)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// The configuration to start from has no warnings.
func TestExampleWithoutWarnings(t *testing.T) {
	set, err := load("../../replygate.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), time.Date(2027, 9, 30, 12, 0, 0, 0, time.UTC)} {
		if found := set.lint(at); len(found) > 0 {
			t.Errorf("at %s: %v", at, found.err())
		}
	}
}

const opensAll = "policy: { rules: [{ name: x, match: , action: pass }] }\n"

// check prints warnings and goes on; with --strict they are mistakes.
func TestCheckStrict(t *testing.T) {
	plain, open := "accounts: [{ corp_id: ww1 }]\n", "accounts: [{ corp_id: ww1 }]\n"+opensAll
	bad := write(t, open)
	const what = "rule x (policy.rules[0]) passes every call, which opens 139 of 139 interfaces that reply-only-2024 refuses to lapsed accounts"
	code, out, errs := cli(t, "check", "-c", bad)
	if code != exitGood || !strings.HasPrefix(errs, bad+":2:37: warning: "+what+": ") || !strings.Contains(out, ": good: 1 account, ") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	code, out, errs = cli(t, "check", "--strict", "-c", bad)
	if code != exitBad || !strings.HasPrefix(errs, bad+":2:37: "+what+": ") || out != "" {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	if code, out, errs = cli(t, "check", "--strict", "-c", write(t, plain)); code != exitGood || errs != "" {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	for _, test := range []struct {
		args                     []string
		code, mistakes, warnings int
	}{{nil, exitGood, 0, 1}, {[]string{"--strict"}, exitBad, 1, 0}} {
		code, out, _ = cli(t, append([]string{"check", "--json", "-c", bad}, test.args...)...)
		var r checkResult
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != test.code || r.OK != (code == exitGood) || r.Accounts != 1 || len(r.Mistakes) != test.mistakes || len(r.Warnings) != test.warnings {
			t.Fatalf("%v: exit %d %s %v", test.args, code, out, err)
		}
		w := slices.Concat(r.Mistakes, r.Warnings)[0]
		if w.Key != "policy.rules[0].match" || w.Line != 2 || w.Col != 37 || w.What != what || w.Opens != 139 || w.Of != 139 || w.Remedy == "" {
			t.Errorf("%v: %+v", test.args, w)
		}
	}
}

// A value of the environment is warned of like one of the file.
func TestWarningOfTheEnvironment(t *testing.T) {
	t.Setenv("REPLYGATE_UNKNOWN_TOKEN", "pass")
	code, _, errs := cli(t, "check", "-c", write(t, "accounts: [{ corp_id: ww1 }]\n"))
	if code != exitGood || !strings.HasPrefix(errs, "environment REPLYGATE_UNKNOWN_TOKEN: warning: unknown_token is pass, which opens 139 of 139 ") {
		t.Errorf("exit %d %s", code, errs)
	}
}

// The warnings, the mode and the rule set are in the log at the start and after each reload. The
// metric counts the warnings in force.
func TestWarningsOfARunningGateway(t *testing.T) {
	f := newFileRig(t, opensAll)
	f.base = strings.Replace(f.base, "2020-01-01T00:00:00Z", f.clock.Now().Add(-time.Hour).UTC().Format(time.RFC3339), 1)
	counts := func(want int) {
		t.Helper()
		if metrics := string(f.adminCall("GET", "/metrics", "").body); !strings.Contains(metrics, fmt.Sprintf("replygate_config_warnings %d\n", want)) {
			t.Errorf("%s, want %d", regexp.MustCompile(`replygate_config_warnings .*`).FindString(metrics), want)
		}
	}
	seen := 0
	logs := func(wants ...string) {
		t.Helper()
		log := f.log()
		for _, want := range wants {
			if !strings.Contains(log[seen:], want) {
				t.Errorf("the log lacks %s:\n%s", want, log[seen:])
			}
		}
		seen = len(log)
	}
	const policy = `"msg":"calls are judged by this policy","mode":"%s","ruleset":"%s","rules":%d,"warnings":%d}`
	logs("warning: rule x (policy.rules[0]) passes every call, which opens 139 of 139 interfaces that reply-only-2024 refuses to lapsed accounts",
		`"setting":"policy.rules[0].match","opens":139,"of":139}`, "over a year ago", fmt.Sprintf(policy, "enforce", "reply-only-2024", 1, 2))
	counts(2)
	reload := func(more string) {
		t.Helper()
		f.writes(more)
		if a := f.reloads(); a.StatusCode != 200 {
			t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
		}
	}
	reload("")
	logs(fmt.Sprintf(policy, "enforce", "reply-only-2024", 0, 0))
	counts(0)
	reload("policy: { mode: shadow, ruleset: grandfathered-2023 }\nunknown_token: pass\n")
	logs("policy.mode is shadow and "+corpID+" has lapsed, which opens 30 of 30 interfaces that grandfathered-2023 refuses",
		"unknown_token is pass", fmt.Sprintf(policy, "shadow", "grandfathered-2023", 0, 2))
	counts(2)
	f.clock.Advance(time.Hour)
	if a := f.reloads(); a.StatusCode != 200 {
		t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
	}
	logs("policy.mode is shadow", fmt.Sprintf(policy, "shadow", "grandfathered-2023", 0, 2))
}

// The metric follows the clock: an account comes near its end while the gateway is in shadow mode.
func TestWarningsFollowTheClock(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Policy.Mode, c.Listen.Callback = config.Shadow, config.Default().Listen.Callback
		c.Accounts[0].Subscription.ExpiresAt = c.Accounts[0].Subscription.ExpiresAt.AddDate(0, 0, 40)
	})
	for _, want := range []string{"0", "1"} {
		if metrics := string(r.adminCall("GET", "/metrics", "").body); !strings.Contains(metrics, "replygate_config_warnings "+want+"\n") {
			t.Errorf("the metric is not %s", want)
		}
		r.clock.Advance(11 * 24 * time.Hour)
	}
}

// The numbers in the warnings are those of the running gateway: with each setting as many calls of
// the catalogue reach WeCom, of those that it refused without.
func TestWarningsCountWhatPasses(t *testing.T) {
	const unlisted, elsewhere = "wwUnlisted", "wwElsewhere"
	f := newFileRig(t)
	f.base += "  - { corp_id: wwAnother, subscription: { expires_at: 2020-01-01T00:00:00Z }, hosts: [another.internal] }\n"
	f.platform.AddCorp(unlisted, secret)
	f.platform.AddCorp(elsewhere, secret)
	f.platform.SetContacts(corpID, 2500, 1) // with as few as contacts.free the account would be free
	learnt := func(corp string) string {
		return tokenOf(t, raw(t, f.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret="+secret, "")))
	}
	passes := func(path, token string) bool {
		t.Helper()
		f.platform.Forget()
		raw(t, f.gateway.api.Addr().String(), request("POST", path+"?access_token="+token, "{}", "Content-Type: application/json"))
		return len(f.platform.Calls()) == 1
	}
	reload := func(more string) {
		t.Helper()
		f.writes(more)
		if a := f.reloads(); a.StatusCode != 200 {
			t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
		}
	}
	reload("")
	var refused []string
	known := learnt(corpID)
	for _, e := range wecom.Endpoints() {
		if e.Capability != "token" && !passes(e.Path, known) {
			refused = append(refused, e.Path)
		}
	}
	for name, test := range map[string]struct {
		text, token string
	}{
		"a rule without a match": {opensAll, known},
		"a rule by a pattern":    {"policy: { rules: [{ name: x, match: { endpoints: [/cgi-bin/externalcontact/*] }, action: pass }] }\n", known},
		"a rule by its when":     {"policy: { rules: [{ name: x, when: call.capability != \"customer_details\", action: pass }] }\n", known},
		"the rule set off":       {"policy: { ruleset: off }\n", known},
		"refusals without a set": {"policy: { ruleset: off, rules: [{ name: x, match: { capabilities: [mass_message] }, action: refuse }] }\n", known},
		"shadow mode":            {"policy: { mode: shadow }\n", known},
		"unknown tokens":         {"unknown_token: pass\n", f.platform.Issue(elsewhere)},
		"refusals all the same":  {"unknown_token: pass\npolicy: { rules: [{ name: x, match: { capabilities: [mass_message] }, action: refuse }] }\n", f.platform.Issue(elsewhere)},
		"unlisted accounts":      {"unlisted_account: pass\n", learnt(unlisted)},
	} {
		reload(test.text)
		i := slices.IndexFunc(f.gateway.inUse.lint(f.clock.Now()), func(w gate.Warning) bool { return w.Opens > 0 })
		if i < 0 {
			t.Errorf("%s: no warning", name)
			continue
		}
		w, n := f.gateway.inUse.lint(f.clock.Now())[i], 0
		for _, path := range refused {
			if passes(path, test.token) {
				n++
			}
		}
		if n != w.Opens || len(refused) != w.Of {
			t.Errorf("%s: %d of %d interfaces pass: %s", name, n, len(refused), w)
		}
	}
}
