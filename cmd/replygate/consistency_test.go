package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// The tests of this file break Redis, or a gateway, at the worst moment for a refusal. They require
// that no customer whose message was acknowledged is refused. What the gateways say in their
// metrics, in their log and at /readyz tells that a fault has been noticed, and that it is over.

// strictRig is a rig with a running clock. Its gateways send nothing unsure, and answer it at once.
func strictRig(t *testing.T, redis config.Redis) *rig {
	t.Helper()
	r := newRig(t, faulty(t, redis), atOnce)
	r.clock.Set(time.Now()) // for gateways in processes of their own
	r.clock.Run()
	r.token = r.fetchToken(r.gateway)
	r.settles(r.gateway.control.Addr().String())
	return r
}

func atOnce(c *config.Config) { strictly(waitFor(0))(c) }

// startAt starts one more gateway of a strict rig. It reaches Redis at an address.
func (r *rig) startAt(redis config.Redis, addr string) *gateway {
	r.Helper()
	redis.Addrs = []string{addr}
	g := r.start(faulty(r.T, redis), atOnce)
	r.fetchToken(g)
	return g
}

// reasonAt asks a gateway for a reply to a customer who never wrote, and returns the reason of its
// verdict.
func (r *rig) reasonAt(g *gateway) string {
	r.Helper()
	return r.callAt(g, "POST", sendMsg, replyTo("wmStranger")).Header.Get("Replygate-Reason")
}

// refusesAt awaits that a gateway can refuse.
func (r *rig) refusesAt(g *gateway) {
	r.Helper()
	r.awaitReason(g, "window_closed")
}

// awaitReason awaits the reason of a gateway for a customer who never wrote.
func (r *rig) awaitReason(g *gateway, want string) {
	r.Helper()
	r.within(2*time.Minute, "a customer who never wrote to be "+want, func() bool { return r.reasonAt(g) == want })
}

// within is await with a limit of its own, for what takes a while.
func (r *rig) within(limit time.Duration, what string, done func() bool) {
	r.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}

// metricAt returns the value of a gateway's series, -1 if there is none.
func (r *rig) metricAt(admin, series string) float64 {
	r.Helper()
	m := raw(r, admin, strings.Replace(request("GET", "/metrics", ""), "Host: gateway", "Host: localhost", 1))
	for line := range strings.SplitSeq(string(m.body), "\n") {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				r.Fatal(err)
			}
			return value
		}
	}
	return -1
}

func (r *rig) gauge(g *gateway, series string) float64 {
	r.Helper()
	return r.metricAt(g.control.Addr().String(), series)
}

// degradedBy reports whether a gateway's metrics name a cause for which it cannot refuse.
func (r *rig) degradedBy(g *gateway, cause string) bool {
	r.Helper()
	return r.gauge(g, `replygate_degraded{cause="`+cause+`"}`) == 1
}

// changes are the lines of a log that tell when refusals are unsure, and when they are possible
// again.
var changes = regexp.MustCompile(`"msg":"refusals[^"]* (are unsure|are possible again)"`)

// tellsOfAnEnd awaits that a gateway's log tells of a cause, and then that refusals are possible
// again.
func (r *rig) tellsOfAnEnd(g *gateway, o *output, cause string) {
	r.Helper()
	r.await("the log to tell that refusals are possible again", func() bool {
		all := changes.FindAllStringSubmatch(logOf(g, o), -1)
		return len(all) > 0 && all[len(all)-1][1] == "are possible again"
	})
	for line := range strings.Lines(logOf(g, o)) {
		if changes.MatchString(line) && strings.Contains(line, `"cause":"`+cause+`"`) {
			return
		}
	}
	r.Errorf("the log does not tell that refusals are unsure by %s", cause)
}

// logOf returns what a gateway wrote to its output.
func logOf(g *gateway, o *output) string {
	g.logs.Sync()
	return o.String()
}

// numbered are customers of a kind.
func numbered(kind string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("wm%s%d", kind, i)
	}
	return all
}

