package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/admin"
	"replygate/config"
	"replygate/store/storetest"
)

// cli runs one command line.
func cli(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{out: &o, err: &e})
	return code, o.String(), e.String()
}

func TestDemoOnce(t *testing.T) {
	code, out, errs := cli(t, "demo", "--once")
	if code != exitGood {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	for _, call := range six {
		for _, verdict := range []string{"passed", "refuse"} {
			if !strings.Contains(out, fmt.Sprintf("  %-28s %-6s", call.name, verdict)) {
				t.Errorf("%s is not %s:\n%s", call.name, verdict, out)
			}
		}
	}
	if first, _, _ := strings.Cut(out, "\n"); !strings.HasPrefix(first, "The console: http://127.0.0.1:") {
		t.Errorf("the first line is %q", first)
	}
	for _, line := range []string{"The console shows 11 accounts", "47:59:59.999 after", "window open for 0:00:00.001, 3 replies left", "48:00:00.000 after", "window_closed"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is missing:\n%s", line, out)
		}
	}
}

// The companies of the demo give every page of the console something to show, and one of them
// lapses.
func TestDemoCompanies(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	d, err := openDemo(ctx, t.TempDir(), true, streams{out: io.Discard, err: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	go func() { served <- d.gateway.serve(ctx) }()
	go func() { served <- serveHTTP(ctx, d.wecom, d.platform.Control(d.clock)) }()
	defer func() {
		stop()
		if err := errors.Join(<-served, <-served); err != nil {
			t.Error(err)
		}
	}()
	d.clock.Set(d.expires.Add(48 * time.Hour))
	if err := errors.Join(d.settle(ctx), d.lookAtConsole(ctx)); err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		t.Helper()
		return string(raw(t, d.gateway.control.Addr().String(), "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n").body)
	}
	first := d.companies[0]
	for path, wants := range map[string][]string{
		"/v1/accounts":            {`"standing":"active"`, `"standing":"grace"`, `"standing":"lapsed"`, `"standing":"free"`},
		"/v1/decisions?limit=200": {`"verdict":"pass"`, `"verdict":"refuse"`, `"verdict":"unsure"`, `"shadow"`},
		"/v1/closing?within=1h":   {first.Name, `"reachable_after":false`},
		"/v1/entities/" + url.PathEscape(d.companies[1].Entity): {`"moves":[{`},
		"/v1/rehearsal?corp_id=" + first.ID:                     {`"client":"crm"`, `"client":"kf-bot"`},
		"/v1/contacts?corp_id=" + first.ID:                      {`"change":930`},
	} {
		answer := get(path)
		for _, want := range wants {
			if !strings.Contains(answer, want) {
				t.Errorf("%s lacks %s: %.2000s", path, want, answer)
			}
		}
	}
	d.clock.Advance(lapsesAfter)
	if got := get("/v1/accounts/" + first.ID); !strings.Contains(got, `"standing":"lapsed"`) {
		t.Errorf("the first company does not lapse: %s", got)
	}
	if err := d.act(ctx, first, firstActs); err != nil {
		t.Fatal(err)
	}
	if got := get("/v1/decisions?limit=1&corp_id=" + first.ID); !strings.Contains(got, `"verdict":"refuse"`) {
		t.Errorf("after the lapse: %s", got)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
	}{
		{nil, exitUsage},
		{[]string{"help"}, exitGood},
		{[]string{"version"}, exitGood},
		{[]string{"--version"}, exitGood},
		{[]string{"version", "1"}, exitUsage},
		{[]string{"sevre"}, exitUsage},
		{[]string{"check", "-h"}, exitGood},
		{[]string{"check", "--no-such-flag"}, exitUsage},
		{[]string{"check", "too", "many"}, exitUsage},
		{[]string{"check", "-c", "/does/not/exist"}, exitBad},
		{[]string{"serve", "-c", "/does/not/exist"}, exitBad},
		{[]string{"windows"}, exitUsage},
		{[]string{"windows", "show", "ww1"}, exitUsage},
		{[]string{"accounts", "remove"}, exitUsage},
		{[]string{"health", "now"}, exitUsage},
		{[]string{"health", "--admin", "http://127.0.0.1:1"}, exitBad},
		{[]string{"replay", "--threshold", "NaN", "log"}, exitUsage},
		{[]string{"replay", "--threshold", "-1%", "log"}, exitUsage},
		{[]string{"windows", "list", "--admin", "http://127.0.0.1:1"}, exitBad},
	} {
		if code, out, errs := cli(t, test.args...); code != test.code || out+errs == "" {
			t.Errorf("%q: exit %d, want %d\n%s%s", test.args, code, test.code, out, errs)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "replygate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheck(t *testing.T) {
	code, out, errs := cli(t, "check", "-c", write(t, "accounts: [{ corp_id: ww1 }]\n"))
	if code != exitGood || !strings.Contains(out, "good: 1 account, rule set reply-only-2024") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	bad := write(t, "accounts: [{ corp_id: ww1 }]\npolicy:\n  rules:\n    - { name: r, match: { standings: [lapsd] }, action: pass }\n")
	code, out, errs = cli(t, "check", "-c", bad)
	if want := bad + ":4:39: there is no standing \"lapsd\": did you mean lapsed?\n"; code != exitBad || errs != want || out != "" {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	code, out, _ = cli(t, "check", "--json", "-c", bad)
	var r checkResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitBad || r.OK || len(r.Mistakes) != 1 || r.Mistakes[0].Line != 4 || r.Mistakes[0].Remedy != "did you mean lapsed?" {
		t.Errorf("exit %d %s %v", code, out, err)
	}
}

// A start that cannot work fails at once and says why.
func TestServeFailsAtOnce(t *testing.T) {
	taken := newRig(t, storetest.Embedded(t), nil).gateway.api.Addr().String()
	base := fmt.Sprintf("accounts: [{ corp_id: ww1 }]\nredis: { snapshot: %s }\n", filepath.Join(t.TempDir(), "s"))
	t.Setenv("REPLYGATE_JOURNAL_PATH", filepath.Join(t.TempDir(), "journal"))
	for text, want := range map[string]string{
		"accounts: [{ corp_id: ww1 }]\nbad: 1\n":                                                 "unknown key bad",
		base + "listen: { api: \"" + taken + "\", admin: 127.0.0.1:0 }\n":                        "listen.api: listen tcp " + taken,
		base + "upstream: { ca_file: /does/not/exist }\n":                                        "upstream.ca_file",
		base + "listen: { api: 127.0.0.1:0, tls: { cert_file: /no/cert, key_file: /no/key } }\n": "listen.tls",
		base + "log: { decisions: /does/not/exist/log }\n":                                       "log.decisions",
		"accounts: [{ corp_id: ww1 }]\nredis: { snapshot: /does/not/exist/s }\n":                 "redis.snapshot",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var out bytes.Buffer
		code := run(ctx, []string{"serve", "-c", write(t, text)}, streams{out: &out, err: &out})
		if cancel(); code != exitBad || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d %s, want %q", text, code, out.String(), want)
		}
	}
}

func TestWindowsAndAccounts(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		total := 5321
		c.Accounts[0].Contacts = &config.Contacts{Free: 2000, Total: &total}
	})
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	at := "http://" + r.gateway.control.Addr().String()
	code, out, errs := cli(t, "windows", "list", "--all", "--admin", at)
	if code != exitGood || !strings.Contains(out, wrote) || !strings.Contains(out, "open") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	code, out, _ = cli(t, "windows", "show", corpID, channel, wrote, "--json", "--admin", at)
	var list admin.WindowList
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != exitGood || len(list.Windows) != 1 || *list.Windows[0].Left != 4 || list.Windows[0].State != "open" {
		t.Errorf("exit %d %s %v", code, out, err)
	}
	if code, _, errs = cli(t, "windows", "show", corpID, channel, "wmNobody", "--admin", at); code != exitBad || !strings.Contains(errs, "no_window") {
		t.Errorf("exit %d %s", code, errs)
	}
	if code, out, _ = cli(t, "accounts", "list", "--admin", at); code != exitGood || !strings.Contains(out, "lapsed") || !strings.Contains(out, "5321 of 2000 free") {
		t.Errorf("exit %d %s", code, out)
	}
	if code, out, _ = cli(t, "accounts", "show", corpID, "--json", "--admin", at); code != exitGood || !strings.Contains(out, `"standing": "lapsed"`) {
		t.Errorf("exit %d %s", code, out)
	}
	if code, _, _ = cli(t, "accounts", "show", "wwNobody", "--admin", at); code != exitBad {
		t.Errorf("exit %d", code)
	}
}

func TestHealthReadinessMetrics(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.writes(wrote)
	r.reply(wrote, "pass", "window_open")
	r.reply("wmOther", "refuse", "window_closed")
	if a := r.adminCall("GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("healthz: HTTP %d", a.StatusCode)
	}
	ready := string(r.adminCall("GET", "/readyz", "").body)
	if !strings.Contains(ready, `"ready":true`) || !strings.Contains(ready, `"redis":"up"`) || !strings.Contains(ready, `"history":"complete"`) {
		t.Errorf("readyz: %s", ready)
	}
	r.since(-time.Hour)
	if ready := string(r.adminCall("GET", "/readyz", "").body); !strings.Contains(ready, `"history":"incomplete"`) {
		t.Errorf("readyz: %s", ready)
	}
	metrics := string(r.adminCall("GET", "/metrics", "").body)
	for _, line := range []string{
		`replygate_decisions_total{capability="kf_reply",forwarded="true",reason="window_open",verdict="pass"} 1`,
		`replygate_decisions_total{capability="kf_reply",forwarded="false",reason="window_closed",verdict="refuse"} 1`,
		`replygate_inbound_total{result="recorded",source="sync_msg"} 1`,
		`replygate_requests_total{capability="kf_sync",status="200"} 1`,
		`replygate_accounts{standing="lapsed"} 1`,
		`replygate_redis_up 1`,
		`replygate_reload_held 0`,
		`replygate_config_files_unreadable 0`,
		`replygate_wecom_clock_skew_seconds 0`,
		fmt.Sprintf(`replygate_build_info{go=%q,version=%q} 1`, runtime.Version(), buildVersion()),
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("missing in /metrics: %s", line)
		}
	}
	for _, id := range []string{wrote, corpID, channel} {
		if strings.Contains(metrics, id) {
			t.Errorf("/metrics names %s", id)
		}
	}
}

