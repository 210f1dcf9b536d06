package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/window"
)

// waitRig is a rig whose gateway reaches Redis by a wire of its own, and has a token. A customer
// wrote, and the gateway has not looked at the window yet.
type waitRig struct {
	*rig
	wire   *storetest.Wire
	redis  config.Redis // by the wire
	direct config.Redis
}

func newWaitRig(t *testing.T, change func(*config.Config)) *waitRig {
	t.Helper()
	direct := faulty(t, storetest.Start(t).Config())
	wire := storetest.NewWire(t, direct.Addrs[0])
	redis := direct
	redis.Addrs = []string{wire.Addr().String()}
	r := &waitRig{rig: newRig(t, redis, change), wire: wire, redis: redis, direct: direct}
	r.writes(wrote)
	return r
}

// waitFor sets policy.unsure_wait.
func waitFor(d time.Duration) func(*config.Config) {
	return func(c *config.Config) { c.Policy.UnsureWait = d }
}

// sentCall is a call that was sent and is not answered yet.
type sentCall struct {
	testing.TB
	net.Conn
	request string
	began   time.Time
}

// sends sends a call of the rig's bot, which goes on while the test does.
func (r *rig) sends(g *gateway, target, body string) *sentCall {
	r.Helper()
	conn, err := net.DialTimeout("tcp", g.api.Addr().String(), 5*time.Second)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	return r.sendsOver(conn, target, body)
}

func (r *rig) sendsOver(conn net.Conn, target, body string) *sentCall {
	r.Helper()
	c := &sentCall{TB: r, Conn: conn, request: request("POST", target+"?access_token="+r.token, body), began: time.Now()}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		r.Fatal(err)
	}
	if _, err := io.WriteString(conn, c.request); err != nil {
		r.Fatal(err)
	}
	return c
}

// answer reads the answer, and wants a verdict and a reason.
func (c *sentCall) answer(verdict, reason string) answer {
	c.Helper()
	a := readAnswer(c, bufio.NewReader(c.Conn), c.request)
	if got, why := a.Header.Get("Replygate-Verdict"), a.Header.Get("Replygate-Reason"); got != verdict || why != reason {
		c.Errorf("verdict %s, reason %s; want %s, %s: %s", got, why, verdict, reason, a.body)
	}
	return a
}

// waiting awaits that so many calls wait in a gateway.
func (r *rig) waiting(g *gateway, n int) {
	r.Helper()
	r.await(fmt.Sprint(n, " calls to wait"), func() bool { return g.handler.Waiting() == n })
}

// sentReplies checks how many replies reached WeCom.
func (r *rig) sentReplies(want int) {
	r.Helper()
	if n := r.platform.Count(sendMsg); n != want {
		r.Errorf("%d replies reached WeCom, want %d", n, want)
	}
}

// waitRecord is what a record says of a wait.
type waitRecord struct {
	Msg       string
	Path      string
	Endpoint  string
	Verdict   string
	Reason    string
	Forwarded bool
	Wait      string
	Waited    float64 `json:"waited_ms"`
	ErrorKind string  `json:"error_kind"`
}

// waits returns the records of calls that were unsure and waited, or were to wait: of one kind,
// decision or request.
func (r *rig) waits(kind string) (all []waitRecord) {
	r.Helper()
	for line := range strings.Lines(r.log()) {
		var rec waitRecord
		if json.Unmarshal([]byte(line), &rec) == nil && rec.Msg == kind && rec.Wait != "" {
			all = append(all, rec)
		}
	}
	return all
}