// write has customers write, and pulls their messages through the gateway at an address: they are
// acknowledged then.
func (r *rig) write(api string, customers []string) {
	r.Helper()
	for _, c := range customers {
		r.platform.CustomerWrites(corpID, channel, c, "hello")
	}
	if err := r.pullAll(api); err != nil {
		r.Fatal(err)
	}
}

// pullAll pulls all of the last three days through the gateway at an address.
func (r *rig) pullAll(api string) error {
	for cursor, more := "", 1; more == 1; {
		resp, err := http.Post("http://"+api+"/cgi-bin/kf/sync_msg?access_token="+r.token, "application/json",
			strings.NewReader(fmt.Sprintf(`{"open_kfid":%q,"cursor":%q,"limit":1000}`, channel, cursor)))
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var page struct {
			Errcode int    `json:"errcode"`
			Next    string `json:"next_cursor"`
			More    int    `json:"has_more"`
		}
		if err != nil || json.Unmarshal(body, &page) != nil || resp.StatusCode != http.StatusOK || page.Errcode != 0 {
			return fmt.Errorf("sync_msg: HTTP %d %.200s, %w", resp.StatusCode, body, err)
		}
		cursor, more = page.Next, page.More
	}
	return nil
}

// report records customers' messages by POST /v1/inbound of a gateway. The simulated WeCom does
// not have them, and takes every reply from then on.
func (r *rig) report(g *gateway, customers []string) {
	r.Helper()
	r.platform.Answer(sendMsg, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok","msgid":"m"}`)
	})
	const most = 1000
	for len(customers) > 0 {
		n := min(most, len(customers))
		if status, answer := r.inbound(g.control.Addr().String(), customers[:n]); status != http.StatusOK {
			r.Fatalf("inbound: HTTP %d %s", status, answer)
		}
		customers = customers[n:]
	}
}