func TestAdminKeepsStrangersOut(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Admin = config.Admin{ReadKey: "read", ChangeKey: "change", MetricsKey: "metrics"}
	})
	for _, test := range []struct {
		method, path, body, header string
		want                       int
	}{
		{"GET", "/v1/windows", "", "X: y", 401},
		{"GET", "/v1/windows", "", "Authorization: Bearer change", 401},
		{"GET", "/v1/windows", "", "Authorization: Bearer read", 200},
		{"GET", "/v1/accounts", "", "Authorization: Bearer read", 200},
		{"GET", "/metrics", "", "Authorization: Bearer read", 401},
		{"GET", "/metrics", "", "Authorization: Bearer metrics", 200},
		{"POST", "/v1/inbound", "{}", "Authorization: Bearer read", 401},
		{"POST", "/v1/inbound", "{}", "Authorization: Bearer change", 400},
		{"GET", "/healthz", "", "X: y", 200},
		{"GET", "/healthz", "", "Origin: https://evil.example", 403},
		{"GET", "/nothing", "", "X: y", 404},
	} {
		if a := r.adminCall(test.method, test.path, test.body, test.header); a.StatusCode != test.want {
			t.Errorf("%s %s with %s: HTTP %d, want %d", test.method, test.path, test.header, a.StatusCode, test.want)
		}
	}
	if a := raw(t, r.gateway.control.Addr().String(), request("GET", "/healthz", "")); a.StatusCode != 403 { // Host: gateway
		t.Errorf("another Host: HTTP %d", a.StatusCode)
	}
	a := raw(t, r.gateway.control.Addr().String(), strings.Replace(request("POST", "/v1/inbound", "{}", "Content-Type: text/plain", "Authorization: Bearer change"), "Host: gateway", "Host: localhost", 1))
	if a.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a form's content type: HTTP %d", a.StatusCode)
	}
}

