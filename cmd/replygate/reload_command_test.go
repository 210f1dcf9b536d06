package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const held = `{"reloaded":false,"config":"a","changed":[],"held":{"reason":"accounts_removed","why":"it removes 300 of 301 accounts","removed":300,"accounts_before":301,"accounts_after":1,"names":["Acme East","深圳示例"],"confirm":"held-e1","held_already":true}}`

// reload tells what changed, and a held one changes nothing until it is confirmed.
func TestReloadCommand(t *testing.T) {
	var asked []string
	answers := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("If-Match"), body))
		status, answer, _ := strings.Cut(answers[r.Header.Get("If-Match")], " ")
		code := 200
		_, _ = fmt.Sscan(status, &code)
		w.WriteHeader(code)
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	ok := `200 {"reloaded":true,"config":"b","changed":["accounts","policy.rules"],"warnings":["w"]}`
	for name, test := range map[string]struct {
		answers map[string]string
		args    string
		code    int
		calls   int
		out     string
		errs    string
	}{
		"changes":                   {map[string]string{"": ok}, "", exitGood, 1, "reloaded: accounts, policy.rules\n", "warning: w\n"},
		"no changes":                {map[string]string{"": `200 {"reloaded":true,"config":"b","changed":[]}`}, "--yes", exitGood, 1, "reloaded: nothing changed\n", ""},
		"held":                      {map[string]string{"": "200 " + held}, "", exitBad, 1, "", "held: it removes 300 of 301 accounts\nthe reload is held, and nothing has changed: look at the accounts, then write replygate reload --confirm held-e1\n"},
		"held, with another status": {map[string]string{"": "409 " + held}, "", exitBad, 1, "", "held: it removes 300 of 301 accounts\n"},
		"held, as JSON":             {map[string]string{"": "200 " + held}, "--json", exitBad, 1, "\"accounts_before\": 301", "the reload is held"},
		"confirmed":                 {map[string]string{"": "200 " + held, `"held-e1"`: ok}, "--yes", exitGood, 2, "reloaded: accounts, policy.rules\n", "warning: w\n"},
		"confirmed by its tag":      {map[string]string{`"held-e1"`: ok}, "--confirm held-e1", exitGood, 1, "reloaded: accounts, policy.rules\n", "warning: w\n"},
		"another one is held":       {map[string]string{`"held-e0"`: `412 {"error":{"code":"changed","message":"changed since"}}`}, "--confirm held-e0", exitBad, 1, "", "changed since (changed)\n"},
		"a configuration's hash":    {nil, "--confirm 1a2b", exitUsage, 0, "", "replygate reload: wrong usage: --confirm "},
		"no tag":                    {nil, "--confirm=", exitUsage, 0, "", "replygate reload: wrong usage: --confirm "},
		"both":                      {nil, "--confirm held-e1 --yes", exitUsage, 0, "", "replygate reload: wrong usage: give --confirm or --yes"},
		"not held before":           {map[string]string{"": "409 " + strings.Replace(held, ":true", ":false", 1), `"held-e1"`: ok}, "--yes", exitBad, 1, "", "held: it removes 300 of 301 accounts\nthis is not what the gateway held before, so --yes does not confirm it, and nothing has changed: look at the accounts, then write replygate reload --confirm held-e1\n"},
		"confirmed too late":        {map[string]string{"": "200 " + held, `"held-e1"`: "200 " + held}, "--yes", exitBad, 2, "", "held: "},
		"mistakes":                  {map[string]string{"": `422 {"error":{"code":"bad_config","message":"c.yaml:1:1: unknown key"}}`}, "", exitBad, 1, "", "c.yaml:1:1: unknown key (bad_config)\n"},
		"no gateway":                {map[string]string{"": "404 <html>"}, "", exitBad, 1, "", "the gateway answered HTTP 404: is this its listen.admin?\n"},
		"another server":            {map[string]string{"": "200 <html>"}, "", exitBad, 1, "", "the gateway's answer cannot be read"},
	} {
		asked, answers = nil, test.answers
		args := append([]string{"reload", "--admin", server.URL}, strings.Fields(test.args)...)
		code, out, errs := cli(t, args...)
		if code != test.code || len(asked) != test.calls || !strings.Contains(out, test.out) || test.out == "" && out != "" || !strings.HasPrefix(errs, test.errs) {
			t.Errorf("%s: exit %d after %q\n%s%s", name, code, asked, out, errs)
		}
	}
}

// reload works with a gateway as it is.
func TestReloadCommandOfAGateway(t *testing.T) {
	f := newFileRig(t)
	code, out, errs := cli(t, "reload", "--admin", f.gateway.control.Addr().String())
	if code != exitGood || out != "reloaded: nothing changed\n" {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	f.writes("accounts: twice\n")
	if code, _, errs = cli(t, "reload", "--admin", f.gateway.control.Addr().String()); code != exitBad || !strings.Contains(errs, "(bad_config)") {
		t.Errorf("exit %d %s", code, errs)
	}
}