// waited checks that one call waited, and what its record says of that.
func (r *rig) waited(outcome string, forwarded bool, least time.Duration) {
	r.Helper()
	all := r.waits("decision")
	if len(all) != 1 || all[0].Wait != outcome || all[0].Forwarded != forwarded || all[0].Waited < float64(least.Milliseconds()) {
		r.Errorf("records of waits: %+v; want one: %s, forwarded %v, after %s or more", all, outcome, forwarded, least)
	}
	metrics := string(r.adminCall("GET", "/metrics", "").body)
	for _, line := range []string{`replygate_unsure_wait_seconds_count{outcome="` + outcome + `"} 1` + "\n", "replygate_unsure_waiting 0\n"} {
		if !strings.Contains(metrics, line) {
			r.Errorf("metrics lack %s", line)
		}
	}
}

// A reply that comes while Redis is away for two seconds is sent once, when Redis is back, and
// counted.
func TestReplyWaitsForRedis(t *testing.T) {
	r := newWaitRig(t, waitFor(10*time.Second))
	r.wire.Cut()
	reply := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	time.Sleep(2 * time.Second) // a failover
	r.sentReplies(0)
	r.wire.Heal()
	if a := reply.answer("pass", "window_open"); a.Errcode != 0 || a.Header.Get("Replygate-Replies-Left") != "4" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	r.sentReplies(1)
	r.waited("passed", true, 2*time.Second)
	if all := r.waits("request"); len(all) != 1 || all[0].Wait != "passed" || all[0].Waited < 2000 {
		t.Errorf("access records of waits: %+v", all)
	}
}

// Where Redis stays away the answer is -1, about when the wait is over, and says so.
func TestReplyWaitsInVain(t *testing.T) {
	const wait = time.Second
	for language, says := range map[string]string{config.English: "try again in a few seconds; the call waited 1", config.Chinese: "请几秒后重试；该调用已等待 1"} {
		t.Run(language, func(t *testing.T) {
			r := newWaitRig(t, func(c *config.Config) { c.Policy.UnsureWait, c.Policy.Language = wait, language })
			r.wire.Cut()
			a := r.sends(r.gateway, sendMsg, replyTo(wrote))
			if in := a.answer("unsure", "store_unavailable"); in.Errcode != -1 || !strings.Contains(in.Errmsg, says) {
				t.Errorf("%s", in.body)
			}
			if took := time.Since(a.began); took < wait || took > 5*(wait+faulty(t, r.redis).Timeout) {
				t.Errorf("answered after %s", took)
			}
			r.sentReplies(0)
			r.waited("still_unsure", false, wait)
		})
	}
}

// on_unsure: pass lets a reply go after the wait, marked and counted; nothing else.
func TestOnUnsurePassAfterTheWait(t *testing.T) {
	const mass = "/cgi-bin/externalcontact/add_msg_template"
	r := newWaitRig(t, func(c *config.Config) {
		c.Policy.UnsureWait, c.Policy.OnUnsure = 500*time.Millisecond, config.Pass
		ownRules(t, c, `{ name: windows, match: { capabilities: [mass_message] }, action: reply }`)
	})
	code := r.platform.CustomerEnters(corpID, channel, "wmEnters")
	r.sync()
	r.wire.Cut()
	began := time.Now()
	if a := r.sends(r.gateway, sendMsg, replyTo(wrote)).answer("unsure", "store_unavailable"); a.Errcode != 0 {
		t.Errorf("a reply: %s", a.body)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("it went on after %s", took)
	}
	r.waited("still_unsure", true, 500*time.Millisecond)
	for target, body := range map[string]string{mass: `{"external_userid":["` + wrote + `"],"text":{"content":"x"}}`, sendOnEvent: onEventWith(code)} {
		if a := r.sends(r.gateway, target, body).answer("unsure", "store_unavailable"); a.Errcode != -1 {
			t.Errorf("%s: %s", target, a.body)
		}
		if n := r.platform.Count(target); n != 0 {
			t.Errorf("%d calls of %s reached WeCom", n, target)
		}
	}
	r.sentReplies(1)
	if metrics := string(r.adminCall("GET", "/metrics", "").body); !strings.Contains(metrics, `replygate_decisions_total{capability="kf_reply",forwarded="true",reason="store_unavailable",verdict="unsure"} 1`) {
		t.Error("it is not counted")
	}
}

