package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// nobody is a customer who never wrote: the one whom a gateway refuses if it can prove that.
const nobody = "wmNobody"

// of is the rig with another gateway as its own.
func (r *rig) of(g *gateway) *rig {
	other := *r
	other.gateway = g
	return &other
}

// refuses reports whether a gateway refuses a customer who never wrote.
func (r *rig) refuses(g *gateway) bool {
	r.Helper()
	return r.callAt(g, "POST", sendMsg, replyTo(nobody)).Header.Get("Replygate-Reason") == "window_closed"
}

// allRefuse waits until every gateway refuses such a customer.
func (r *rig) allRefuse(gateways ...*gateway) {
	r.Helper()
	r.await("every gateway to refuse", func() bool {
		for _, g := range gateways {
			if !r.refuses(g) {
				return false
			}
		}
		return true
	})
}

// degraded returns the sentences in which the gateway's readiness says that it cannot refuse.
func (r *rig) degraded() []string {
	r.Helper()
	var ready struct{ Degraded []string }
	a := r.adminCall("GET", "/readyz", "")
	if err := json.Unmarshal(a.body, &ready); err != nil || a.StatusCode != http.StatusOK {
		r.Fatalf("readiness: HTTP %d %s", a.StatusCode, a.body)
	}
	return ready.Degraded
}

var degradedCause = regexp.MustCompile(`(?m)^replygate_degraded\{cause="(\w+)"\} 1$`)

// causes returns the causes that the gateway's metric has at 1.
func (r *rig) causes() (causes []string) {
	r.Helper()
	for _, m := range degradedCause.FindAllStringSubmatch(string(r.adminCall("GET", "/metrics", "").body), -1) {
		causes = append(causes, m[1])
	}
	return causes
}

// strictAndPrompt answers what is unsure at once, and sends none of it to WeCom.
func strictAndPrompt(change func(*config.Config)) func(*config.Config) {
	return strictly(func(c *config.Config) {
		c.Policy.UnsureWait = 0
		if change != nil {
			change(c)
		}
	})
}

// through is the configuration of a Redis that is reached by a wire.
func through(wire *storetest.Wire, redis config.Redis) config.Redis {
	redis.Addrs = []string{wire.Addr().String()}
	return redis
}

