package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/internal/recordtest"
)

const listHead = "corp_id,name,expires_at\n"

// listRig is a fileRig with an accounts_file. Together with the account of the configuration itself
// there are twelve, all lapsed.
type listRig struct {
	*fileRig
	list         string // the accounts_file
	passed, sent atomic.Int64
}

func heldCorp(i int) string { return fmt.Sprintf("wwHeld%d", i) }

// rows are the lines of some accounts of the list.
func rows(corps ...int) string {
	text := listHead
	for _, i := range corps {
		text += fmt.Sprintf("%s,Held %d,2020-01-01T00:00:00Z\n", heldCorp(i), i)
	}
	return text
}

var allEleven = rows(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)

func newListRig(t *testing.T) *listRig {
	l := &listRig{}
	l.fileRig = newFileRigWith(t, func(f *fileRig) {
		l.fileRig, l.list = f, filepath.Join(filepath.Dir(f.file), "accounts.csv")
		f.base = strings.Replace(f.base, "accounts:\n", "window: { replies: 0 }\naccounts_file: "+l.list+"\naccounts:\n", 1)
		l.lists(allEleven)
	})
	l.platform.Answer("/cgi-bin/kf/send_msg", func(w http.ResponseWriter, _ *http.Request) { // without WeCom's own limit
		l.sent.Add(1)
		fmt.Fprint(w, `{"errcode":0,"errmsg":"ok","msgid":"m"}`)
	})
	return l
}

// lists replaces the accounts_file, as mv does.
func (l *listRig) lists(text string) {
	l.Helper()
	if err := os.WriteFile(l.list+".new", []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
	if err := os.Rename(l.list+".new", l.list); err != nil {
		l.Fatal(err)
	}
}

// kfBot is a bot of one corp.
type kfBot struct{ corp, channel, token string }

// bot returns a bot whose customer wmOpen has written.
func (l *listRig) bot(corp, channel string) kfBot {
	l.Helper()
	l.platform.AddCorp(corp, "secret-of-"+corp, channel)
	token := tokenOf(l, raw(l, l.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid="+corp+"&corpsecret=secret-of-"+corp, "")))
	body := fmt.Sprintf(`{"inbound":[{"corp_id":%q,"channel":%q,"customer":"wmOpen","at":%q}]}`, corp, channel, l.clock.Now().Format(time.RFC3339))
	if a := l.adminCall("POST", "/v1/inbound", body); a.StatusCode != http.StatusOK {
		l.Fatalf("%s", a.body)
	}
	return kfBot{corp, channel, token}
}

// replies sends one reply and returns its verdict and reason.
func (l *listRig) replies(s kfBot, customer string) (string, answer) {
	l.Helper()
	body := fmt.Sprintf(`{"touser":%q,"open_kfid":%q,"msgtype":"text","text":{"content":"x"}}`, customer, s.channel)
	a := raw(l, l.gateway.api.Addr().String(), request("POST", "/cgi-bin/kf/send_msg?access_token="+s.token, body))
	if a.Errcode == 0 {
		l.passed.Add(1)
	}
	return a.Header.Get("Replygate-Verdict") + " " + a.Header.Get("Replygate-Reason"), a
}

// ready returns the body of /readyz.
func (f *fileRig) ready() string { return string(f.adminCall("GET", "/readyz", "").body) }

// metric reports whether /metrics has a line.
func (f *fileRig) metric(line string) bool {
	return strings.Contains(string(f.adminCall("GET", "/metrics", "").body), "\n"+line+"\n")
}

// reloaded is the answer of POST /v1/reload, of an error too.
type reloaded struct {
	status int
	admin.Reloaded
	admin.Failure
}

func (f *fileRig) tryReload(headers ...string) (r reloaded) {
	f.Helper()
	a := f.reloads(headers...)
	if err := json.Unmarshal(a.body, &r); err != nil {
		f.Fatalf("%s: %v", a.body, err)
	}
	r.status = a.StatusCode
	if r.Held != nil && a.Header.Get("ETag") != `"`+r.Held.Confirm+`"` {
		f.Errorf("ETag %s of %s", a.Header.Get("ETag"), a.body)
	}
	return r
}

// Bots send replies all the while that their gateway meets an export that failed, a reload that is
// held and then confirmed, the list coming back, and files that go away. Nothing is lost, and no
// reply is answered other than it should be.
func TestAccountsChangeUnderLoad(t *testing.T) {
	l := newListRig(t)
	kept := []kfBot{l.bot(heldCorp(0), "wkHeld0"), l.bot(heldCorp(1), "wkHeld1")}
	removed := l.bot(heldCorp(7), "wkHeld7")
	var asked, odd atomic.Int64
	var mayBeUnlisted atomic.Bool
	wants := func(s kfBot, customer string, want func(got string, a answer) bool) {
		got, a := l.replies(s, customer)
		asked.Add(1)
		if !want(got, a) {
			odd.Add(1)
			t.Errorf("%s to %s: %s: %s", s.corp, customer, got, a.body)
		}
	}
	stop := make(chan struct{})
	var bots sync.WaitGroup
	keeps := func(call func()) {
		bots.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					call()
				}
			}
		})
	}
	for _, s := range kept {
		keeps(func() {
			wants(s, "wmOpen", func(got string, a answer) bool { return got == "pass window_open" && a.Errcode == 0 })
		})
		keeps(func() {
			wants(s, "wmNever", func(got string, a answer) bool { return got == "refuse window_closed" && a.Errcode == 95002 })
		})
	}
	keeps(func() {
		unlisted := mayBeUnlisted.Load()
		wants(removed, "wmOpen", func(got string, a answer) bool {
			return got == "pass window_open" && a.Errcode == 0 || (unlisted || mayBeUnlisted.Load()) && a.Errcode == 48002
		})
	})

	l.failedExport()
	held := l.heldList()
	l.filesGoAway()
	mayBeUnlisted.Store(true)
	l.confirms(held, removed)
	l.comesBack(removed)

	close(stop)
	bots.Wait()
	if odd.Load() > 0 || asked.Load() < 50 || l.sent.Load() != l.passed.Load() {
		t.Errorf("%d of %d replies were answered oddly; %d passed, %d reached WeCom", odd.Load(), asked.Load(), l.passed.Load(), l.sent.Load())
	}
}