// inbound posts messages of customers to the admin listener of a gateway.
func (r *rig) inbound(admin string, customers []string) (status int, answer []byte) {
	r.Helper()
	type message struct {
		CorpID   string    `json:"corp_id"`
		Channel  string    `json:"channel"`
		Customer string    `json:"customer"`
		At       time.Time `json:"at"`
	}
	var in struct {
		Inbound []message `json:"inbound"`
	}
	for _, c := range customers {
		in.Inbound = append(in.Inbound, message{corpID, channel, c, r.clock.Now()})
	}
	body, err := json.Marshal(in)
	if err != nil {
		r.Fatal(err)
	}
	resp, err := http.Post("http://"+admin+"/v1/inbound", "application/json", bytes.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ = io.ReadAll(resp.Body)
	return resp.StatusCode, answer
}

// settles awaits that a gateway acknowledges messages, and goes on for a while: a new member does
// not at once, and may use its journal only from its next renewal on, which nothing else tells.
func (r *rig) settles(admin string) {
	r.Helper()
	var since time.Time
	r.await("a gateway to acknowledge messages", func() bool {
		if status, _ := r.inbound(admin, []string{"wmSettled"}); status != http.StatusOK {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) > 3*time.Second
	})
}

// recorded counts the windows that a server has of customers of a kind.
func recorded(s *storetest.Server, kind string) int {
	text := s.CLI("eval", "return #redis.call('KEYS', ARGV[1])", "0", "rg:window:*:wm"+kind+"*")
	n, _ := strconv.Atoi(strings.TrimSpace(text)) // while it loads it answers with an error
	return n
}

// hasAll reports whether a server has the windows of n customers of a kind. Since these are many,
// they are counted only once it has as many keys.
func hasAll(s *storetest.Server, kind string, n int) bool {
	keys, _ := strconv.Atoi(strings.TrimSpace(s.CLI("dbsize")))
	return keys >= n && recorded(s, kind) == n
}

// probes reply to customers who wrote, one after another, so that some reply meets the worst moment
// of a fault. None may be refused.
type probes struct {
	*rig
	client *http.Client
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex
	customers []string
	next      int
	sent      int
	replies   map[string]int // that WeCom got or may get
	event     string         // the latest of the test
	at        time.Time      // of it
	reasons   map[string]int // of the answers since
	refused   []string
}

// Of the five replies to a message all but one are for probes, and one for passes.
const maxProbes = 4

// probe starts probes of some gateways, each with a few replies at a time.
func (r *rig) probe(customers []string, apis ...string) *probes {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &probes{
		rig: r, cancel: cancel, customers: customers, replies: map[string]int{}, event: "the start", at: time.Now(), reasons: map[string]int{},
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	for _, api := range apis {
		for range 3 {
			p.done.Go(func() {
				for ctx.Err() == nil {
					p.one(api)
				}
			})
		}
	}
	r.Cleanup(p.stop)
	return p
}

// one sends a reply to the next customer. What passes spends one of his five replies, so the next
// probe is a moment later then.
func (p *probes) one(api string) {
	customer := p.pick()
	if customer == "" {
		time.Sleep(time.Millisecond)
		return
	}
	verdict, reason, body, err := p.send(api, customer)
	if err != nil {
		p.Error(err)
		p.cancel()
		return
	}
	p.mu.Lock()
	p.reasons[reason]++
	if verdict != "pass" {
		p.replies[customer]--
	}
	if verdict == "refuse" && reason != "history_incomplete" { // which is policy.cold_start
		p.refused = append(p.refused, fmt.Sprintf("%s after %s: %s", time.Since(p.at).Round(time.Millisecond), p.event, body))
	}
	p.mu.Unlock()
	if verdict == "pass" {
		time.Sleep(5 * time.Millisecond)
	}
}

// pick returns the next customer who has a reply left for a probe, "" if none has.
func (p *probes) pick() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.customers {
		p.next = (p.next + 1) % len(p.customers)
		if c := p.customers[p.next]; p.replies[c] < maxProbes {
			p.replies[c]++
			return c
		}
	}
	return ""
}

func (p *probes) send(api, customer string) (verdict, reason string, answer []byte, err error) {
	p.mu.Lock()
	p.sent++
	body := []byte(strings.Replace(replyTo(customer), "hello", fmt.Sprint("probe ", p.sent), 1)) // no text twice
	p.mu.Unlock()
	resp, err := p.client.Post("http://"+api+sendMsg+"?access_token="+p.token, "application/json", bytes.NewReader(body))
	if err != nil {
		return "", "", nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.Header.Get("Replygate-Verdict"), resp.Header.Get("Replygate-Reason"), answer, err
}

// add adds customers whose messages have been acknowledged.
func (p *probes) add(customers []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.customers = append(p.customers, customers...)
}

// after notes what the test does to the gateways. It returns the reasons since the last such event.
func (p *probes) after(event string) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.reasons
	p.Logf("since %s (%s): %v", p.event, time.Since(p.at).Round(time.Millisecond), before)
	p.event, p.at, p.reasons = event, time.Now(), map[string]int{}
	return before
}

// seen returns the reasons since the last event.
func (p *probes) seen() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.reasons)
}

// more awaits n more answers.
func (p *probes) more(n int) {
	p.Helper()
	all := func() (sum int) {
		for _, n := range p.seen() {
			sum += n
		}
		return sum
	}
	before := all()
	p.within(time.Minute, "more answers to probes", func() bool { return all() >= before+n || p.ended() })
}

func (p *probes) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refused) > 0
}

// unrefused fails the test at once if a customer was refused.
func (p *probes) unrefused() {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.refused); n > 0 {
		p.Fatalf("%d times a customer who wrote was refused, first %s", n, p.refused[0])
	}
}

// stop ends the probes.
func (p *probes) stop() {
	p.cancel()
	p.done.Wait()
	p.client.CloseIdleConnections()
}

// end ends the probes and checks that no customer was refused.
func (p *probes) end() {
	p.Helper()
	p.stop()
	p.after("the end")
	p.unrefused()
}

