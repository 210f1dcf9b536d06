package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"replygate/config"
	"replygate/internal/recordtest"
	"replygate/store/storetest"
)

// fileRig is a rig whose gateway reads its configuration from a file.
type fileRig struct {
	*rig
	file string
	base string // what stands before the policy
}

// newFileRig starts a gateway with the base and more.
func newFileRig(t *testing.T, more ...string) *fileRig {
	t.Helper()
	return newFileRigWith(t, nil, more...)
}

// newFileRigWith is newFileRig for a configuration that the test completes before the start.
func newFileRigWith(t *testing.T, complete func(f *fileRig), more ...string) *fileRig {
	t.Helper()
	r := newRig(t, storetest.Embedded(t), nil)
	dir := t.TempDir()
	f := &fileRig{rig: r, file: filepath.Join(dir, "replygate.yaml")}
	f.base = fmt.Sprintf("listen: { api: 127.0.0.1:0, admin: 127.0.0.1:0 }\nupstream: { url: %q }\nredis: { snapshot: %q }\njournal: { path: %q }\nshutdown: { lame_duck: 0s, grace: 5s }\naccounts:\n  - { corp_id: %s, subscription: { expires_at: 2020-01-01T00:00:00Z } }\n",
		r.upstream.URL, filepath.Join(dir, "s"), filepath.Join(dir, "j"), corpID)
	if complete != nil {
		complete(f)
	}
	f.writes(strings.Join(more, ""))
	set, err := load(f.file)
	if err != nil {
		t.Fatal(err)
	}
	g, err := build(context.Background(), set, r.clock.Now, streams{out: r.output, err: r.output})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- g.serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	r.gateway = g
	r.since(-96 * 3600e9)
	return f
}

// writes replaces the file, as an editor does, with the base and more.
func (f *fileRig) writes(more string) {
	f.Helper()
	if err := os.WriteFile(f.file+".new", []byte(f.base+more), 0o600); err != nil {
		f.Fatal(err)
	}
	if err := os.Rename(f.file+".new", f.file); err != nil {
		f.Fatal(err)
	}
}

const passDetails = "policy:\n  rules:\n    - { name: details, match: { capabilities: [customer_details] }, action: pass }\n"

// details makes a call that the rule above lets through, and says whether it passed.
func (f *fileRig) details() bool {
	f.Helper()
	return f.call("GET", "/cgi-bin/externalcontact/get?external_userid=wmA", "").Errcode == 0
}

func (f *fileRig) reloads(headers ...string) answer {
	f.Helper()
	return f.adminCall("POST", "/v1/reload", "{}", headers...)
}

// Of those who want to replace the same version, one does.
func TestReloadOfOneVersionHappensOnce(t *testing.T) {
	f := newFileRig(t)
	hash, _ := f.gateway.version()
	f.writes(passDetails)
	statuses := make([]int, 8)
	var operators sync.WaitGroup
	for i := range statuses {
		operators.Go(func() { statuses[i] = f.reloads(`If-Match: "` + hash + `"`).StatusCode })
	}
	operators.Wait()
	slices.Sort(statuses)
	if want := []int{200, 412, 412, 412, 412, 412, 412, 412}; !slices.Equal(statuses, want) {
		t.Errorf("HTTP %v", statuses)
	}
}