// failedExport: an accounts_file of a head line alone is an error, however it is noticed.
func (l *listRig) failedExport() {
	l.Helper()
	const mistake = ":1:1: accounts_file lists no account: write it again with its accounts, or leave accounts_file out"
	l.lists(listHead)
	if r := l.tryReload(); r.status != 422 || !strings.HasPrefix(r.Error.Message, l.list+mistake) {
		l.Errorf("%+v", r)
	}
	l.await("the stale configuration", func() bool { return strings.Contains(l.ready(), `"config_stale":true`) })
	l.lists(allEleven)
	l.await("its end", func() bool { return strings.Contains(l.ready(), `"config_stale":false`) })
	if n := len(l.gateway.accounts().All()); n != 12 {
		l.Errorf("%d accounts", n)
	}
}

// heldList: a list without ten of twelve accounts is held, and what changes with it.
func (l *listRig) heldList() admin.Held {
	l.Helper()
	l.writes(passDetails)
	l.lists(rows(0, 1))
	l.await("the held reload", func() bool { return strings.Contains(l.log(), `"msg":"a reload is held: `) })
	for _, want := range []string{`"accounts":"12 -> 3"`, `"removed":9`, `"names":["Held 2","Held 3","Held 4","Held 5","Held 6"]`, `"changed":["accounts","policy.rules"]`} {
		if !strings.Contains(l.log(), want) {
			l.Errorf("the log has no %s", want)
		}
	}
	r := l.tryReload()
	if r.status != 409 || r.Done || r.Error.Code != "held" || r.Held == nil {
		l.Fatalf("%+v", r)
	}
	h := *r.Held
	if !h.Already || h.Reason != account.Removed || h.Removed != 9 || h.Before != 12 || h.After != 3 || len(h.Names) != 5 || !strings.HasPrefix(h.Why, "12 -> 3 accounts: 9 would be removed: Held 2, ") {
		l.Errorf("%+v", h)
	}
	if ready := l.ready(); !strings.Contains(ready, `"config_problems":["a reload is held (12 -> 3 accounts): put the accounts back, or confirm it with replygate reload --yes"]`) || !strings.Contains(ready, `"config_stale":true`) {
		l.Error(ready)
	}
	if !l.metric("replygate_reload_held 1") || !l.metric("replygate_config_stale 1") {
		l.Error("the metrics do not tell of the held reload")
	}
	if l.details() {
		l.Error("the rules of a held reload hold")
	}
	return h
}