// With unsure_wait: 0 nothing waits; nor does what is not sent anyway, or is certain, or changes
// nothing.
func TestWhatDoesNotWait(t *testing.T) {
	r := newWaitRig(t, waitFor(0))
	r.wire.Cut()
	r.reply(wrote, "unsure", "store_unavailable")
	if all := r.waits("decision"); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	r.reconfigures(waitFor(10 * time.Second))
	began := time.Now()
	for target, verdict := range map[string]string{"/cgi-bin/externalcontact/add_msg_template": "refuse", "/cgi-bin/message/send": "", "/replygate/preflight": ""} {
		body := `{"touser":"x"}`
		if target == "/replygate/preflight" {
			body = `{"calls":[{"channel":"` + channel + `","customer":"` + wrote + `"}]}`
		}
		a := r.call("POST", target, body)
		if got := a.Header.Get("Replygate-Verdict"); got != verdict {
			t.Errorf("%s: %s: %s", target, got, a.body)
		}
		if target == "/replygate/preflight" && !strings.Contains(string(a.body), `"verdict":"unsure"`) {
			t.Errorf("%s", a.body)
		}
	}
	explained := r.adminCall("POST", "/v1/explain", `{"corp_id":"`+corpID+`","method":"POST","path":"`+sendMsg+`","content_type":"application/json","body":`+fmt.Sprintf("%q", replyTo(wrote))+`}`)
	if !strings.Contains(string(explained.body), "store_unavailable") {
		t.Errorf("explain: %s", explained.body)
	}
	if took := time.Since(began); took >= 10*time.Second || len(r.waits("request")) != 0 {
		t.Errorf("%s: %+v", took, r.waits("request"))
	}
}

// reconfigures puts the configuration in force with a change, as a reload does.
func (r *rig) reconfigures(change func(*config.Config)) {
	r.Helper()
	c := *r.gateway.handler.Current().Gate.Config
	change(&c)
	set, err := compile("test", &c)
	if err != nil {
		r.Fatal(err)
	}
	r.gateway.use(set)
}

