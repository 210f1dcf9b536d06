package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store/storetest"
	"replygate/window"
)

// traffic is the steady work of several bots through two gateways, of which the truth is known: who
// wrote, what of it was acknowledged, and which replies may go.
type traffic struct {
	*rig
	gateways []*gateway
	client   *http.Client

	mu           sync.Mutex
	acknowledged map[string]int64 // unix s of the newest message that a page through a gateway held
	wrong        map[string]int
	examples     []string
	calls        atomic.Int64
	refused      atomic.Int64 // connections refused: a balancer would take the other one
}

// The wrongs that are counted. All must be 0.
const (
	leak         = "a restricted call reached WeCom"
	falseRefusal = "a reply inside the window was refused"
	oddAnswer    = "an answer is not in WeCom's shape"
	lostInbound  = "a message that was acknowledged is not on record"
	duplicate    = "a message was sent twice"
)

// strictly sends nothing to WeCom that is unsure, so that whatever passes is a leak: by default
// WeCom itself keeps the window of a kf reply that cannot be judged for a moment.
func strictly(change func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		c.Policy.ColdStart = config.Refuse
		if change != nil {
			change(c)
		}
	}
}

// newTraffic starts two gateways on one Redis and warms them: both know the bots' token.
func newTraffic(t *testing.T, redis config.Redis, change func(*config.Config)) *traffic {
	own := change
	change = strictly(func(c *config.Config) {
		c.Policy.UnsureWait = 500 * time.Millisecond // what waits is no traffic
		if own != nil {
			own(c)
		}
	})
	r := newRig(t, redis, change)
	r.clock.Run()
	second := r.start(redis, change)
	l := &traffic{
		rig: r, gateways: []*gateway{r.gateway, second}, acknowledged: map[string]int64{}, wrong: map[string]int{},
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	t.Cleanup(l.client.CloseIdleConnections)
	for _, g := range l.gateways {
		r.token = r.fetchToken(g)
	}
	return l
}

func (l *traffic) count(wrong, example string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong[wrong]++
	if len(l.examples) < 10 {
		l.examples = append(l.examples, wrong+": "+example)
	}
}

// run lets bots work while body breaks things, and then checks all that must hold.
func (l *traffic) run(body func()) {
	l.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var bots sync.WaitGroup
	for i := range 6 {
		bots.Go(func() { l.bot(ctx, i) })
	}
	body()
	stop()
	bots.Wait()
	l.settleDown()
	l.check()
}

// settleDown waits until no gateway is degraded.
func (l *traffic) settleDown() {
	l.Helper()
	for _, g := range l.gateways {
		l.await("the store to be up", g.store.Up)
		l.await("the journal to be written", func() bool { return g.store.Embedded != nil || g.store.Journal.Empty() })
		l.await("the gateways to recover", func() bool { return len(g.windows.Status().Causes) == 0 })
	}
}

func (l *traffic) check() {
	l.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for customer, at := range l.acknowledged {
		var last int64
		l.await("redis to answer", func() bool { // it writes every change to the disk, and at times that takes long
			e, found, err := l.gateways[0].windows.Show(context.Background(), window.Key{Corp: corpID, Channel: channel, Customer: customer})
			if found {
				last = e.Window.Last
			}
			return err == nil
		})
		if last < at*1000 {
			l.wrong[lostInbound]++
		}
	}
	texts := map[string]int{}
	for _, c := range l.platform.Calls() {
		switch {
		case strings.HasPrefix(c.Path, "/cgi-bin/externalcontact/"), strings.Contains(string(c.Body), "wmNever"):
			l.wrong[leak]++
		case c.Path == "/cgi-bin/kf/send_msg":
			if texts[string(c.Body)]++; texts[string(c.Body)] > 1 {
				l.wrong[duplicate]++
			}
		}
	}
	for _, wrong := range []string{leak, falseRefusal, oddAnswer, lostInbound, duplicate} {
		if n := l.wrong[wrong]; n != 0 {
			l.Errorf("%d times: %s", n, wrong)
		}
	}
	for _, e := range l.examples {
		l.Log(e)
	}
	l.Logf("%d calls, %d messages acknowledged, %d replies at WeCom", l.calls.Load(), len(l.acknowledged), len(texts))
	if len(l.acknowledged) < 10 || len(texts) < 10 {
		l.Error("hardly anything happened: the test shows nothing")
	}
}

// bot has customers write, pulls, replies, and tries what it may not.
func (l *traffic) bot(ctx context.Context, number int) {
	cursor := ""
	for n := 0; ctx.Err() == nil; n++ {
		customer := fmt.Sprintf("wmLoad%dx%d", number, n)
		l.platform.CustomerWrites(corpID, channel, customer, "hello")
		cursor = l.pull(n, cursor)
		l.mu.Lock()
		_, known := l.acknowledged[customer]
		l.mu.Unlock()
		for i := range 2 {
			l.tryReply(n+i, customer, fmt.Sprintf("%s reply %d", customer, i), known)
		}
		l.tryReply(n, fmt.Sprintf("wmNever%dx%d", number, n), "never", false)
		l.tryGroup(n)
	}
}

// post makes one call through one of the gateways. ok is false where no gateway took the
// connection.
func (l *traffic) post(n int, path, body string) (status int, header http.Header, answer []byte, ok bool) {
	for i := range 2 * len(l.gateways) {
		l.mu.Lock()
		g := l.gateways[(n+i)%len(l.gateways)]
		l.mu.Unlock()
		url := "http://" + g.api.Addr().String() + path + "?access_token=" + l.token
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			l.Error(err)
			return 0, nil, nil, false
		}
		req.GetBody = nil // never again by itself
		req.Header.Set("Content-Type", "application/json")
		resp, err := l.client.Do(req)
		if err != nil {
			if strings.Contains(err.Error(), "connection refused") {
				l.refused.Add(1)
				continue
			}
			l.count(oddAnswer, fmt.Sprintf("%s: %v", path, err))
			return 0, nil, nil, false
		}
		answer, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			l.count(oddAnswer, fmt.Sprintf("%s: %v", path, err))
			return 0, nil, nil, false
		}
		l.calls.Add(1)
		var shape struct{ Errcode *int }
		if json.Unmarshal(answer, &shape) != nil || shape.Errcode == nil {
			l.count(oddAnswer, fmt.Sprintf("%s: HTTP %d %.100s", path, resp.StatusCode, answer))
		}
		return resp.StatusCode, resp.Header, answer, true
	}
	return 0, nil, nil, false
}