// filesGoAway: each file that cannot be read is told once, and so is its return.
func (l *listRig) filesGoAway() {
	l.Helper()
	for _, c := range []struct {
		key, file string
		back      func(data []byte) error
	}{
		{"accounts_file", l.list, func([]byte) error { return os.Rename(l.list+".away", l.list) }},
		{"the configuration's file", l.file, func(data []byte) error { return os.WriteFile(l.file, data, 0o600) }},
	} {
		data, err := os.ReadFile(c.file)
		if err != nil {
			l.Fatal(err)
		}
		before := strings.Count(l.log(), `"msg":"`+c.key)
		if err := os.Rename(c.file, c.file+".away"); err != nil {
			l.Fatal(err)
		}
		l.await(c.key+" to be missed", func() bool { return l.metric("replygate_config_files_unreadable 1") })
		if ready := l.ready(); !strings.Contains(ready, `"`+c.key+` cannot be read: no such file or directory: the configuration in force stays"`) {
			l.Error(ready)
		}
		if err := c.back(data); err != nil {
			l.Fatal(err)
		}
		l.await(c.key+" to be back", func() bool { return l.metric("replygate_config_files_unreadable 0") })
		if n := strings.Count(l.log(), `"msg":"`+c.key) - before; n != 2 {
			l.Errorf("%s: %d lines, want one when it went and one when it came back", c.key, n)
		}
	}
}

// confirms applies the held reload, which only its own tag does.
func (l *listRig) confirms(held admin.Held, removed kfBot) {
	l.Helper()
	l.lists(rows(0, 2))
	if r := l.tryReload(`If-Match: "` + held.Confirm + `"`); r.status != 412 || !strings.Contains(r.Error.Message, "have changed since the reload was held") {
		l.Errorf("other files: %+v", r)
	}
	l.lists(rows(0, 1))
	if r := l.tryReload(`If-Match: "held-0123456789abcdef"`); r.status != 412 {
		l.Errorf("another tag: %+v", r)
	}
	inForce, _ := l.gateway.version()
	if r := l.tryReload(`If-Match: "` + inForce + `"`); r.status != 409 {
		l.Errorf("the hash of what is in force confirms nothing: %+v", r)
	}
	if got, a := l.replies(removed, "wmNever"); got != "refuse window_closed" {
		l.Errorf("before the confirmation: %s: %s", got, a.body)
	}
	r := l.tryReload(`If-Match: "` + held.Confirm + `"`)
	if r.status != 200 || !r.Done || len(r.Warnings) == 0 || !strings.HasPrefix(r.Warnings[0], "12 -> 3 accounts") {
		l.Fatalf("%+v", r)
	}
	if got, a := l.replies(removed, "wmOpen"); a.Errcode != 48002 {
		l.Errorf("after the confirmation: %s: %s", got, a.body)
	}
	if !l.details() || !l.metric("replygate_reload_held 0") || strings.Contains(l.ready(), "config_problems") {
		l.Errorf("the confirmed reload does not hold: %s", l.ready())
	}
	last, found, err := account.ReadList(l.listFile())
	if !found || err != nil || len(last.Accounts) != 3 {
		l.Errorf("%+v %v %v", last, found, err)
	}
}

// comesBack: accounts that a reload adds have a gap of their own, the others have none.
func (l *listRig) comesBack(removed kfBot) {
	l.Helper()
	l.lists(allEleven)
	l.await("twelve accounts", func() bool { return len(l.gateway.accounts().All()) == 12 })
	l.await("the gap of what was added", func() bool {
		got, _ := l.replies(removed, "wmNever")
		return strings.HasSuffix(got, " history_incomplete")
	})
}