// passes checks that customers, a sample if they are many, are answered by the gateway at an
// address. A reply may be unsure for a moment.
func (p *probes) passes(api string, customers []string) {
	p.Helper()
	step := max(len(customers)/300, 1)
	for i := 0; i < len(customers); i += step {
		p.await("an answer to "+customers[i], func() bool {
			verdict, reason, body, err := p.send(api, customers[i])
			if verdict == "unsure" {
				p.Logf("%s is unsure: %s", customers[i], reason)
			}
			if err != nil || verdict == "refuse" {
				p.Fatalf("%s: %s, %v", customers[i], body, err)
			}
			return verdict == "pass"
		})
	}
}

// node is a gateway in a process of its own, which a test can kill.
type node struct {
	*rig
	file                 string
	api, admin, callback string
	cmd                  *exec.Cmd
	access               *os.File
	out                  output // the log
}

// node prepares a gateway that reaches Redis at an address. It has a callback of the account, which
// goes on to a bot.
func (r *rig) node(redis, bot string) *node {
	r.Helper()
	dir := r.TempDir()
	n := &node{rig: r, file: filepath.Join(dir, "replygate.yaml"), api: storetest.FreeAddr(r.T), admin: storetest.FreeAddr(r.T), callback: storetest.FreeAddr(r.T)}
	text := fmt.Sprintf(`listen: { api: %q, admin: %q, callback: %q }
upstream: { url: %q }
redis: { mode: single, addrs: [%q], timeout: 300ms }
journal: { path: %q }
accounts: [{ corp_id: %s, subscription: { expires_at: 2020-01-01T00:00:00Z } }]
callbacks: [{ path: /callback/golden, token: %s, encoding_aes_key: %s, receive_ids: [%s], forward_to: %q }]
policy: { cold_start: refuse, unsure_wait: 0s }
shutdown: { lame_duck: 0s, grace: 1s }
log: { level: info, decisions: %q }
`, n.api, n.admin, n.callback, r.upstream.URL, redis, filepath.Join(dir, "journal"), corpID, callbackToken, callbackKey, corpID, bot, filepath.Join(dir, "decisions"))
	if err := os.WriteFile(n.file, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	n.access = recordsOf(r.T, filepath.Join(dir, "decisions"), 0)
	r.Cleanup(func() {
		n.kill()
		if r.Failed() {
			r.Logf("the process wrote:\n%s", n.out.String())
		}
	})
	return n
}

// up starts the process and waits until it serves.
func (n *node) up() {
	n.Helper()
	bin, err := builtGateway()
	if err != nil {
		n.Fatal(err)
	}
	n.cmd = exec.Command(bin, "serve", "-c", n.file)
	n.cmd.Stdout, n.cmd.Stderr = n.access, &n.out
	if err := n.cmd.Start(); err != nil {
		n.Fatal(err)
	}
	awaitListening(n.T, n.api, n.admin, n.callback)
}

// kill ends the process as a crash would: it leaves nothing in order.
func (n *node) kill() { n.end(os.Kill) }

// leave ends the process in order.
func (n *node) leave() { n.end(os.Interrupt) }

func (n *node) end(s os.Signal) {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
		_ = n.cmd.Wait() // killed, or told to stop
		n.cmd = nil
	}
}

// says has WeCom deliver a callback to the node, and returns the status of its answer.
func (n *node) says(kind, customer string) int {
	n.Helper()
	app := wecomtest.App{URL: "http://" + n.callback + "/callback/golden", Token: callbackToken, Key: callbackKey, ReceiveID: corpID}
	d, err := app.Deliver(n.clock.Now(), event(kind, corpID, customer, n.clock.Now(), false))
	if err != nil {
		n.Fatal(err)
	}
	return d.Status
}

