package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/calls"
	"replygate/config"
	"replygate/record"
	"replygate/store/storetest"
)

var (
	sizeAccounts = flag.Int("size.accounts", 1000, "accounts that TestPagesAtSize seeds; 10000 is a large provider")
	sizeWindows  = flag.Int("size.windows", 20_000, "windows that TestPagesAtSize seeds, of which one in twenty waits; 500000 is a large provider")
)

// The goals for a page.
const (
	pageTime  = 100 * time.Millisecond
	pageBytes = 200 << 10
)

// spy notes the commands that requests to the admin listener send to Redis.
type spy struct {
	mu   sync.Mutex
	sent map[string]int
}

func (s *spy) note(ctx context.Context, cmds ...redis.Cmder) {
	if ctx.Value(http.ServerContextKey) == nil { // of the gateway itself
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cmds {
		s.sent[c.Name()]++
	}
}

// take returns the commands since the last call.
func (s *spy) take() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = map[string]int{}
	return sent
}

func (s *spy) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *spy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.note(ctx, cmd)
		return next(ctx, cmd)
	}
}

func (s *spy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.note(ctx, cmds...)
		return next(ctx, cmds)
	}
}

// processorTime is the time that this process has computed.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func sizeCorp(i int) string { return fmt.Sprintf("ww%016d", i) }

// sizeAccount is the i-th account: every standing, 20 accounts to an entity, 200 in the first.
func sizeAccount(i int, now time.Time) config.Account {
	entity := fmt.Sprintf("entity %d", max(i-200, 0)/20)
	bought := 5000 + i%7*1000
	return config.Account{
		CorpID: sizeCorp(i), Name: fmt.Sprintf("第 %d 号企业", i), Entity: entity,
		Subscription: &config.Subscription{ExpiresAt: now.Add(time.Duration(i%400-20) * 24 * time.Hour), Grace: 72 * time.Hour},
		Contacts:     &config.Contacts{Free: config.DefaultContactsFree, Purchased: &bought},
	}
}

func sizeMember(i int) (channel, customer string) {
	return "wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw", fmt.Sprintf("wmAJ2GCAAA%022d", i)
}

// seed fills Redis and the memory of the rig's gateway.
func (r *rig) seed() {
	r.Helper()
	g, now, p := r.gateway, r.clock.Now(), r.gateway.store.Pipeline()
	send := func(most int) {
		if p.Len() <= most {
			return
		}
		if _, err := p.Exec(r.Context()); err != nil {
			r.Fatal(err)
		}
	}
	for i := range *sizeWindows {
		corp := sizeCorp(i % *sizeAccounts)
		channel, customer := sizeMember(i)
		last := now.Add(-time.Duration(i%172_000) * time.Second).UnixMilli()
		key, place := "rg:window:{"+corp+":"+channel+":"+customer+"}", redis.Z{Score: float64(last), Member: channel + ":" + customer}
		p.HSet(r.Context(), key, "last", last)
		p.ZAdd(r.Context(), "rg:recent:{"+corp+"}", place)
		if rand.N(20) == 0 {
			p.ZAdd(r.Context(), "rg:waiting:{"+corp+"}", place)
			p.SAdd(r.Context(), "rg:waiting-corps", corp)
		} else {
			p.HSet(r.Context(), key, "answered", last)
		}
		send(1_000)
	}
	for i := range *sizeAccounts {
		key := "rg:contacts:{" + sizeCorp(i) + "}"
		for day := range 35 {
			at := now.AddDate(0, 0, -day)
			p.HSet(r.Context(), key, at.Format(time.DateOnly), 6000+i%3000-day*(i%5))
		}
		p.HSet(r.Context(), key+":count", "as_of", now.UnixMilli(), "total", 6000+i%3000, "customers", 0, "source", "metered")
		send(1_000)
		for j, path := range []string{pathReply, pathSync, "/cgi-bin/externalcontact/get", "/cgi-bin/externalcontact/add_msg_template"} {
			g.calls.Count(now, calls.Call{Corp: sizeCorp(i), Path: path, Client: config.UnknownClient}, calls.Outcome(j%2))
		}
	}
	send(0)
	ring := g.logs.recent.Through(g.logs.listed.Through(io.Discard))
	for i := range 50_000 {
		at := now.Add(time.Duration(i-50_000) * time.Second)
		_, customer := sizeMember(i)
		line := fmt.Sprintf(`{"level":"info","time":%q,"msg":"decision","id":%q,"at":%[1]q,"corp_id":%q,"account":"第 %[4]d 号企业","standing":"lapsed","endpoint":"/cgi-bin/kf/send_msg",`+
			`"capability":"kf_reply","verdict":"refuse","reason":"window_closed","rule":"reply-inside-the-window","forwarded":false,"errcode":95002,"msgtype":"text","recipients":1,"customers":[%q],"remote":"127.0.0.1","user_agent":"bot"}`+"\n",
			at.UTC().Format("2006-01-02T15:04:05.000Z"), record.NewID(at), sizeCorp(i%*sizeAccounts), i%*sizeAccounts, customer)
		if _, err := io.WriteString(ring, line); err != nil {
			r.Fatal(err)
		}
	}
	err := errors.Join(g.calls.Flush(r.Context()), g.calls.Refresh(r.Context()), g.windows.Sum(r.Context()), g.contacts.observer.Refresh(r.Context(), now))
	if err != nil {
		r.Fatal(err)
	}
}