// ping returns the time that a PING takes over a wire: the shortest of three.
func ping(t *testing.T, wire *storetest.Wire) time.Duration {
	t.Helper()
	c, err := net.Dial("tcp", wire.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	replies, shortest := bufio.NewReader(c), time.Hour
	for range 3 {
		began := time.Now()
		if _, err := c.Write([]byte("PING\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := replies.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		shortest = min(shortest, time.Since(began))
	}
	return shortest
}

// A Redis that is far away, but within redis.timeout, is no outage: gateways refuse what they have
// to, from their start on and over new connections.
func TestDistantRedis(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ roundTrip, timeout time.Duration }{
		{110 * time.Millisecond, 300 * time.Millisecond},
		{250 * time.Millisecond, 500 * time.Millisecond},
	} {
		t.Run(test.roundTrip.String(), func(t *testing.T) {
			server := storetest.Start(t)
			wire := storetest.NewWire(t, server.Addr())
			redis := through(wire, server.Config())
			redis.Timeout = test.timeout
			r := newRig(t, redis, strictAndPrompt(nil))
			wire.Delay(test.roundTrip / 2)
			wire.Reset() // no connection is left from before
			took := ping(t, wire)
			t.Logf("a PING takes %s", took)
			if took < test.roundTrip || took > 2*test.roundTrip {
				t.Errorf("a PING takes %s, so this is no test of %s", took, test.roundTrip)
			}
			gateways := []*gateway{r.gateway, r.start(redis, strictAndPrompt(nil))}
			for _, g := range gateways {
				r.token = r.fetchToken(g)
			}
			r.allRefuse(gateways...)
			r.writes("wmFar")
			for _, g := range gateways {
				r.await("the customer's window", func() bool {
					a := r.callAt(g, "POST", sendMsg, replyTo("wmFar"))
					if a.Header.Get("Replygate-Reason") == "window_closed" {
						t.Fatalf("a customer who wrote: %s", a.body)
					}
					return a.Header.Get("Replygate-Reason") == "window_open"
				})
			}
			for n, g := range gateways {
				// A busy machine may hold renewals up for a while; a Redis that is too far away does always.
				settled := false
				for round := 0; round < 5 && !settled; round++ {
					settled = r.refusesSteadily(g)
				}
				if !settled {
					t.Errorf("gateway %d is unsure of refusals again and again; causes %q", n, r.of(g).causes())
				}
			}
		})
	}
}

// refusesSteadily reports whether a gateway refuses three quarters of some replies, and is degraded
// for no more than a quarter of them.
func (r *rig) refusesSteadily(g *gateway) bool {
	r.Helper()
	const asked = 20
	refused, undegraded := 0, 0
	for range asked {
		if r.refuses(g) {
			refused++
		}
		if says := r.of(g).degraded(); len(says) == 0 {
			undegraded++
		} else {
			r.Logf("it says %q", says)
		}
	}
	if refused < asked*3/4 || undegraded < asked*3/4 {
		r.Logf("it refused %d of %d, and was not degraded for %d of them", refused, asked, undegraded)
		return false
	}
	return true
}

// One that is too far away for redis.timeout is an outage, of which the gateway tells once, in each
// place where an operator looks.
func TestTooDistantRedis(t *testing.T) {
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	r := newRig(t, through(wire, faulty(t, server.Config())), strictAndPrompt(nil))
	r.allRefuse(r.gateway)
	if says, causes := r.degraded(), r.causes(); len(says)+len(causes) != 0 {
		t.Fatalf("degraded before: %q, %q", says, causes)
	}
	unsure, possible := r.logged("a message is missing are unsure"), r.logged("refusals are possible again")
	wire.Delay(400 * time.Millisecond)
	t.Logf("a PING takes %s", ping(t, wire))
	r.await("readiness to say that it is degraded", func() bool { return len(r.degraded()) > 0 })
	for range 20 {
		r.reply(nobody, "unsure", "store_unavailable")
	}
	says, causes := r.degraded(), r.causes()
	t.Logf("it says %q, causes %q", says, causes)
	if len(says) == 0 || len(causes) == 0 {
		t.Errorf("readiness says %q, and the metric has the causes %q", says, causes)
	}
	for _, sentence := range says {
		if len(strings.Fields(sentence)) < 5 {
			t.Errorf("%q is no sentence", sentence)
		}
	}
	if n := r.logged("a message is missing are unsure") - unsure; n != 1 {
		t.Errorf("the log tells it in %d lines", n)
	}
	wire.Heal()
	r.allRefuse(r.gateway)
	r.await("readiness to be as before", func() bool { return len(r.degraded())+len(r.causes()) == 0 })
	r.await("the log's line", func() bool { return r.logged("refusals are possible again") > possible })
	if n := r.logged("refusals are possible again") - possible; n != 1 {
		t.Errorf("the log tells the end in %d lines", n)
	}
}

// logged counts a text in the log.
func (r *rig) logged(text string) int {
	r.Helper()
	return strings.Count(r.log(), text)
}

// A gateway that is restarted while Redis is away loses no page: one whose token Redis knows is
// recorded once Redis is back, and one whose token nobody knows marks its channels. It marks no
// other history as incomplete.
func TestRestartWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(server *storetest.Server, wire *storetest.Wire) (back func()){
		"cut off": func(_ *storetest.Server, wire *storetest.Wire) func() { wire.Cut(); return wire.Heal },
		"frozen": func(server *storetest.Server, _ *storetest.Wire) func() {
			server.Signal(syscall.SIGSTOP)
			return func() { server.Signal(syscall.SIGCONT) }
		},
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, known=%v", name, known), func(t *testing.T) {
				server := storetest.Start(t)
				wire := storetest.NewWire(t, server.Addr())
				redis := faulty(t, server.Config())
				path := filepath.Join(t.TempDir(), "journal")
				change := twoCompanies(strictAndPrompt(nil))
				again := twoCompanies(strictAndPrompt(func(c *config.Config) { c.Journal.Path = path }))
				r := newRig(t, redis, change) // it stays
				restarted, stop := r.startApart(through(wire, redis), again)
				restarts := func() {
					t.Helper()
					if err := <-stop(); err != nil {
						t.Error(err)
					}
					restarted, stop = r.startApart(through(wire, redis), again)
				}
				defer func() {
					if err := <-stop(); err != nil {
						t.Error(err)
					}
				}()
				p := newPageRig(r.of(restarted)) // it learns the tokens
				p.incompleteAt(restarted)
				p.incompleteAt(r.gateway)
				r.await("the others to wait for it", func() bool { return !restarted.store.Journal.Stamped().IsZero() })

				back := away(server, wire)
				restarts()
				corp, where := corpID, channel
				if !known {
					corp, where = "", otherChannel
				}
				if known {
					p.platform.CustomerWroteAt(corp, where, "wmAway", "hello", p.clock.Now())
				}
				page := pageOf(wroteOn(where, "wmAway", p.clock.Now(), ""))
				p.pullAt(restarted, corp, `{"open_kfid":"`+where+`"}`, page)
				restarts() // what it knew of the page is in its journal
				back()

				p.gateway = restarted
				gap := func() string { return strings.TrimSpace(server.CLI("get", "rg:gap:"+where)) }
				if known {
					r.await("the message to be on record", func() bool {
						for _, g := range []*gateway{restarted, r.gateway} { // never refused, at any moment
							p.token = p.tokens[corpID]
							if a := p.callAt(g, "POST", sendMsg, replyTo("wmAway")); a.Header.Get("Replygate-Reason") == "window_closed" {
								t.Fatalf("a customer who wrote: %s", a.body)
							}
						}
						return strings.TrimSpace(server.CLI("hget", "rg:window:{"+corpID+":"+channel+":wmAway}", "last")) != ""
					})
				} else {
					r.await("the gap of the page's channel", func() bool { return gap() != "" })
				}
				for _, g := range []*gateway{restarted, r.gateway} {
					if known {
						p.says(g, corpID, channel, "wmAway", "window_open")
						p.incompleteAt(g)
					} else {
						p.incompleteAt(g, otherCorp+"/"+otherChannel)
					}
					for _, corp := range []string{corpID, otherCorp} { // a gap of one channel alone is not the corp's
						if a := p.of(g).adminCall("GET", "/v1/windows?corp_id="+corp, ""); !strings.Contains(string(a.body), `"incomplete":false`) {
							t.Errorf("the windows of %s: %s", corp, a.body)
						}
					}
				}
				if known && gap() != "" {
					t.Errorf("the channel has a gap at %s", gap())
				}
			})
		}
	}
}