// A gateway acknowledges messages and dies, Redis comes back a moment older, and the gateway starts
// again: none of them has the messages any more. The other gateway must learn of the loss before it
// believes the first one again.
func TestAckedThenBothRestart(t *testing.T) {
	t.Parallel()
	for _, older := range []time.Duration{0, time.Second} { // by less than a renewal, and by some of them
		t.Run(older.String(), func(t *testing.T) {
			server := storetest.Start(t)
			r := strictRig(t, server.Config())
			survivor := r.gateway.api.Addr().String()
			n := r.node(server.Addr(), newBot(t).URL)
			n.up()
			r.settles(n.admin)
			r.acquainted(r.gateway, 2)
			r.refusesAt(r.gateway)

			dump := server.Dump()
			time.Sleep(older)
			customers := numbered("Acked", 2000)
			r.write(n.api, customers)
			if got := recorded(server, "Acked"); got != len(customers) {
				t.Fatalf("%d of %d messages are on record before the fault", got, len(customers))
			}
			p := r.probe(customers, survivor)
			p.more(1)
			p.after("the kill")
			n.kill()
			p.after("the restore")
			server.Restore(dump)
			p.after("the start")
			n.up()
			back := time.Now()
			r.within(time.Minute, "the loss to be noticed", func() bool { return p.ended() || r.reasonAt(r.gateway) == "history_incomplete" })
			r.within(time.Minute, "three seconds to pass", func() bool { return p.ended() || time.Since(back) > 3*time.Second })
			if p.after("the loss was noticed")["store_unavailable"] == 0 && !p.ended() {
				t.Error("nothing was unsure: the fault did not show")
			}
			p.more(50)
			p.end()
		})
	}
}

// After Redis came back older, a gateway with a slow line joins long before its messages are there
// again. Until then the other one must not refuse its customers, and afterwards none is lost.
func TestJoinBeforeRewrite(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	r := strictRig(t, server.Config())
	wire := storetest.NewWire(t, server.Addr())
	slow := r.startAt(server.Config(), wire.Addr().String())
	r.settles(slow.control.Addr().String())
	r.acquainted(r.gateway, 2)
	r.refusesAt(r.gateway)

	dump := server.Dump()
	mine := numbered("Mine", 500)
	r.write(r.gateway.api.Addr().String(), mine)
	its := numbered("Slow", 6000)
	r.write(slow.api.Addr().String(), its)
	wire.Limit(200_000) // seconds for a megabyte and more
	p := r.probe(its, r.gateway.api.Addr().String())
	p.more(1)
	p.after("the restore")
	server.Restore(dump)
	r.within(90*time.Second, "the messages to be there again", func() bool { return p.ended() || recorded(server, "Slow") == len(its) })
	p.unrefused()
	if n := p.after("the rewrite")["store_unavailable"]; n == 0 {
		t.Error("nothing was unsure: the fault did not show")
	}
	r.refusesAt(r.gateway)
	r.refusesAt(slow)
	p.more(50)
	p.end()
	p.passes(r.gateway.api.Addr().String(), its)
	p.passes(slow.api.Addr().String(), mine)
}

// trafficOf is the traffic of bots through gateways of a rig.
func trafficOf(r *rig, gateways ...*gateway) *traffic {
	l := &traffic{
		rig: r, gateways: gateways, acknowledged: map[string]int64{}, wrong: map[string]int{},
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	r.Cleanup(l.client.CloseIdleConnections)
	return l
}

// Nearly as many messages as a gateway remembers are repeated after a rollback, under traffic, and
// then refusals return.
func TestLargeRewrite(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: repeats 190,000 messages")
	}
	server := storetest.Start(t)
	r := strictRig(t, server.Config())
	first, out := r.gateway, r.output
	second := r.startAt(server.Config(), server.Addr())
	r.settles(second.control.Addr().String())
	r.acquainted(first, 2)
	r.refusesAt(first)

	dump := server.Dump()
	customers := numbered("Many", 190_000) // of a bound of 200,000, since the bots add some
	began := time.Now()
	r.report(first, customers)
	t.Logf("reported in %s", time.Since(began))
	if time.Since(began) > 50*time.Second {
		t.Skip("this machine takes longer to record the messages than a gateway remembers them")
	}
	trafficOf(r, first, second).run(func() {
		p := r.probe(customers[:20_000], second.api.Addr().String())
		p.after("the restore")
		server.Restore(dump)
		told := false
		r.within(90*time.Second, "the messages to be there again", func() bool {
			told = told || r.degradedBy(first, "rewrite")
			return p.ended() || hasAll(server, "Many", len(customers))
		})
		p.unrefused()
		p.after("the rewrite")
		if !told {
			t.Error("the metrics do not tell of the rewrite")
		}
		r.refusesAt(first)
		r.refusesAt(second)
		p.end()
		p.passes(second.api.Addr().String(), customers)
		if r.degradedBy(first, "rewrite") {
			t.Error("the metrics still tell of the rewrite")
		}
	})
	r.tellsOfAnEnd(first, out, "rewrite")
}