// pull pulls what is new and returns the next cursor.
func (l *traffic) pull(n int, cursor string) string {
	body, _ := json.Marshal(map[string]any{"open_kfid": channel, "cursor": cursor})
	status, _, answer, ok := l.post(n, "/cgi-bin/kf/sync_msg", string(body))
	var page struct {
		Errcode int    `json:"errcode"`
		Next    string `json:"next_cursor"`
		List    []struct {
			Customer string `json:"external_userid"`
			At       int64  `json:"send_time"`
		} `json:"msg_list"`
	}
	if !ok || status != http.StatusOK || json.Unmarshal(answer, &page) != nil || page.Errcode != 0 {
		return cursor
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range page.List {
		l.acknowledged[m.Customer] = max(l.acknowledged[m.Customer], m.At)
	}
	return page.Next
}

func (l *traffic) tryReply(n int, customer, text string, known bool) {
	body, _ := json.Marshal(map[string]any{"touser": customer, "open_kfid": channel, "msgtype": "text", "text": map[string]string{"content": text}})
	_, header, answer, ok := l.post(n, "/cgi-bin/kf/send_msg", string(body))
	if ok && known && header.Get("Replygate-Verdict") == "refuse" {
		l.count(falseRefusal, string(answer))
	}
}

func (l *traffic) tryGroup(n int) {
	l.post(n, "/cgi-bin/externalcontact/add_msg_template", `{"external_userid":["wm1"],"text":{"content":"sale"}}`)
}

// lasts is how long a fault lasts, and how long traffic flows before and after it.
const lasts = time.Second

func faulty(t *testing.T, redis config.Redis) config.Redis {
	redis.Timeout = 300 * time.Millisecond
	return redis
}

// Redis goes away in every way it can, under traffic.
func TestFaultsOfRedis(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, server *storetest.Server, wire *storetest.Wire){
		"killed and started again": func(_ *testing.T, server *storetest.Server, _ *storetest.Wire) {
			server.Down()
			time.Sleep(lasts)
			server.Up()
		},
		"frozen": func(_ *testing.T, server *storetest.Server, _ *storetest.Wire) {
			server.Signal(syscall.SIGSTOP)
			time.Sleep(lasts)
			server.Signal(syscall.SIGCONT)
		},
		"reset again and again": func(_ *testing.T, _ *storetest.Server, wire *storetest.Wire) {
			for range 20 {
				wire.Reset()
				time.Sleep(lasts / 20)
			}
		},
		"hanging": func(_ *testing.T, _ *storetest.Server, wire *storetest.Wire) {
			wire.Hang()
			time.Sleep(lasts)
			wire.Heal()
		},
		"slow": func(_ *testing.T, _ *storetest.Server, wire *storetest.Wire) {
			wire.Delay(40 * time.Millisecond)
			time.Sleep(lasts)
			wire.Heal()
		},
		"scripts flushed": func(_ *testing.T, server *storetest.Server, _ *storetest.Wire) {
			for range 10 {
				server.CLI("script", "flush")
				time.Sleep(lasts / 10)
			}
		},
		"full": func(_ *testing.T, server *storetest.Server, _ *storetest.Wire) {
			server.CLI("config", "set", "maxmemory", "1")
			time.Sleep(lasts)
			server.CLI("config", "set", "maxmemory", "0")
		},
		"read-only": func(_ *testing.T, server *storetest.Server, _ *storetest.Wire) {
			server.CLI("replicaof", "127.0.0.1", "1")
			time.Sleep(lasts)
			server.CLI("replicaof", "no", "one")
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := storetest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			wire := storetest.NewWire(t, server.Addr())
			redis := server.Config()
			redis.Addrs = []string{wire.Addr().String()}
			l := newTraffic(t, faulty(t, redis), nil)
			l.run(func() {
				time.Sleep(lasts)
				fault(t, server, wire)
				time.Sleep(lasts)
			})
		})
	}
}