// The first message of an outage waits until the gateway's lease has expired, those after it do
// not. From its acknowledgement on no gateway refuses its customer.
func TestFirstMessageOfAnOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		begin func(server *storetest.Server, wire *storetest.Wire)
		end   func(server *storetest.Server, wire *storetest.Wire)
	}{
		"killed":  {func(s *storetest.Server, _ *storetest.Wire) { s.Down() }, func(s *storetest.Server, _ *storetest.Wire) { s.Up() }},
		"frozen":  {func(s *storetest.Server, _ *storetest.Wire) { s.Signal(syscall.SIGSTOP) }, func(s *storetest.Server, _ *storetest.Wire) { s.Signal(syscall.SIGCONT) }},
		"hanging": {func(_ *storetest.Server, w *storetest.Wire) { w.Hang() }, func(_ *storetest.Server, w *storetest.Wire) { w.Heal() }},
		"cut":     {func(_ *storetest.Server, w *storetest.Wire) { w.Cut() }, func(_ *storetest.Server, w *storetest.Wire) { w.Heal() }},
	} {
		for _, by := range []string{"page", "callback"} {
			t.Run(name+", by "+by, func(t *testing.T) {
				server := storetest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
				wire := storetest.NewWire(t, server.Addr())
				redis := faulty(t, server.Config())
				r, _, app := callbackRig(t, through(wire, redis), strictAndPrompt(nil))
				other := r.start(redis, strictAndPrompt(nil))
				for _, g := range []*gateway{r.gateway, other} {
					r.token = r.fetchToken(g)
				}
				r.allRefuse(r.gateway, other)

				cursor := r.cursor()
				arrives := func(customer string) time.Duration {
					t.Helper()
					began := time.Now()
					if by == "callback" {
						r.delivers(app, event("customer_acquisition.customer_start_chat", corpID, customer, r.clock.Now(), false), http.StatusOK)
						return time.Since(began)
					}
					r.platform.CustomerWrites(corpID, channel, customer, "hello")
					began = time.Now()
					if a := r.call("POST", syncMsg, `{"open_kfid":"`+channel+`","cursor":"`+cursor+`"}`); a.Errcode != 0 {
						t.Fatalf("sync_msg: %s", a.body)
					}
					return time.Since(began)
				}
				where := map[string]string{"page": channel, "callback": ""}[by]
				reason := func(g *gateway, customer string) string {
					t.Helper()
					return r.foresees(g, where, customer)
				}
				test.begin(server, wire)
				first := arrives("wmFirst")
				for range 10 { // at the worst moment
					for _, g := range []*gateway{other, r.gateway} {
						if reason(g, "wmFirst") == "window_closed" {
							t.Error("a customer whose message was acknowledged is refused")
						}
					}
				}
				if r.gateway.store.Journal.Empty() {
					t.Error("the message is not in the journal")
				}
				if first > 5*time.Second {
					t.Errorf("the first message took %s", first)
				}
				prompt := 0
				var later []time.Duration
				for n := range 5 {
					took := arrives(fmt.Sprint("wmLater", n))
					if later = append(later, took.Round(time.Millisecond)); took < 5*redis.Timeout {
						prompt++
					}
				}
				t.Logf("the first message took %s, the later ones %s", first.Round(time.Millisecond), later)
				if prompt < 3 { // a busy machine may hold one up
					t.Errorf("later messages wait, too: %s", later)
				}
				test.end(server, wire)
				r.await("the journal to be in Redis", r.gateway.store.Journal.Empty)
				for _, customer := range []string{"wmFirst", "wmLater0", "wmLater4"} {
					for _, g := range []*gateway{other, r.gateway} {
						r.await(customer+" to be answered", func() bool {
							why := reason(g, customer)
							if why == "window_closed" {
								t.Fatalf("%s is refused", customer)
							}
							return why == "window_open"
						})
					}
				}
			})
		}
	}
}