// A journal that takes seconds to send drains under traffic, and tells how far it is.
func TestLargeDrain(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: drains 20,000 records over a slow line")
	}
	server := storetest.Start(t)
	r := strictRig(t, server.Config())
	wire := storetest.NewWire(t, server.Addr())
	cutOff := r.startAt(server.Config(), wire.Addr().String())
	out := r.output
	r.settles(cutOff.control.Addr().String())
	r.acquainted(r.gateway, 2)
	r.refusesAt(r.gateway)

	wire.Cut()
	customers := numbered("Drain", 20_000)
	r.report(cutOff, customers)
	if n := recorded(server, "Drain"); n != 0 {
		t.Fatalf("%d messages are in redis while it is cut off", n)
	}
	if got := r.reasonAt(r.gateway); got != "store_unavailable" {
		t.Errorf("a customer who never wrote is %s while a journal holds records", got)
	}
	const drained = "replygate_journal_drained_records_total"
	trafficOf(r, r.gateway, cutOff).run(func() {
		p := r.probe(customers, r.gateway.api.Addr().String())
		p.after("the line is back")
		wire.Heal()
		wire.Limit(1 << 20)
		told, partly := false, false
		r.within(90*time.Second, "the journal to drain", func() bool {
			told = told || r.degradedBy(cutOff, "journal")
			done := r.gauge(cutOff, drained)
			if done > 0 && done < float64(len(customers)) {
				partly = true
			}
			return p.ended() || done >= float64(len(customers)) && hasAll(server, "Drain", len(customers))
		})
		p.unrefused()
		p.after("the journal is empty")
		if !told {
			t.Error("the metrics do not tell that the journal holds records")
		}
		if !partly {
			t.Error("the metrics do not tell how far the journal has drained")
		}
		r.refusesAt(r.gateway)
		r.refusesAt(cutOff)
		p.end()
		p.passes(r.gateway.api.Addr().String(), customers)
	})
	if r.degradedBy(cutOff, "journal") {
		t.Error("the metrics still tell that the journal holds records")
	}
	r.tellsOfAnEnd(cutOff, out, "journal")
}

// Redis loses everything at once while gateways run: nobody who wrote is refused, and bots that
// pull the last three days again bring the windows back.
func TestFlushUnderTraffic(t *testing.T) {
	server := storetest.Start(t)
	r := strictRig(t, server.Config())
	first := r.gateway
	second := r.startAt(server.Config(), server.Addr())
	r.settles(second.control.Addr().String())
	r.acquainted(first, 2)
	r.refusesAt(first)
	apis := []string{first.api.Addr().String(), second.api.Addr().String()}
	customers := numbered("Flush", 2000)
	r.write(apis[0], customers)

	p := r.probe(customers, apis...)
	var pulls atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var bots sync.WaitGroup
	for _, api := range apis {
		bots.Go(func() {
			for ctx.Err() == nil {
				if err := r.pullAll(api); err != nil {
					t.Error(err)
					return
				}
				pulls.Add(1)
			}
		})
	}
	stop := func() {
		cancel()
		bots.Wait()
	}
	defer stop()
	for range 6 {
		r.within(2*time.Minute, "refusals", func() bool {
			r.since(-96 * time.Hour) // the operator believes in the records again
			return p.ended() || r.reasonAt(first) == "window_closed" && r.reasonAt(second) == "window_closed"
		})
		p.unrefused()
		p.after("the flush")
		server.CLI("flushall")
		before := pulls.Load()
		r.within(time.Minute, "the loss to be noticed", func() bool {
			return p.ended() || r.reasonAt(first) == "history_incomplete" && r.reasonAt(second) == "history_incomplete"
		})
		// A pull that has begun since is over.
		r.within(time.Minute, "the bots to pull", func() bool { return p.ended() || pulls.Load() >= before+4 })
		r.within(time.Minute, "the windows to be back", func() bool { return p.ended() || recorded(server, "Flush") == len(customers) })
		p.unrefused()
	}
	stop()
	p.end()
	p.passes(apis[0], customers)
}