// ownRules puts rules in a configuration, as its file has them.
func ownRules(t *testing.T, c *config.Config, rules string) {
	t.Helper()
	own, err := config.Parse("rules", []byte("accounts: [{ corp_id: ww1 }]\npolicy: { rules: ["+rules+"] }\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.Policy.Rules = own.Policy.Rules
}

// A call whose client leaves while it waits is never sent, and leaves a record. One that only
// closes its side for writing cannot be told from it, and is answered.
func TestClientGoneWhileWaiting(t *testing.T) {
	leave := map[string]func(t *testing.T, c net.Conn){
		"closes": func(t *testing.T, c net.Conn) { c.Close() },
		"resets": func(t *testing.T, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() },
		"has another request on the way": func(t *testing.T, c net.Conn) {
			if _, err := io.WriteString(c, request("POST", "/cgi-bin/message/send?access_token=x", `{}`)); err != nil {
				t.Error(err)
			}
			c.Close()
		},
		"closes for writing": func(t *testing.T, c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() },
	}
	for name, leaves := range leave {
		t.Run(name, func(t *testing.T) {
			r := newWaitRig(t, waitFor(10*time.Second))
			r.wire.Cut()
			gone := r.sends(r.gateway, sendMsg, replyTo(wrote))
			r.waiting(r.gateway, 1)
			leaves(t, gone.Conn)
			r.waiting(r.gateway, 0)
			if name == "closes for writing" {
				if a := gone.answer("unsure", "store_unavailable"); a.Errcode != -1 || !a.Close || !strings.Contains(a.Errmsg, "closed its connection") {
					t.Errorf("close %v: %s", a.Close, a.body)
				}
			}
			r.wire.Heal()
			if a := r.sends(r.gateway, sendMsg, replyTo(wrote)).answer("pass", "window_open"); a.Header.Get("Replygate-Replies-Left") != "4" {
				t.Errorf("%v %s", a.Header, a.body)
			}
			r.sentReplies(1)
			var dropped []waitRecord
			for _, rec := range r.waits("decision") {
				if rec.Wait == "client_gone" {
					dropped = append(dropped, rec)
				}
			}
			if len(dropped) != 1 || dropped[0].Forwarded || dropped[0].Verdict != "unsure" {
				t.Errorf("records: %+v", dropped)
			}
			access := r.waits("request")
			if len(access) == 0 || access[0].ErrorKind != "client_aborted" {
				t.Errorf("access records: %+v", access)
			}
		})
	}
}

// The last look at the client is right before the first byte: one that leaves while WeCom is being
// connected to is not served, and its reservation is given back.
func TestClientGoneAtTheLastMoment(t *testing.T) {
	door := newDoor(t)
	r := newWaitRig(t, func(c *config.Config) {
		c.Policy.UnsureWait = 10 * time.Second
		c.Upstream.Proxy = config.Secret("http://" + door.Addr().String())
	})
	r.wire.Cut()
	gone := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	door.shut()
	r.upstream.CloseClientConnections()
	r.wire.Heal()
	<-door.knocks
	k := window.Key{Corp: corpID, Channel: channel, Customer: wrote}
	if e, found, err := r.gateway.windows.Show(t.Context(), k); err != nil || !found || len(e.Window.Sent) != 1 {
		t.Errorf("it is not about to be sent: %+v, %v", e, err)
	}
	gone.Close()
	door.open()
	r.await("the record", func() bool { return len(r.waits("decision")) == 1 })
	r.sentReplies(0)
	r.waited("client_gone", false, 0)
	if e, _, err := r.gateway.windows.Show(t.Context(), k); err != nil || len(e.Window.Sent) != 0 {
		t.Errorf("the reply counts: %+v, %v", e, err)
	}
	if metrics := string(r.adminCall("GET", "/metrics", "").body); strings.Contains(metrics, `replygate_upstream_duration_seconds_count{result="error"} 1`) {
		t.Error("it counts as a failure of WeCom")
	}
}

// door is an egress proxy that can keep those who knock waiting.
type door struct {
	net.Listener
	knocks chan struct{} // somebody waits
	mu     sync.Mutex
	closed chan struct{} // is closed when the door opens
}

func newDoor(t *testing.T) *door {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{Listener: ln, knocks: make(chan struct{}, 1)}
	t.Cleanup(func() { ln.Close(); d.open() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go d.lets(conn)
		}
	}()
	return d
}

// lets one through to where it wants to go, once the door is open.
func (d *door) lets(conn net.Conn) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed != nil {
		d.knocks <- struct{}{}
		<-closed
	}
	far, err := net.Dial("tcp", r.Host)
	if err != nil {
		return
	}
	defer far.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(far, conn); far.Close() }()
	_, _ = io.Copy(conn, far)
}

func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = make(chan struct{})
}

func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		close(d.closed)
		d.closed = nil
	}
}