// cursor pulls what there is and returns the next cursor.
func (r *rig) cursor() string {
	r.Helper()
	var page struct {
		Next string `json:"next_cursor"`
	}
	if a := r.sync(); json.Unmarshal(a.body, &page) != nil || page.Next == "" {
		r.Fatalf("no cursor: %s", a.body)
	}
	return page.Next
}

// foresees returns the reason that a preflight of a gateway gives for a reply to a customer. It
// counts no reply.
func (r *rig) foresees(g *gateway, channel, customer string) string {
	r.Helper()
	var out struct {
		Results []struct{ Reason string }
	}
	a := r.of(g).adminCall("POST", "/v1/preflight", fmt.Sprintf(`{"corp_id":%q,"calls":[{"channel":%q,"customer":%q}]}`, corpID, channel, customer))
	if err := json.Unmarshal(a.body, &out); err != nil || len(out.Results) != 1 {
		r.Fatalf("preflight: %s", a.body)
	}
	return out.Results[0].Reason
}

// journalRig is a gateway in the test's process and one in a process of its own, which a test can
// kill. The second reaches Redis by a wire.
type journalRig struct {
	*rig
	server *storetest.Server
	wire   *storetest.Wire
	api    string // of the second gateway
	start  func() (kill func())
}

func newJournalRig(t *testing.T) *journalRig {
	server := storetest.Start(t)
	k := &journalRig{server: server, wire: storetest.NewWire(t, server.Addr()), api: storetest.FreeAddr(t)}
	redis := faulty(t, server.Config())
	k.rig = newRig(t, redis, strictAndPrompt(nil))
	k.clock.Set(time.Now()) // the other goes by the machine's clock
	k.clock.Run()
	bin, err := builtGateway()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "replygate.yaml")
	text := fmt.Sprintf(`listen: { api: "%s", admin: "127.0.0.1:0" }
upstream: { url: "%s" }
redis: { mode: single, addrs: ["%s"], timeout: 300ms }
journal: { path: "%s/j" }
accounts: [{ corp_id: %s, subscription: { expires_at: 2020-01-01T00:00:00Z } }]
log: { level: error, decisions: "%[4]s/d" }
policy: { cold_start: refuse, unsure_wait: 0s }
`, k.api, k.upstream.URL, k.wire.Addr(), dir, corpID)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k.start = func() func() {
		t.Helper()
		cmd := exec.Command(bin, "serve", "-c", file)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		})
		t.Cleanup(kill)
		awaitListening(t, k.api)
		return kill
	}
	return k
}