func TestReloadByTheAdminAPI(t *testing.T) {
	f := newFileRig(t)
	var before, after struct {
		Config  string
		Changed []string
		Stale   bool `json:"config_stale"`
	}
	ready := f.adminCall("GET", "/readyz", "")
	if err := json.Unmarshal(ready.body, &before); err != nil || before.Config == "" {
		t.Fatalf("%s %v", ready.body, err)
	}
	if f.details() {
		t.Fatal("details pass")
	}
	f.writes(passDetails)
	if a := f.reloads("If-Match: \"0000\""); a.StatusCode != 412 {
		t.Errorf("another version: HTTP %d %s", a.StatusCode, a.body)
	}
	a := f.reloads(`If-Match: "` + before.Config + `"`)
	if err := json.Unmarshal(a.body, &after); err != nil || a.StatusCode != 200 || fmt.Sprint(after.Changed) != "[policy.rules]" || after.Config == before.Config {
		t.Fatalf("HTTP %d %s %v", a.StatusCode, a.body, err)
	}
	if !f.details() {
		t.Error("the new rule does not hold")
	}
	if a := f.reloads(); !strings.Contains(string(a.body), `"changed":[]`) {
		t.Errorf("the same file once more: HTTP %d %s", a.StatusCode, a.body)
	}
	f.writes("policy:\n  ruels: []\n")
	if a := f.reloads(); a.StatusCode != 422 || !strings.Contains(string(a.body), "did you mean rules?") {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	if !f.details() {
		t.Error("a broken file took the rules away")
	}
	if a := f.adminCall("GET", "/readyz", ""); !strings.Contains(string(a.body), `"config_stale":true`) || a.StatusCode != 200 {
		t.Errorf("%s", a.body)
	}
	if a := f.adminCall("GET", "/metrics", ""); !strings.Contains(string(a.body), "replygate_config_stale 1\n") {
		t.Error("the metric is not 1")
	}
	f.writes("window: { replies: 3 }\n")
	if a := f.reloads(); a.StatusCode != 422 || !strings.Contains(string(a.body), "window.replies cannot change while the gateway runs") {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	f.writes("")
	if a := f.reloads(); a.StatusCode != 200 || f.details() {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	if !strings.Contains(f.log(), `"msg":"the configuration is reloaded","changed":["policy.rules"]`) {
		t.Error("the log does not say what changed")
	}
}

// A changed file is noticed however it is changed.
func TestReloadByTheFile(t *testing.T) {
	t.Parallel()
	f := newFileRig(t)
	passes := func(want bool, how string) {
		t.Helper()
		f.await("details to pass: "+fmt.Sprint(want)+" "+how, func() bool { return f.details() == want })
	}
	f.writes(passDetails)
	passes(true, "renamed over")
	if err := os.WriteFile(f.file, []byte(f.base), 0o600); err != nil {
		t.Fatal(err)
	}
	passes(false, "written in place")
	if err := os.Remove(f.file); err != nil {
		t.Fatal(err)
	}
	f.writes(passDetails)
	passes(true, "deleted and made again")
	stale := func(want bool) {
		t.Helper()
		f.await(fmt.Sprintf("config_stale to be %v", want), func() bool {
			return strings.Contains(string(f.adminCall("GET", "/readyz", "").body), fmt.Sprintf(`"config_stale":%v`, want))
		})
	}
	f.writes("accounts: 7\n")
	stale(true)
	f.writes(passDetails) // as it was
	stale(false)
	dir := t.TempDir() // as a ConfigMap: a link to a link that is swapped
	for i, text := range []string{f.base, f.base + passDetails} {
		sub := filepath.Join(dir, fmt.Sprint("data", i))
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "replygate.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, name+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	link("data0", filepath.Join(dir, "..data"))
	link(filepath.Join(dir, "..data", "replygate.yaml"), f.file)
	passes(false, "through a link")
	link("data1", filepath.Join(dir, "..data"))
	passes(true, "through a link that was swapped")
}

// SIGHUP reloads at once, also a file that looks unchanged: a secret it names may be another.
func TestReloadBySignal(t *testing.T) {
	f := newFileRig(t)
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "replygate.yaml")
	apart := strings.NewReplacer(filepath.Dir(f.file)+"/s", file+".s", filepath.Dir(f.file)+"/j", file+".j").Replace(string(text))
	if err := os.WriteFile(file, []byte(apart), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	out, ended := &output{check: recordtest.New(t)}, make(chan int, 1)
	go func() { ended <- run(ctx, []string{"serve", "-c", file}, streams{out: out, err: out}) }()
	f.await("the gateway to serve", func() bool { return strings.Contains(out.String(), `"msg":"serving"`) })
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.await("the reload", func() bool { return strings.Contains(out.String(), `"msg":"the configuration is reloaded"`) })
	stop()
	if code := <-ended; code != exitGood {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

// log.level changes with a reload, for the gateway's own lines and for the records of requests; the
// other keys of log need a restart.
func TestReloadChangesTheLogLevel(t *testing.T) {
	f := newFileRig(t)
	lines := func() (own, requests int) {
		f.gateway.log.Info("a line of the test")
		f.details()
		return strings.Count(f.log(), "a line of the test"), strings.Count(f.log(), `"msg":"request"`)
	}
	own, requests := lines()
	for _, test := range []struct {
		level string
		more  int // lines of each kind
	}{{"warn", 0}, {"debug", 1}, {"error", 0}, {"info", 1}} {
		f.writes("log: { level: " + test.level + " }\n")
		if a := f.reloads(); a.StatusCode != 200 || !strings.Contains(string(a.body), `"changed":["log.level"]`) {
			t.Fatalf("%s: HTTP %d %s", test.level, a.StatusCode, a.body)
		}
		o, r := lines()
		if o != own+test.more || r != requests+test.more {
			t.Errorf("%s: %d lines and %d records more, want %d", test.level, o-own, r-requests, test.more)
		}
		own, requests = o, r
	}
	f.writes("log: { level: warn, max_files: 3 }\n")
	if a := f.reloads(); a.StatusCode != 422 || !strings.Contains(string(a.body), "log.max_files cannot change while the gateway runs") {
		t.Errorf("HTTP %d %s", a.StatusCode, a.body)
	}
	if o, _ := lines(); o != own+1 {
		t.Error("a reload that failed changed the level")
	}
}

// Readiness and metrics do not wait for a reload, which may take as long as a disk or Redis does.
func TestNothingWaitsForAReload(t *testing.T) {
	f := newFileRig(t)
	f.gateway.reloading.Lock()
	defer f.gateway.reloading.Unlock()
	f.clock.Advance(time.Hour) // the warnings are found anew
	if ready := f.ready(); !strings.Contains(ready, `"config_stale":false`) {
		t.Error(ready)
	}
	if !f.metric("replygate_config_stale 0") || !f.metric("replygate_reload_held 0") || !f.metric("replygate_config_files_unreadable 0") || !f.metric("replygate_config_warnings 1") {
		t.Error("the metrics do not tell of the configuration")
	}
}

// What a reload puts in force is complete before it does: no part of it can fail later.
func TestCompileFindsWhatCannotBePutInForce(t *testing.T) {
	for want, change := range map[string]func(*config.Config){
		"":            func(*config.Config) {},
		"log.level: ": func(c *config.Config) { c.Log.Level = "loud" },
		"callback /a: ": func(c *config.Config) {
			c.Callbacks = []config.Callback{{Path: "/a", EncodingAESKey: "short"}}
		},
	} {
		c, err := config.Parse("f", []byte("accounts: [{ corp_id: ww1 }]\n"))
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		if _, err := compile("f", c); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Twenty reloads under load, one in three of them broken: no request is lost, no window, no count.
func TestReloadUnderLoad(t *testing.T) {
	f := newFileRig(t)
	f.rig.writes(wrote)
	f.reply(wrote, "pass", "window_open")
	f.reply(wrote, "pass", "window_open")
	var calls, odd atomic.Int64
	var bots sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		bots.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := f.call("GET", "/cgi-bin/externalcontact/get?external_userid=wmA", "")
				calls.Add(1)
				if a.StatusCode != 200 || a.Errcode != 0 && a.Gate.Rule != "no-customer-details" {
					odd.Add(1)
				}
			}
		})
	}
	for i := range 20 {
		more, status := passDetails, 200
		switch i % 3 {
		case 1:
			more = ""
		case 2:
			more, status = "accounts: 7\n", 422
		}
		f.writes(more)
		if a := f.reloads(); a.StatusCode != status {
			t.Errorf("reload %d: HTTP %d %s", i, a.StatusCode, a.body)
		}
	}
	close(stop)
	bots.Wait()
	if odd.Load() != 0 || calls.Load() < 20 {
		t.Errorf("%d of %d calls were answered oddly", odd.Load(), calls.Load())
	}
	if a := f.reply(wrote, "pass", "window_open"); a.Header.Get("Replygate-Replies-Left") != "2" {
		t.Errorf("replies left: %s", a.Header.Get("Replygate-Replies-Left"))
	}
}

// Every key is either live or needs a restart, and changes are found by content, not by line.
func TestChanges(t *testing.T) {
	parse := func(text string) *config.Config {
		t.Helper()
		c, err := config.Parse("test", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := "accounts: [{ corp_id: ww1 }]\npolicy: { rules: [{ name: r, action: pass }] }\n"
	if changed := parse(base).Changes(parse("# a remark\n\n" + base)); len(changed) != 0 {
		t.Errorf("a remark changes %v", changed)
	}
	for more, want := range map[string]string{
		"unlisted_account: pass\n":                            "[unlisted_account]",
		"limits: { judged_body: 2MB, streamed_body: 64MB }\n": "[limits.judged_body limits.streamed_body]",
		"redis: { password: other-secret }\n":                 "[redis.password]",
		"clients: [{ name: c, header: A, contains: b }]\n":    "[clients]",
	} {
		if changed := parse(base).Changes(parse(base + more)); fmt.Sprint(changed) != want {
			t.Errorf("%s changes %v", more, changed)
		}
	}
	if keys := config.NeedsRestart([]string{"limits.judged_body", "limits.streamed_body", "listen.api", "accounts", "listener"}); fmt.Sprint(keys) != "[limits.streamed_body listen.api]" {
		t.Errorf("%v", keys)
	}
}

// The accounts of accounts_file are reloaded with it, and its mistakes keep the accounts of before.
func TestReloadOfAccountsFile(t *testing.T) {
	t.Parallel()
	f := newFileRig(t)
	list := filepath.Join(t.TempDir(), "accounts.csv")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("corp_id,name,expires_at\nwwOne,One,2020-01-01T00:00:00Z\n")
	f.writes("accounts_file: " + list + "\n")
	accounts := func() string { return string(f.adminCall("GET", "/v1/accounts", "").body) }
	f.await("the first account of the list", func() bool { return strings.Contains(accounts(), "wwOne") })
	put("corp_id,name,expires_at\nwwOne,One,2020-01-01T00:00:00Z\nwwTwo,Two,\n")
	f.await("the second account of the list", func() bool { return strings.Contains(accounts(), "wwTwo") })
	put("corp_id,name,expires_at\nwwThree,Three,tomorrow\n")
	f.await("the mistake to be told", func() bool {
		return strings.Contains(f.log(), list+":2:15: ")
	})
	if got := accounts(); !strings.Contains(got, "wwTwo") || !strings.Contains(got, `"lapsed"`) || strings.Contains(got, "wwThree") {
		t.Errorf("after the mistake: %s", got)
	}
	var many strings.Builder
	many.WriteString("corp_id,contacts_total\n")
	for i := range 10_000 {
		fmt.Fprintf(&many, "wwMany%d,%d\n", i, i)
	}
	put(many.String())
	f.await("ten thousand accounts", func() bool { return len(f.gateway.accounts().All()) == 10_001 })
}

// Each mistake in a new file is logged. The same file again, and a reload that changes nothing, is
// logged once a minute.
func TestRepeatedReloadsAreLoggedOnceAMinute(t *testing.T) {
	f := newFileRig(t)
	const failed, done = `"msg":"the configuration could not be reloaded: the one before it stays in force"`, `"msg":"the configuration is reloaded"`
	for _, step := range []struct {
		more         string
		failed, done int // lines in all
	}{
		{"", 0, 1},
		{"first_mistake: 1\n", 2, 1}, // once as the file is new, once as it is there again
		{"second_mistake: 1\n", 3, 1},
		{passDetails, 3, 2},
		{"third_mistake: 1\n", 4, 2},
	} {
		f.writes(step.more)
		for range 10 {
			f.reloads()
		}
		log := f.log()
		if n, m := strings.Count(log, failed), strings.Count(log, done); n != step.failed || m != step.done {
			t.Errorf("after %q: %d lines of failures and %d of reloads, want %d and %d", step.more, n, m, step.failed, step.done)
		}
		if name, _, _ := strings.Cut(step.more, ":"); strings.HasSuffix(name, "_mistake") && !strings.Contains(log, name) {
			t.Errorf("no line has %s", name)
		}
	}
}
