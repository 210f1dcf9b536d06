package main

import (
	"encoding/json"
	"strings"
	"testing"

	"replygate/policy"
)

// JSON is indented, and its arrows and URLs are as people write them.
func TestPrintJSON(t *testing.T) {
	var out strings.Builder
	if err := printJSON(&out, map[string]string{"why": "301 -> 1 & <b>"}); err != nil || out.String() != "{\n  \"why\": \"301 -> 1 & <b>\"\n}\n" {
		t.Errorf("%s %v", out.String(), err)
	}
	if _, text, _ := cli(t, "check", "--json", "-c", file(t, "c.yaml", "accounts: [{ corp_id: ww1 }]\n")); !strings.HasPrefix(text, "{\n  \"ok\": true,\n") {
		t.Error(text)
	}
}

// What a script reads is one JSON document on standard output.
func TestJSONOutput(t *testing.T) {
	read := func(want int, into any, args ...string) {
		t.Helper()
		code, out, errs := cli(t, append(args, "--json")...)
		if err := json.Unmarshal([]byte(out), into); err != nil || code != want {
			t.Errorf("%q: exit %d, want %d: %v\n%s%s", args, code, want, err, out, errs)
		}
	}
	var built buildInfo
	if read(exitGood, &built, "version"); built.Version == "" || !strings.HasPrefix(built.Go, "go") || built.OS == "" || built.Arch == "" {
		t.Errorf("%+v", built)
	}
	var list struct{ Rulesets []shippedRuleset }
	if read(exitGood, &list, "rulesets", "list"); len(list.Rulesets) != len(policy.RuleSets()) || list.Rulesets[0].About == "" {
		t.Errorf("%+v", list)
	}
	var one shippedRuleset
	if read(exitGood, &one, "rulesets", "show", "reply-only-2024"); one.Name != "reply-only-2024" || !strings.Contains(one.YAML, "reply-inside-the-window") {
		t.Errorf("%+v", one)
	}
	c := file(t, "c.yaml", "accounts: [{ corp_id: ww1, subscription: { expires_at: 2020-01-01T00:00:00Z } }]\n")
	cases := file(t, "cases.yaml", "- name: bad\n  steps:\n    - call: { path: /cgi-bin/externalcontact/get }\n      want: { verdict: pass }\n- name: broken\n  steps:\n    - { reload: /does/not/exist }\n")
	var result testResult
	read(exitBad, &result, "test", "-c", c, cases)
	if len(result.Failures) != 2 || result.Failed != 2 {
		t.Fatalf("%+v", result)
	}
	bad, broken := result.Failures[0], result.Failures[1]
	if bad.Case != "bad" || bad.File != cases || bad.Line != 3 || strings.Join(bad.Diff, " ") != "- verdict: pass + verdict: refuse" {
		t.Errorf("%+v", bad)
	}
	if broken.Case != "broken" || !strings.Contains(broken.Error, "/does/not/exist") || broken.Line != 5 {
		t.Errorf("%+v", broken)
	}
}