// One access record a request, one decision record a judged call; no token, secret or text in
// either.
func TestRecords(t *testing.T) {
	decisions := filepath.Join(t.TempDir(), "decisions.log")
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Log.Decisions = decisions })
	r.platform.CustomerWrites(corpID, channel, wrote, "a private question")
	r.sync()
	r.call("POST", "/cgi-bin/kf/send_msg", strings.Replace(replyTo(wrote), "hello", "a private answer", 1))
	refused := r.reply("wmOther", "refuse", "window_closed")
	r.call("POST", "/cgi-bin/webhook/send?key=robot-key-12345", "{}")
	r.call("GET", "/odd/"+r.token+"/%41", "")
	r.gateway.logs.Sync()
	data, err := os.ReadFile(decisions)
	if err != nil {
		t.Fatal(err)
	}
	records := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(records) != 2 {
		t.Fatalf("%d decision records, want 2:\n%s", len(records), data)
	}
	var record struct {
		ID, Verdict, Reason, Rule, Standing, Capability, Endpoint, Corp_ID, Account, Channel string
		Customers                                                                            []string
		Errcode                                                                              int
		Forwarded                                                                            bool
	}
	if err := json.Unmarshal([]byte(records[1]), &record); err != nil {
		t.Fatal(err)
	}
	if record.ID != refused.Gate.DecisionID || record.Verdict != "refuse" || record.Reason != "window_closed" || record.Rule != "reply-inside-the-window" ||
		record.Standing != "lapsed" || record.Corp_ID != corpID || record.Customers[0] != "wmOther" || record.Errcode != 95002 || record.Forwarded {
		t.Errorf("%s", records[1])
	}
	access := r.log()
	if n := strings.Count(access, `"msg":"request"`); n != 6 { // gettoken too
		t.Errorf("%d access records, want 6:\n%s", n, access)
	}
	for _, hidden := range []string{r.token, secret, "private", "robot-key-12345"} {
		if strings.Contains(access, hidden) || strings.Contains(string(data), hidden) {
			t.Errorf("the logs hold %.20s…", hidden)
		}
	}
}