func (l *listRig) listFile() string {
	return account.ListPath(l.gateway.Config.Journal.Path)
}

// serves runs replygate serve until the returned function stops it, and returns its exit code. out
// is what it wrote.
func serves(t *testing.T, args ...string) (out *output, ended <-chan int, stop context.CancelFunc) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out = &output{check: recordtest.New(t)}
	done := make(chan int, 1)
	go func() { done <- run(ctx, append([]string{"serve"}, args...), streams{out: out, err: out}) }()
	t.Cleanup(stop)
	return out, done, stop
}

// A start that would remove most accounts of the last run does not serve until it is confirmed.
func TestStartIsHeld(t *testing.T) {
	dir := t.TempDir()
	file, list, last := filepath.Join(dir, "replygate.yaml"), filepath.Join(dir, "a.csv"), filepath.Join(dir, "j.accounts")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, fmt.Sprintf("listen: { api: 127.0.0.1:0, admin: 127.0.0.1:0 }\nredis: { snapshot: %q }\njournal: { path: %q }\nshutdown: { lame_duck: 0s, grace: 1s }\naccounts_file: %q\n",
		filepath.Join(dir, "s"), filepath.Join(dir, "j"), list))
	// runs starts a gateway and stops it once it serves, or awaits its end.
	runs := func(wantCode int, args ...string) string {
		t.Helper()
		out, ended, stop := serves(t, append(args, "-c", file)...)
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if strings.Contains(out.String(), `"msg":"serving"`) {
				stop()
			}
			select {
			case code := <-ended:
				if code != wantCode {
					t.Errorf("exit %d, want %d: %s", code, wantCode, out.String())
				}
				return out.String()
			default:
			}
			if time.Now().After(deadline) {
				t.Fatalf("the gateway does not end: %s", out.String())
			}
		}
	}
	listed := func(want int) {
		t.Helper()
		if l, _, err := account.ReadList(last); err != nil || len(l.Accounts) != want {
			t.Errorf("%d accounts are kept, want %d: %v", len(l.Accounts), want, err)
		}
	}
	write(list, allEleven)
	runs(exitGood)
	listed(11)
	write(list, listHead)
	if out := runs(exitBad); !strings.Contains(out, "accounts_file lists no account") {
		t.Error(out)
	}
	write(list, rows(3))
	checked := file + ":5:16: warning: a reload or a start with these accounts would be held: 11 -> 1 accounts: 10 would be removed: Held 0, Held 1, Held 2, Held 4, Held 5 and 5 more: put the accounts back, or confirm it: replygate reload --yes, at a start replygate serve --yes\n"
	if code, _, errs := cli(t, "check", "-c", file); code != exitGood || !strings.HasSuffix(errs, "\n"+checked) {
		t.Errorf("exit %d: %s", code, errs)
	}
	out := runs(exitBad)
	for _, want := range []string{"the start is held: 11 -> 1 accounts: 10 would be removed: Held 0, Held 1, Held 2, Held 4, Held 5 and 5 more\n", "replygate serve --yes -c " + file, last} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	listed(11)
	if out := runs(exitGood, "--yes"); !strings.Contains(out, `"msg":"a start that was held is confirmed","accounts":"11 -> 1","removed":10,`) {
		t.Error(out)
	}
	listed(1)
	write(last, "no list")
	if out := runs(exitGood); !strings.Contains(out, "the accounts of the last run cannot be read: this start is not compared with them") || !strings.Contains(out, last+" is no list of accounts") {
		t.Error(out)
	}
	listed(1)
}