// After a failover the old master goes on, and a gateway that does not know of the new one still
// talks to it. What the other gateway acknowledges is on the new one alone. The old one takes no
// writes without its replica, so it has no lease of either gateway, and no proof for a refusal.
func TestSplitBrain(t *testing.T) {
	t.Parallel()
	redis, master, replica, _ := storetest.StartSentinel(t)
	for key, value := range map[string]string{"min-replicas-to-write": "1", "min-replicas-max-lag": "1"} {
		master.CLI("config", "set", key, value)
	}
	r := strictRig(t, redis)
	changer := r.gateway.api.Addr().String()
	wire := storetest.NewWire(t, master.Addr())
	stays := r.startAt(master.Config(), wire.Addr().String())
	r.settles(stays.control.Addr().String())
	r.acquainted(stays, 2)
	r.refusesAt(stays)

	p := r.probe(nil, stays.api.Addr().String())
	writes := func(round int) {
		customers := numbered(fmt.Sprintf("Split%dx", round), 50)
		r.write(changer, customers)
		p.add(customers)
	}
	p.after("the pause of the old master")
	master.Signal(syscall.SIGSTOP)
	writes(0) // into the journal
	replica.Await("role:master", "info", "replication")
	r.within(time.Minute, "the messages to be on the new master", func() bool { return p.ended() || recorded(replica, "Split0x") == 50 })
	p.more(10)
	p.after("the old master goes on")
	master.Signal(syscall.SIGCONT) // the sentinel tells it eight seconds later
	for began, round := time.Now(), 1; time.Since(began) < 3*time.Second && !p.ended(); round++ {
		writes(round)
	}
	master.CLI("config", "resetstat")
	master.Await("cmdstat_evalsha", "info", "commandstats") // the gateway does talk to it
	p.more(100)
	p.unrefused()
	if n := recorded(master, "Split1x"); n != 0 {
		t.Errorf("%d windows of the new master are on the old one: the fault did not show", n)
	}
	if got := r.reasonAt(stays); got != "store_unavailable" {
		t.Errorf("a customer who never wrote is %s at the old master", got)
	}
	p.after("the old master becomes a replica")
	master.Await("role:slave", "info", "replication")
	p.more(100)
	p.end()
	p.passes(changer, numbered("Split1x", 50))
}