// check --live says what a Redis lacks; a user who may touch the prefix alone is enough.
func TestCheckLive(t *testing.T) {
	user := strings.Fields("--user gate on >limited ~rg:* &* -@all +@read +@write +@scripting +ping +info +time +select +cluster|slots")
	for name, test := range map[string]struct {
		args   []string
		user   string
		code   int
		wants  []string
		before func(c *redis.Client)
	}{
		"good":              {nil, "", exitGood, []string{"redis: version: good: 7.", "redis: layout: good: none yet", "redis: clock: good"}, nil},
		"limited to a user": {user, "username: gate, password: limited, ", exitGood, []string{"redis: rights: good", "redis: scripts: good"}, nil},
		"a wrong password":  {user, "username: gate, password: guessed, ", exitBad, []string{"redis: reach: this Redis cannot serve", "WRONGPASS"}, nil},
		"another prefix":    {user, "username: gate, password: limited, prefix: \"other:\", ", exitBad, []string{"redis: rights: NOPERM"}, nil},
		"evicting":          {[]string{"--maxmemory-policy", "allkeys-lru"}, "", exitBad, []string{"redis: eviction: this Redis cannot serve", "noeviction"}, nil},
		"not durable":       {nil, "", exitGood, []string{"warning: redis: disk: appendonly is off", "appendonly yes"}, nil},
		"on the disk":       {[]string{"--appendonly", "yes"}, "", exitGood, []string{"redis: disk: good"}, nil},
		"a newer layout":    {nil, "", exitBad, []string{"redis: layout: this Redis cannot serve"}, func(c *redis.Client) { c.Set(t.Context(), "rg:layout", "99", 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			server := storetest.Start(t, test.args...)
			addr := server.Config().Addrs[0]
			if test.before != nil {
				c := redis.NewClient(&redis.Options{Addr: addr})
				test.before(c)
				c.Close()
			}
			file := write(t, fmt.Sprintf("accounts: [{ corp_id: ww1 }]\nredis: { mode: single, %saddrs: [%q] }\n", test.user, addr))
			code, out, errs := cli(t, "check", "--live", "-c", file)
			if code != test.code {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
			for _, want := range test.wants {
				if !strings.Contains(out+errs, want) {
					t.Errorf("%q is missing:\n%s%s", want, out, errs)
				}
			}
		})
	}
	code, out, errs := cli(t, "check", "--live", "--json", "-c", write(t, "accounts: [{ corp_id: ww1 }]\nredis: { mode: single, addrs: [\"127.0.0.1:1\"] }\n"))
	if code != exitBad || !strings.Contains(out, "\"name\": \"reach\",\n      \"ok\": false") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
}