// What holds a start depends on the accounts of the last run, and on the calls that depended on the
// only one.
func TestHoldStart(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	three := account.List{Accounts: []account.Listed{{CorpID: "wwA"}, {CorpID: "wwB"}, {CorpID: "wwC"}}}
	one := account.List{Accounts: []account.Listed{{CorpID: "wwA"}}, Alone: 5, AloneAt: now.Add(-time.Hour)}
	lapsed := account.List{Accounts: []account.Listed{{CorpID: "wwA", Lapses: 1}, {CorpID: "wwB", Lapses: 1}, {CorpID: "wwC", Lapses: 1}}}
	old := one
	old.AloneAt = now.Add(-25 * time.Hour)
	for name, test := range map[string]struct {
		last *account.List
		next string
		want string // "" if the start is not held
	}{
		"the first start":               {nil, "[{ corp_id: wwA }]", ""},
		"all three gone":                {&three, "[{ corp_id: wwD }]", "3 -> 1 accounts: 3 would be removed: wwA, wwB, wwC"},
		"two gone":                      {&three, "[{ corp_id: wwA }]", ""},
		"a second account":              {&one, "[{ corp_id: wwA }, { corp_id: wwB }]", "1 -> 2 accounts: 5 calls of the last day "},
		"another account":               {&one, "[{ corp_id: wwB }]", "1 -> 1 accounts: 5 calls of the last day "},
		"lapsed ones without dates":     {&lapsed, "[{ corp_id: wwA }, { corp_id: wwB }, { corp_id: wwC }]", "3 -> 3 accounts: by their dates 0 would lapse at once, and 3 would no longer be lapsed: wwA, wwB, wwC"},
		"the same account":              {&one, "[{ corp_id: wwA, name: A }]", ""},
		"a second one, calls are old":   {&old, "[{ corp_id: wwA }, { corp_id: wwB }]", ""},
		"a second one, unknown ones go": {&one, "[{ corp_id: wwA }, { corp_id: wwB }]\nunknown_token: wwA", ""},
		"unknown tokens are refused":    {&one, "[{ corp_id: wwA }]\nunknown_token: refuse", "1 -> 1 accounts: 5 calls of the last day "},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Parse("f", fmt.Appendf(nil, "journal: { path: %q }\naccounts: %s\n", filepath.Join(t.TempDir(), "j"), test.next))
			if err != nil {
				t.Fatal(err)
			}
			if test.last != nil {
				if err := test.last.Write(account.ListPath(c.Journal.Path)); err != nil {
					t.Fatal(err)
				}
			}
			set, err := compile("f", c)
			if err != nil {
				t.Fatal(err)
			}
			if found := set.heldWarning(now); (len(found) > 0) != (test.want != "") || len(found) > 0 && !strings.HasPrefix(found[0].Error(), "f:2:11: ") {
				t.Errorf("check warns of %v", found.texts())
			}
			switch err := holdStart(set, now); {
			case err == nil && test.want != "":
				t.Error("the start is not held")
			case err != nil && (test.want == "" || !strings.HasPrefix(err.Error(), "f: the start is held: "+test.want)):
				t.Error(err)
			}
		})
	}
}

// While calls depend on there being one account, a second one is held. The next start knows of them
// too.
func TestOnlyAccountEnds(t *testing.T) {
	f := newFileRig(t)
	second := strings.Replace(f.base, "accounts:\n", "accounts:\n  - { corp_id: wwSecond }\n", 1)
	first := f.base
	f.base = second
	f.writes("")
	if r := f.tryReload(); r.status != 200 {
		t.Errorf("no call depends on it: %+v", r)
	}
	f.base = first
	f.writes("")
	if r := f.tryReload(); r.status != 200 {
		t.Errorf("%+v", r)
	}
	f.token = "fetched-elsewhere"
	f.call("POST", "/cgi-bin/kf/send_msg", replyTo(wrote))
	f.await("the number to be kept", func() bool {
		last, _, err := account.ReadList(account.ListPath(f.gateway.Config.Journal.Path))
		return err == nil && last.Alone == 1 && last.AloneAt.Equal(f.clock.Now())
	})
	f.base = second
	f.writes("")
	r := f.tryReload()
	if r.status != 409 || r.Held == nil || r.Held.Reason != account.AloneEnds || r.Held.Removed != 0 || !strings.HasPrefix(r.Held.Why, "1 -> 2 accounts: 1 calls of the last day ") {
		t.Fatalf("%+v", r)
	}
	f.clock.Advance(25 * time.Hour)
	if r := f.tryReload(); r.status != 200 || strings.Contains(fmt.Sprint(r.Warnings), "calls of the last day") {
		t.Errorf("a day later: %+v", r)
	}
}