// arrives has a customer write, and the second gateway acknowledge it in a page.
func (k *journalRig) arrives(customer string) {
	k.Helper()
	k.platform.CustomerWrites(corpID, channel, customer, "hello")
	if a := raw(k, k.api, request("POST", syncMsg+"?access_token="+k.token, `{"open_kfid":"`+channel+`"}`)); a.Errcode != 0 {
		k.Fatalf("sync_msg: %s", a.body)
	}
}

// neverRefuses has the first gateway judge replies to customers until the function that it returns
// is called.
func (k *journalRig) neverRefuses(customers ...string) (stop func()) {
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			customer := customers[n%len(customers)]
			if k.foresees(k.gateway, channel, customer) == "window_closed" {
				k.Errorf("%s, who wrote, is refused", customer)
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		asking.Wait()
	})
}

// unsureSoon waits until the first gateway is unsure, and wants it to be so soon.
func (k *journalRig) unsureSoon() {
	k.Helper()
	began := time.Now()
	k.await("the other gateway to be unsure", func() bool { return !k.refuses(k.gateway) })
	took := time.Since(began)
	k.Logf("unsure after %s; it says %q, causes %q", took.Round(time.Millisecond), k.degraded(), k.causes())
	if took > 5*2*time.Second {
		k.Errorf("unsure only after %s", took)
	}
	for range 20 {
		k.reply(nobody, "unsure", "store_unavailable")
	}
	if len(k.degraded()) == 0 {
		k.Error("readiness does not say why")
	}
}

// A gateway that is killed cannot leave, and may have acknowledged what no other knows: the others
// are unsure at once, until it is back with its journal.
func TestMemberKilled(t *testing.T) {
	t.Parallel()
	for name, journaled := range map[string]bool{"all is in Redis": false, "some is in its journal": true} {
		t.Run(name, func(t *testing.T) {
			k := newJournalRig(t)
			kill := k.start()
			k.token = tokenOf(k, raw(k, k.api, request("GET", "/cgi-bin/gettoken?corpid="+corpID+"&corpsecret="+secret, "")))
			k.await("both gateways to be members", func() bool { return strings.TrimSpace(k.server.CLI("hlen", "rg:members:{0}")) == "2" })
			k.allRefuse(k.gateway)
			k.arrives("wmRecorded")
			customers := []string{"wmRecorded"}
			if journaled {
				k.wire.Cut()
				k.arrives("wmJournaled")
				customers = append(customers, "wmJournaled")
			}
			stop := k.neverRefuses(customers...)
			defer stop()
			kill()
			k.unsureSoon()
			k.wire.Heal()
			k.reply("wmRecorded", "pass", "window_open")
			kill = k.start()
			for _, customer := range customers {
				k.await(customer+" to be answered", func() bool { return k.foresees(k.gateway, channel, customer) == "window_open" })
			}
			k.allRefuse(k.gateway)
			stop()
			kill()
			k.unsureSoon()
		})
	}
}