// Each page of the console is small and quick over many accounts and windows, and no look at one
// scans Redis or runs a script. With the flags of its size, -v tells what each page takes.
func TestPagesAtSize(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: seeding takes seconds")
	}
	r := newRig(t, storetest.Start(t).Config(), func(c *config.Config) {
		c.Console.Index = config.IndexAll
		for i := range *sizeAccounts {
			c.Accounts = append(c.Accounts, sizeAccount(i, time.Now()))
		}
	})
	watch := &spy{sent: map[string]int{}}
	r.gateway.store.AddHook(watch)
	began := time.Now()
	r.seed()
	t.Logf("%d accounts and %d windows, seeded in %v", *sizeAccounts, *sizeWindows, time.Since(began))
	var closing struct {
		Untold []struct{ Why string }
	}
	if err := json.Unmarshal(r.adminCall("GET", "/v1/closing?limit=1", "").body, &closing); err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d accounts it cannot be told who waits: %v", len(closing.Untold), closing.Untold[:min(len(closing.Untold), 1)])
	corp := sizeCorp(*sizeAccounts / 2)
	channel, customer := sizeMember(*sizeAccounts / 2)
	for _, path := range []string{
		"", "closing", "closing?within=all", "accounts", "accounts?sort=-waiting", "accounts?q=77", "accounts/" + corp, "contacts", "contacts?sort=name", "entities/entity%200", "rehearsal", "rehearsal?corp_id=" + corp,
		"windows", "windows?corp_id=" + corp, "windows?corp_id=" + corp + "&channel=" + channel + "&customer=" + customer,
		"decisions", "decisions?corp_id=" + corp, "decisions/" + r.newestDecision(""), "rules", "health", "settings",
	} {
		var took []time.Duration
		size, status, worked := 0, 0, processorTime(t)
		for range 5 {
			began := time.Now()
			res, err := http.Get("http://" + r.gateway.control.Addr().String() + "/console/" + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			took, size, status = append(took, time.Since(began)), len(body), res.StatusCode
		}
		slices.Sort(took)
		sent := watch.take()
		t.Logf("%-60s median %v, most %v, processor %v, %d KB, Redis in five %v", strings.ReplaceAll(path, customer, "CUSTOMER"),
			took[2].Round(100*time.Microsecond), took[4].Round(100*time.Microsecond), ((processorTime(t) - worked) / 5).Round(100*time.Microsecond), size>>10, sent)
		if status != http.StatusOK || took[2] > 5*pageTime || size > pageBytes {
			t.Errorf("%q: HTTP %d, %v, %d bytes", path, status, took[2], size)
		}
		for name := range sent {
			if name == "keys" || strings.HasSuffix(name, "scan") || strings.HasPrefix(name, "eval") || strings.HasPrefix(name, "fcall") {
				t.Errorf("%q sends %s", path, name)
			}
		}
	}
}

// A gateway's process over many accounts and windows starts, reloads, is scraped and lists. With
// the flags of its size, -v tells what each takes.
func TestProcessAtSize(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: seeding takes seconds")
	}
	server := storetest.Start(t)
	r := newRig(t, server.Config(), func(c *config.Config) { c.Console.Index = config.IndexAll })
	r.seed()
	n := r.node(server.Addr(), newBot(t).URL)
	accounts := make([]config.Account, *sizeAccounts+1)
	for i := range accounts {
		accounts[i] = sizeAccount(i, r.clock.Now())
	}
	n.add(accounts[1:]...)
	call := func(method, path, body string) answer {
		return raw(r, n.admin, strings.Replace(request(method, path, body, "Content-Type: application/json"), "Host: gateway", "Host: localhost", 1))
	}
	for _, start := range []string{"for the first time", "again"} {
		n.leave()
		began := time.Now()
		n.up()
		n.await("readiness", func() bool { return call("GET", "/readyz", "").StatusCode == http.StatusOK })
		t.Logf("%d accounts and %d windows: ready %s in %v", *sizeAccounts, *sizeWindows, start, time.Since(began).Round(time.Millisecond))
	}
	newest := sizeCorp(0)
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/metrics", "", "replygate_accounts"},
		{"GET", "/metrics", "", "replygate_accounts"},
		{"GET", "/v1/accounts", "", sizeCorp(1)},
		{"GET", "/v1/windows", "", "wmAJ2GCAAA"},
		{"GET", "/v1/closing", "", "wmAJ2GCAAA"},
		{"POST", "/v1/reload", "{}", ""},
		{"GET", "/v1/accounts?q=" + newest, "", newest},
	} {
		if c.method == "POST" {
			n.add(accounts[0])
		}
		began := time.Now()
		a := call(c.method, c.path, c.body)
		t.Logf("%s %s: %v, %d KB", c.method, c.path, time.Since(began).Round(100*time.Microsecond), len(a.body)>>10)
		if a.StatusCode != http.StatusOK || !bytes.Contains(a.body, []byte(c.want)) {
			t.Errorf("%s %s: HTTP %d without %q: %.300s", c.method, c.path, a.StatusCode, c.want, a.body)
		}
	}
	t.Log(residentMemory(n.cmd.Process.Pid))
}

// add adds accounts to the node's configuration.
func (n *node) add(accounts ...config.Account) {
	n.Helper()
	text, err := os.ReadFile(n.file)
	if err != nil {
		n.Fatal(err)
	}
	all := "accounts: ["
	for _, a := range accounts {
		all += fmt.Sprintf("{ corp_id: %s, name: %q, entity: %q, subscription: { expires_at: %s } },\n  ", a.CorpID, a.Name, a.Entity, a.Subscription.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if err := os.WriteFile(n.file, []byte(strings.Replace(string(text), "accounts: [", all, 1)), 0o600); err != nil {
		n.Fatal(err)
	}
}

// residentMemory is what Linux says of a process's memory, "" elsewhere.
func residentMemory(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	var all []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmHWM:") {
			all = append(all, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(all, ", ")
}