// Over TLS, too, where what is on the wire when the client leaves is not nothing.
func TestClientGoneOverTLS(t *testing.T) {
	_, cert, key := certificate(t)
	r := newWaitRig(t, waitFor(10*time.Second))
	g := r.start(r.redis, func(c *config.Config) {
		c.Policy.UnsureWait = 10 * time.Second
		c.Listen.TLS = config.TLS{CertFile: cert, KeyFile: key}
	})
	dial := func() net.Conn {
		conn, err := tls.Dial("tcp", g.api.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	r.acquainted(r.gateway, 2)
	r.sendsOver(dial(), sendMsg, replyTo("wmOther")).answer("refuse", "window_closed") // it learns the token
	r.wire.Cut()
	gone := r.sendsOver(dial(), sendMsg, replyTo(wrote))
	stays := r.sendsOver(dial(), sendMsg, replyTo(wrote))
	r.waiting(g, 2)
	gone.Close()
	r.waiting(g, 1)
	r.wire.Heal()
	stays.answer("pass", "window_open")
	r.sentReplies(1)
}

// A request that the client sends while the one before still waits is no sign that it left.
func TestPipelinedRequestWhileWaiting(t *testing.T) {
	r := newWaitRig(t, waitFor(10*time.Second))
	r.wire.Cut()
	first := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	if _, err := io.WriteString(first, first.request); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // some looks at the client
	r.wire.Heal()
	br := bufio.NewReader(first)
	for left := 4; left >= 3; left-- {
		if a := readAnswer(t, br, first.request); a.Errcode != 0 || a.Header.Get("Replygate-Replies-Left") != fmt.Sprint(left) {
			t.Errorf("%v %s", a.Header, a.body)
		}
	}
	r.sentReplies(2)
}

// A bot that gives up after a second and sends the same again while Redis is away: its customer
// gets the reply once.
func TestBotSendsAgainWhileItsCallWaits(t *testing.T) {
	r := newWaitRig(t, waitFor(10*time.Second))
	r.wire.Cut()
	for range 2 {
		impatient := r.sends(r.gateway, sendMsg, replyTo(wrote))
		time.Sleep(time.Second)
		impatient.Close()
	}
	last := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	r.wire.Heal()
	if a := last.answer("pass", "window_open"); a.Header.Get("Replygate-Replies-Left") != "4" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	r.sentReplies(1)
}

// A window that closes during the wait is closed.
func TestWindowClosesDuringTheWait(t *testing.T) {
	r := newWaitRig(t, strictly(waitFor(10*time.Second)))
	r.wire.Cut()
	reply := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	r.clock.Advance(48 * time.Hour)
	r.wire.Heal()
	if a := reply.answer("refuse", "window_closed"); a.Errcode != 95002 {
		t.Errorf("%s", a.body)
	}
	r.sentReplies(0)
	r.waited("refused", false, time.Millisecond)
}

// One that an operator shuts meanwhile is shut. WeCom does not know, so nothing goes there while
// Redis may lack a message.
func TestWindowIsShutDuringTheWait(t *testing.T) {
	r := newWaitRig(t, waitFor(10*time.Second))
	operator := r.start(r.direct, nil)
	r.wire.Cut()
	reply := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	if found, err := operator.windows.Close(t.Context(), window.Key{Corp: corpID, Channel: channel, Customer: wrote}); err != nil || !found {
		t.Fatal(found, err)
	}
	r.wire.Heal()
	if a := reply.answer("refuse", "window_shut"); a.Errcode != 95002 {
		t.Errorf("%s", a.body)
	}
	r.sentReplies(0)
}

// A call whose token cannot be looked up waits like one whose window cannot, and is judged by the
// standing that the account has afterwards.
func TestAccountLapsesDuringTheWait(t *testing.T) {
	for _, lapses := range []bool{false, true} {
		t.Run(fmt.Sprintf("lapses=%v", lapses), func(t *testing.T) {
			r := newWaitRig(t, nil)
			g := r.start(r.redis, func(c *config.Config) {
				c.Policy.UnsureWait = 10 * time.Second
				other := lapsedAccount(r.clock.Now()) // so that it matters whose the token is
				other.CorpID = "wwOther"
				c.Accounts = append(c.Accounts, other)
				c.Accounts[0].Subscription.ExpiresAt = r.clock.Now().Add(5 * time.Minute)
				ownRules(t, c, `{ name: no-replies, match: { standings: [lapsed], capabilities: [kf_reply] }, action: refuse }`)
			})
			r.wire.Cut()
			reply := r.sends(g, sendMsg, replyTo(wrote))
			r.waiting(g, 1)
			verdict, reason, sent := "", "", 1 // it is not judged at all
			if lapses {
				r.clock.Advance(10 * time.Minute)
				verdict, reason, sent = "refuse", "rule_refuse", 0
			}
			r.wire.Heal()
			reply.answer(verdict, reason)
			r.sentReplies(sent)
			for _, c := range r.platform.Calls() {
				if c.Path == sendMsg && string(c.Body) != replyTo(wrote) {
					t.Errorf("WeCom got %q", c.Body)
				}
			}
		})
	}
}

// What a reload changes holds for calls that wait, and at once: an account that is renewed, and
// rules that refuse.
func TestReloadDuringTheWait(t *testing.T) {
	for name, test := range map[string]struct {
		change          func(*config.Config)
		verdict, reason string
		sent            int
	}{
		"renewed": {func(c *config.Config) {
			c.Accounts = []config.Account{{CorpID: corpID, Name: "Golden"}}
		}, "", "", 1},
		"other rules": {func(c *config.Config) {
			ownRules(t, c, `{ name: none, match: { capabilities: [kf_reply] }, action: refuse }`)
		}, "refuse", "rule_refuse", 0},
		"no wait any more": {waitFor(0), "unsure", "store_unavailable", 0},
		"shadow":           {func(c *config.Config) { c.Policy.Mode = config.Shadow }, "pass", "shadow_mode", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newWaitRig(t, waitFor(10*time.Second))
			r.wire.Cut()
			reply := r.sends(r.gateway, sendMsg, replyTo(wrote))
			r.waiting(r.gateway, 1)
			r.reconfigures(test.change)
			reply.answer(test.verdict, test.reason)
			if took := time.Since(reply.began); took >= 10*time.Second {
				t.Errorf("after %s", took)
			}
			r.sentReplies(test.sent)
		})
	}
}

// One call more than an account may have waiting is answered at once, and takes nothing from
// another account.
func TestFullQueueAnswersAtOnce(t *testing.T) {
	const places = 256
	r := newWaitRig(t, func(c *config.Config) {
		c.Policy.UnsureWait = 10 * time.Second
		c.Accounts = append(c.Accounts, config.Account{CorpID: "wwOther", Subscription: c.Accounts[0].Subscription})
	})
	r.platform.AddCorp("wwOther", "other-secret", "wkOther")
	other := tokenOf(t, raw(t, r.gateway.api.Addr().String(), request("GET", "/cgi-bin/gettoken?corpid=wwOther&corpsecret=other-secret", "")))
	r.wire.Cut()
	for range places {
		r.sends(r.gateway, sendMsg, replyTo(wrote))
	}
	r.waiting(r.gateway, places)
	more := r.sends(r.gateway, sendMsg, replyTo(wrote))
	if a := more.answer("unsure", "store_unavailable"); a.Errcode != -1 || !strings.Contains(a.Errmsg, "too many calls are waiting") {
		t.Errorf("%s", a.body)
	}
	if took := time.Since(more.began); took >= 10*time.Second {
		t.Errorf("after %s", took)
	}
	r.token = other
	r.sends(r.gateway, sendMsg, replyTo("wmOfOther"))
	r.waiting(r.gateway, places+1)
	for _, rec := range r.waits("decision") {
		if rec.Wait != "queue_full" || rec.Waited != 0 {
			t.Errorf("%+v", rec)
		}
	}
	r.sentReplies(0)
}

// A gateway that stops answers what waits, and stops within its grace; so do those that come in the
// lame duck.
func TestStopEndsTheWait(t *testing.T) {
	r := newWaitRig(t, nil)
	shutdown := config.Shutdown{LameDuck: 2 * time.Second, Grace: 4 * time.Second}
	g, stop := r.startApart(r.redis, func(c *config.Config) { c.Policy.UnsureWait, c.Shutdown = 10*time.Second, shutdown })
	r.token = r.fetchToken(g)
	r.wire.Cut()
	reply := r.sends(g, sendMsg, replyTo(wrote))
	r.waiting(g, 1)
	began := time.Now()
	ended := stop()
	if a := reply.answer("unsure", "store_unavailable"); a.Errcode != -1 || !a.Close || !strings.Contains(a.Errmsg, "the gateway is stopping") {
		t.Errorf("%s", a.body)
	}
	if a := r.sends(g, sendMsg, replyTo(wrote)).answer("unsure", "store_unavailable"); a.Errcode != -1 || !a.Close || !strings.Contains(a.Errmsg, "the gateway is stopping") {
		t.Errorf("in the lame duck: %s", a.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*shutdown.Grace {
		t.Errorf("the stop took %s", took)
	}
	r.sentReplies(0)
	for _, rec := range r.waits("decision") {
		if rec.Wait != "shutdown" {
			t.Errorf("%+v", rec)
		}
	}
}

// Two gateways on one Redis, eight replies to one customer waiting: five are sent, each counted.
func TestTwoGatewaysWait(t *testing.T) {
	r := newWaitRig(t, strictly(waitFor(10*time.Second)))
	second := r.start(r.redis, strictly(waitFor(10*time.Second)))
	r.acquainted(r.gateway, 2)
	r.callAt(second, "POST", sendMsg, replyTo("wmOther")) // it learns the token
	r.wire.Cut()
	var replies []*sentCall
	for range 4 {
		replies = append(replies, r.sends(r.gateway, sendMsg, replyTo(wrote)), r.sends(second, sendMsg, replyTo(wrote)))
	}
	r.waiting(r.gateway, 4)
	r.waiting(second, 4)
	r.wire.Heal()
	var mu sync.Mutex
	left, refused := map[string]int{}, 0
	var done sync.WaitGroup
	for _, reply := range replies {
		done.Go(func() {
			a := readAnswer(t, bufio.NewReader(reply), reply.request)
			mu.Lock()
			defer mu.Unlock()
			if a.Errcode == 0 {
				left[a.Header.Get("Replygate-Replies-Left")]++
			} else if refused++; a.Errcode != 95001 {
				t.Errorf("%s", a.body)
			}
		})
	}
	done.Wait()
	for n := range 5 {
		if left[fmt.Sprint(n)] != 1 {
			t.Errorf("replies left: %v", left)
		}
	}
	if refused != 3 {
		t.Errorf("%d refused", refused)
	}
	r.sentReplies(5)
}

// A one-time code waits, too: it is taken by the judgement that sends.
func TestCodeWaits(t *testing.T) {
	r := newWaitRig(t, waitFor(10*time.Second))
	code := r.platform.CustomerEnters(corpID, channel, "wmEnters")
	r.sync()
	r.wire.Cut()
	first := r.sends(r.gateway, sendOnEvent, onEventWith(code))
	r.waiting(r.gateway, 1)
	r.wire.Heal()
	if a := first.answer("pass", "code_live"); a.Errcode != 0 {
		t.Errorf("%s", a.body)
	}
	if a := r.sends(r.gateway, sendOnEvent, onEventWith(code)).answer("refuse", "code_used"); a.Errcode != 95002 {
		t.Errorf("%s", a.body)
	}
}

// A rule that asks for the window waits for it, too.
func TestWhenWaits(t *testing.T) {
	r := newWaitRig(t, func(c *config.Config) {
		c.Policy.UnsureWait = 10 * time.Second
		ownRules(t, c, `{ name: open, match: { capabilities: [kf_reply] }, when: window.open, action: pass }`)
	})
	r.wire.Cut()
	reply := r.sends(r.gateway, sendMsg, replyTo(wrote))
	r.waiting(r.gateway, 1)
	r.wire.Heal()
	reply.answer("pass", "rule_pass")
	r.sentReplies(1)
}