// A gateway that starts cut off, and was never a member, acknowledges nothing: no other one waits
// for it. One whose journal was a member's may, since it is known.
func TestNeverSeenMember(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	r := strictRig(t, server.Config())
	r.refusesAt(r.gateway)
	bot := newBot(t)
	wire := storetest.NewWire(t, server.Addr())
	n := r.node(wire.Addr().String(), bot.URL)
	const message, nothing = "customer_acquisition.message_from_customer", "change_external_contact.edit_external_contact"

	wire.Cut()
	n.up()
	if status := n.says(message, "wmNever"); status != http.StatusServiceUnavailable {
		t.Errorf("a message to a gateway that no other one knows of: HTTP %d", status)
	}
	if got := bot.take(); len(got) != 0 {
		t.Errorf("the bot got %d callbacks that will come again", len(got))
	}
	if status := n.says(nothing, "wmNever"); status != http.StatusOK || len(bot.take()) != 1 {
		t.Errorf("a callback with nothing to record: HTTP %d", status)
	}
	wire.Heal()
	r.await("the message, repeated, to be acknowledged", func() bool { return n.says(message, "wmNever") == http.StatusOK })
	r.await("the message to be on record", func() bool { return r.open(corpID, "wmNever") })
	r.settles(n.admin)
	r.acquainted(r.gateway, 2)
	refuses := func() {
		t.Helper()
		r.within(time.Minute, "refusals", func() bool {
			server.CLI("del", "rg:gap:"+corpID) // of the callback that was not acknowledged, which has come again
			return r.reasonAt(r.gateway) == "window_closed"
		})
	}
	refuses()

	// It dies, and starts again cut off: the other one waits for it.
	n.kill()
	wire.Cut()
	n.up()
	bot.take()
	if status := n.says(message, "wmJournal"); status != http.StatusOK || len(bot.take()) != 1 {
		t.Errorf("a message to a member that is cut off: HTTP %d", status)
	}
	if r.metricAt(n.admin, "replygate_journal_bytes") <= 0 || r.open(corpID, "wmJournal") {
		t.Error("the message is not in the journal")
	}
	if got := r.reasonAt(r.gateway); got != "store_unavailable" {
		t.Errorf("a customer who never wrote is %s while the journal of a member holds a message", got)
	}
	wire.Heal()
	r.await("the message of the journal to be on record", func() bool { return r.open(corpID, "wmJournal") })
	refuses()

	// It leaves in order, and starts again cut off: no other one waits for it.
	n.leave()
	refuses()
	wire.Cut()
	n.up()
	bot.take()
	if status := n.says(message, "wmLeft"); status != http.StatusServiceUnavailable {
		t.Errorf("a message to a gateway that had left: HTTP %d, while the other one's reason is %s", status, r.reasonAt(r.gateway))
	}
	if got := bot.take(); len(got) != 0 {
		t.Errorf("the bot got %d callbacks that will come again", len(got))
	}
}

// A Redis that an operator lets evict keys may have lost any window: refusals are unsure as long as
// it may, and history is incomplete from then on.
func TestEvictionAtRunTime(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	r := strictRig(t, server.Config())
	first, out := r.gateway, r.output
	second := r.startAt(server.Config(), server.Addr())
	r.settles(second.control.Addr().String())
	r.acquainted(first, 2)
	r.refusesAt(first)
	r.refusesAt(second)

	server.CLI("config", "set", "maxmemory-policy", "allkeys-lru")
	for _, g := range []*gateway{first, second} {
		r.within(10*time.Second, "refusals to be unsure", func() bool { return r.reasonAt(g) == "store_unavailable" })
		r.within(10*time.Second, "the metrics to tell", func() bool { return r.degradedBy(g, "eviction") })
		ready := raw(t, g.control.Addr().String(), strings.Replace(request("GET", "/readyz", ""), "Host: gateway", "Host: localhost", 1))
		var told struct{ Degraded []string }
		if err := json.Unmarshal(ready.body, &told); err != nil || ready.StatusCode != http.StatusOK || !strings.Contains(strings.Join(told.Degraded, " "), "maxmemory-policy") {
			t.Errorf("readiness: HTTP %d %s", ready.StatusCode, ready.body)
		}
	}
	r.await("the log to tell", func() bool { return strings.Contains(logOf(first, out), `"cause":"eviction"`) })

	server.CLI("config", "set", "maxmemory-policy", "noeviction")
	for _, g := range []*gateway{first, second} {
		r.within(30*time.Second, "history to be incomplete", func() bool {
			switch got := r.reasonAt(g); got {
			case "history_incomplete":
				return true
			case "store_unavailable":
			default:
				t.Fatalf("a customer who never wrote is %s after an eviction was possible", got)
			}
			return false
		})
		r.await("the metrics to tell the end", func() bool { return !r.degradedBy(g, "eviction") })
	}
	r.write(first.api.Addr().String(), []string{"wmAfter"})
	r.reply("wmAfter", "pass", "window_open")
	r.tellsOfAnEnd(first, out, "eviction")
}