// wiredRig is a rig with a second gateway, which reaches Redis by a wire of its own; they trust
// each other. refuses tells whether the first refuses a customer who never wrote.
func wiredRig(t *testing.T) (r *rig, second *gateway, wire *storetest.Wire, refuses func() bool) {
	t.Helper()
	server := storetest.Start(t)
	wire = storetest.NewWire(t, server.Addr())
	own := faulty(t, server.Config())
	apart := own
	apart.Addrs = []string{wire.Addr().String()}
	r = newRig(t, own, nil)
	second = r.start(apart, nil)
	r.token = r.fetchToken(second)
	r.acquainted(r.gateway, 2)
	r.platform.CustomerWrites(corpID, channel, "wmFirst", "hello")
	r.callAt(second, "POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"`+channel+`"}`) // it waits until the second counts as a member
	refuses = func() bool {
		return r.call("POST", "/cgi-bin/kf/send_msg", replyTo("wmStranger")).Header.Get("Replygate-Reason") == "window_closed"
	}
	r.await("the gateways to trust each other", refuses)
	return r, second, wire, refuses
}

// A gateway that alone cannot reach Redis keeps what it acknowledges in its journal. It cannot tell
// the others, but what they would refuse is unsure until it is back.
func TestOneGatewayCutOff(t *testing.T) {
	r, cutOff, wire, refuses := wiredRig(t)
	r.platform.CustomerWrites(corpID, channel, "wmCutOff", "hello")
	wire.Cut()
	wire.Reset()
	if a := r.callAt(cutOff, "POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"`+channel+`"}`); a.Errcode != 0 || cutOff.store.Journal.Empty() {
		t.Fatalf("the page did not go into the journal: %s", a.body)
	}
	r.reply("wmCutOff", "unsure", "store_unavailable")
	time.Sleep(lasts) // it stays so
	r.reply("wmCutOff", "unsure", "store_unavailable")

	wire.Heal()
	r.await("the journal to be in Redis", cutOff.store.Journal.Empty)
	r.reply("wmCutOff", "pass", "window_open")
	r.await("the first to refuse again", refuses)
}

// A token that a bot fetched through a gateway which could not reach Redis is known to the other
// gateways once it can: the bot need not fetch it again.
func TestTokenFetchedWhileCutOff(t *testing.T) {
	r, cutOff, wire, _ := wiredRig(t)
	r.platform.Invalidate(corpID)
	wire.Cut()
	wire.Reset()
	token := r.fetchToken(cutOff)
	if corp, owner, _ := r.gateway.handler.Tokens.Owner(t.Context(), token); owner != account.Unknown {
		t.Fatalf("the other gateway knows it as %q's already", corp)
	}
	wire.Heal()
	r.await("the other gateway to know the token", func() bool {
		corp, _, _ := r.gateway.handler.Tokens.Owner(t.Context(), token)
		return corp == corpID
	})
}

// What such a gateway said while nothing came through to Redis arrives late, once something does:
// nobody may take it for news.
func TestLateWordOfAGatewayCutOff(t *testing.T) {
	r, cutOff, wire, _ := wiredRig(t)
	for n := range 5 {
		customer := fmt.Sprint("wmLate", n)
		wire.Hang()
		time.Sleep(500 * time.Millisecond) // words are on their way
		r.platform.CustomerWrites(corpID, channel, customer, "hello")
		if a := r.callAt(cutOff, "POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"`+channel+`"}`); a.Errcode != 0 || cutOff.store.Journal.Empty() {
			t.Fatalf("the page did not go into the journal: %s", a.body)
		}
		r.reply(customer, "unsure", "store_unavailable")
		wire.Heal()
		r.await("the customer to be answered", func() bool {
			verdict := r.call("POST", "/cgi-bin/kf/send_msg", replyTo(customer)).Header.Get("Replygate-Verdict")
			if verdict == "refuse" {
				t.Fatal("a customer who wrote was refused")
			}
			return verdict == "pass"
		})
	}
}

// What a hanging Redis was asked for calls that were answered long ago, it must not do when it goes
// on: no reply counts that was not sent, and no code that no message went out with.
func TestLateReservations(t *testing.T) {
	t.Parallel()
	t.Run("single", func(t *testing.T) {
		server := storetest.Start(t)
		lateReservations(t, faulty(t, server.Config()), server)
	})
	t.Run("cluster", func(t *testing.T) {
		redis, nodes := storetest.StartCluster(t, 0)
		lateReservations(t, faulty(t, redis), nodes...)
	})
}

func lateReservations(t *testing.T, redis config.Redis, servers ...*storetest.Server) {
	signal := func(s os.Signal) {
		for _, server := range servers {
			server.Signal(s)
		}
	}
	r := newRig(t, redis, nil)
	other := r.start(redis, waitFor(time.Second))
	r.token = r.fetchToken(r.gateway)
	r.acquainted(r.gateway, 2)
	r.callAt(other, "POST", sendMsg, replyTo("wmStranger")) // it learns the token
	for n := range 4 {
		customer := fmt.Sprint("wmLate", n)
		code := r.platform.CustomerEnters(corpID, channel, customer)
		r.writes(customer)
		signal(syscall.SIGSTOP)
		var asked sync.WaitGroup
		for n := range 12 { // at once, each on a connection of its own
			asked.Go(func() {
				target, body := sendMsg, replyTo(customer)
				if n%2 == 0 {
					target, body = sendOnEvent, onEventWith(code)
				}
				if a := r.callAt(other, "POST", target, body); a.Header.Get("Replygate-Verdict") != "unsure" {
					t.Errorf("while Redis hangs: %s", a.body)
				}
			})
		}
		asked.Wait()
		signal(syscall.SIGCONT)
		// Of a customer whose own reply comes too late now, Redis may have counted that one.
		r.await("Redis to answer in time", func() bool {
			return r.callAt(other, "POST", sendMsg, replyTo("wmStranger")).Header.Get("Replygate-Reason") != "store_unavailable"
		})
		r.await("the customer to be answered", func() bool {
			a := r.callAt(other, "POST", sendMsg, replyTo(customer))
			if a.Header.Get("Replygate-Verdict") == "unsure" {
				return false
			}
			if left := a.Header.Get("Replygate-Replies-Left"); left != "4" {
				t.Errorf("%s replies are left: %s", left, a.body)
			}
			return true
		})
		r.onEvent(code, "pass", "code_live")
	}
}

// A failover, planned or not, loses nothing: what the new master did not get is written again.
func TestFailover(t *testing.T) {
	t.Parallel()
	for _, planned := range []bool{true, false} {
		t.Run(fmt.Sprintf("planned=%v", planned), func(t *testing.T) {
			redis, master, replica, sentinel := storetest.StartSentinel(t)
			l := newTraffic(t, faulty(t, redis), nil)
			l.run(func() {
				time.Sleep(lasts)
				if planned {
					sentinel.CLI("sentinel", "failover", "mymaster")
				} else {
					master.Down()
				}
				replica.Await("role:master", "info", "replication")
				time.Sleep(3 * lasts)
			})
			l.unlisted()
		})
	}
}

// unlisted checks that no customer is listed as waiting to whom a reply went.
func (l *traffic) unlisted() {
	l.Helper()
	answered := map[string]bool{}
	for _, c := range l.platform.Calls() {
		var body struct{ ToUser string }
		if c.Path == "/cgi-bin/kf/send_msg" && json.Unmarshal(c.Body, &body) == nil {
			answered[body.ToUser] = true
		}
	}
	var wrong []string
	l.await("customers with an answer to leave the list", func() bool { // replies are looked at after they were answered
		wrong = nil
		for cursor := ""; ; {
			list := l.closing("limit=200&cursor=" + cursor)
			for _, w := range list.Waiting {
				if answered[w.Customer] {
					wrong = append(wrong, w.Customer)
				}
			}
			if cursor = list.Next; cursor == "" {
				return len(wrong) == 0
			}
		}
	})
}

// A Cluster that loses a master serves the slots of the others, and all of them once it is back.
func TestLostClusterMaster(t *testing.T) {
	redis, nodes := storetest.StartCluster(t, 0)
	l := newTraffic(t, faulty(t, redis), nil)
	l.run(func() {
		time.Sleep(lasts)
		nodes[2].Signal(syscall.SIGSTOP)
		time.Sleep(2 * lasts)
		nodes[2].Signal(syscall.SIGCONT)
		for _, n := range nodes {
			n.Await("cluster_state:ok", "cluster", "info")
		}
		time.Sleep(lasts)
	})
}

// A Cluster that loses a master for good goes on with its replica, which may lack what was
// acknowledged last.
func TestClusterFailover(t *testing.T) {
	redis, nodes := storetest.StartCluster(t, 1)
	l := newTraffic(t, faulty(t, redis), nil)
	l.run(func() {
		time.Sleep(lasts)
		nodes[0].Down()
		nodes[1].Await("cluster_slots_ok:10", "cluster", "info") // it is missed
		nodes[1].Await("cluster_slots_ok:16384", "cluster", "info")
		time.Sleep(3 * lasts)
	})
}

// Slots that move from one master to another under traffic lose nothing and refuse nobody.
func TestClusterMovesSlots(t *testing.T) {
	redis, nodes := storetest.StartCluster(t, 0)
	l := newTraffic(t, faulty(t, redis), nil)
	l.run(func() {
		time.Sleep(lasts)
		storetest.Reshard(nodes[0], nodes[1], 2000)
		time.Sleep(lasts)
	})
}

// WeCom fails in every way it can: what is unknown counts as sent, and nothing goes out twice.
func TestFaultsOfUpstream(t *testing.T) {
	server := storetest.Start(t)
	var wire *storetest.Wire
	l := newTraffic(t, faulty(t, server.Config()), func(c *config.Config) {
		if wire == nil {
			wire = storetest.NewWire(t, strings.TrimPrefix(c.Upstream.URL, "http://"))
		}
		c.Upstream.URL, c.Upstream.Timeout = "http://"+wire.Addr().String(), time.Second
	})
	l.run(func() {
		for _, fault := range []func(){wire.Cut, wire.Hang, func() { wire.Delay(50 * time.Millisecond) }} {
			time.Sleep(lasts / 2)
			fault()
			time.Sleep(lasts)
			wire.Heal()
		}
		for range 20 {
			wire.Reset()
			time.Sleep(lasts / 20)
		}
		time.Sleep(lasts / 2)
	})
}

// Two replicas on one Redis are stopped and started by turns, under traffic: no call is lost.
func TestRollingRestart(t *testing.T) {
	redis := faulty(t, storetest.Start(t).Config())
	r := newRig(t, redis, nil)
	r.clock.Run()
	change := strictly(func(c *config.Config) {
		c.Shutdown = config.Shutdown{LameDuck: 500 * time.Millisecond, Grace: 5 * time.Second}
	})
	l := &traffic{
		rig: r, acknowledged: map[string]int64{}, wrong: map[string]int{},
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	t.Cleanup(l.client.CloseIdleConnections)
	var stops []func() <-chan error
	for range 2 {
		g, stop := r.startApart(redis, change)
		r.token = r.fetchToken(g)
		l.gateways, stops = append(l.gateways, g), append(stops, stop)
	}
	l.run(func() {
		for i := range stops {
			time.Sleep(lasts / 2)
			old, stop := l.gateways[i], stops[i]
			g, newStop := r.startApart(redis, change)
			_ = r.fetchToken(g)
			ended := stop()
			r.await("readiness to fail", old.draining.Load)
			l.mu.Lock()
			l.gateways[i] = g // as a balancer does that looks at readiness
			l.mu.Unlock()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			stops[i] = newStop
		}
		time.Sleep(lasts / 2)
	})
	for _, stop := range stops {
		if err := <-stop(); err != nil {
			t.Error(err)
		}
	}
}

// A gateway with the embedded store is killed outright: what it acknowledged is there when it
// starts again, and a reply that was sent still counts.
func TestKill(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.clock.Set(time.Now()) // the gateway below goes by the machine's clock
	r.clock.Run()
	bin, err := builtGateway()
	if err != nil {
		t.Fatal(err)
	}
	api := storetest.FreeAddr(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "replygate.yaml")
	text := fmt.Sprintf(`listen: { api: "%[1]s", admin: "127.0.0.1:0" }
upstream: { url: "%[2]s" }
redis: { snapshot: "%[3]s/s" }
journal: { path: "%[3]s/j" }
accounts: [{ corp_id: %[4]s, subscription: { expires_at: 2020-01-01T00:00:00Z } }]
log: { level: error, decisions: "%[3]s/d" }
policy: { cold_start: refuse }
`, api, r.upstream.URL, dir, corpID)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	access := recordsOf(t, filepath.Join(dir, "d"), 1)
	for round := range 3 {
		cmd := exec.Command(bin, "serve", "-c", file)
		cmd.Stdout, cmd.Stderr = access, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitListening(t, api)
		customer := fmt.Sprintf("wmKill%d", round)
		r.token = tokenOf(t, raw(t, api, request("GET", "/cgi-bin/gettoken?corpid="+corpID+"&corpsecret="+secret, "")))
		at := func(method, target, body string) answer {
			return raw(t, api, request(method, target+"?access_token="+r.token, body))
		}
		reply := func(customer, reason string) {
			t.Helper()
			if a := at("POST", "/cgi-bin/kf/send_msg", replyTo(customer)); a.Header.Get("Replygate-Reason") != reason {
				t.Errorf("round %d: %s: %s, want %s", round, customer, a.body, reason)
			}
		}
		if round > 0 { // of the round before
			before := fmt.Sprintf("wmKill%d", round-1)
			for range 3 {
				reply(before, "window_open")
			}
			reply(before, "replies_used_up")
		}
		r.platform.CustomerWrites(corpID, channel, customer, "hello")
		if a := at("POST", "/cgi-bin/kf/sync_msg", `{}`); a.Errcode != 0 {
			t.Fatalf("sync_msg: %s", a.body)
		}
		reply(customer, "window_open")
		reply(customer, "window_open")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
}

// What was acknowledged into the journal of a gateway that is killed is in Redis once one starts on
// the same file.
func TestJournalOutlivesItsGateway(t *testing.T) {
	server := storetest.Start(t)
	redis := faulty(t, server.Config())
	r := newRig(t, redis, nil)
	journal := filepath.Join(t.TempDir(), "journal")
	first, stop := r.startApart(redis, func(c *config.Config) { c.Journal.Path = journal })
	r.token = r.fetchToken(first)
	code := r.platform.CustomerEnters(corpID, channel, "wmEnters")
	r.platform.CustomerWrites(corpID, channel, "wmDuring", "hello")
	server.Down()
	if a := r.callAt(first, "POST", "/cgi-bin/kf/sync_msg", `{"open_kfid":"`+channel+`"}`); a.Errcode != 0 {
		t.Fatalf("sync_msg: %s", a.body)
	}
	left, err := os.ReadFile(journal) // as a kill would leave it
	if err != nil {
		t.Fatal(err)
	}
	if err := <-stop(); err != nil {
		t.Fatal(err)
	}
	server.Up() // empty
	if err := os.WriteFile(journal+".left", left, 0o600); err != nil {
		t.Fatal(err)
	}
	second := r.start(redis, func(c *config.Config) { c.Journal.Path = journal + ".left" })
	r.await("the journal to be in Redis", second.store.Journal.Empty)
	k := window.Key{Corp: corpID, Channel: channel, Customer: "wmDuring"}
	if _, found, err := second.windows.Show(t.Context(), k); err != nil || !found {
		t.Errorf("the message is lost: %v", err)
	}
	if a := second.windows.ConsumeCode(t.Context(), corpID, code); a.State != window.CodeTaken || a.Code.Key.Customer != "wmEnters" {
		t.Errorf("the code is lost: %+v", a)
	}
}
