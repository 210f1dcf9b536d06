package proxy_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/window"
)

// newWaiting returns a harness whose replies wait up to most for a Redis that is away.
func newWaiting(t *testing.T, most time.Duration, change func(*config.Config)) *harness {
	t.Helper()
	r := newHarness(t, func(c *config.Config) {
		named(c)
		c.Policy.UnsureWait = most
		if change != nil {
			change(c)
		}
	})
	r.gateway.RedisAnswers = func() bool { return !r.redis.away.Load() }
	r.redis.away.Store(true)
	return r
}

// begin sends a call and returns its answer once it is there.
func (r *harness) begin(a ask) <-chan answer {
	got := make(chan answer, 1)
	conn, request := r.open(a)
	go func() {
		defer conn.Close()
		got <- r.read(conn, request)
	}()
	return got
}

// open sends a call on a connection of its own.
func (r *harness) open(a ask) (conn net.Conn, request string) {
	r.Helper()
	conn, err := net.Dial("tcp", r.api)
	if err != nil {
		r.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	request = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", a.target, len(a.body), a.body)
	if _, err := io.WriteString(conn, request); err != nil {
		r.Fatal(err)
	}
	return conn, request
}

// untilWaiting returns once so many calls wait.
func (r *harness) untilWaiting(n int) {
	r.Helper()
	for began := time.Now(); r.gateway.Waiting() != n; time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			r.Fatalf("%d calls wait, want %d", r.gateway.Waiting(), n)
		}
	}
}

// outcome is how the wait of a call came out, by its record, its access record and the metric,
// which agree.
func (r *harness) outcome(moved map[string]float64) string {
	r.Helper()
	access, decision := r.lastRecords()
	outcome, _ := access["wait"].(string)
	counted := ""
	for name := range moved {
		if label, ok := strings.CutPrefix(name, `replygate_unsure_wait_seconds{outcome="`); ok {
			counted += strings.TrimSuffix(label, `"}`)
		}
	}
	if again, _ := decision["wait"].(string); decision != nil && again != outcome || counted != outcome {
		r.Errorf("the decision record says %q, the access record %q, the metric %q", again, outcome, counted)
	}
	return outcome
}

// A reply waits while Redis is away, holds no place after that, and is judged anew when something
// may have changed.
func TestCallsThatWait(t *testing.T) {
	t.Parallel()
	li := window.Key{Corp: corpLapsed, Channel: "wkOwn", Customer: wmLi} // no account lists the channel
	back := func(r *harness) { r.redis.away.Store(false) }
	for _, test := range []struct {
		name    string
		change  func(*config.Config)
		open    bool   // the window
		target  string // {L} is a known token
		does    func(r *harness)
		verdict string
		text    string // in the errmsg
		outcome string
		sent    int
	}{
		{"Redis comes back, and the window is open", nil, true, sendMsg + "?access_token={L}", back, "pass window_open", "", "passed", 1},
		{"and the window is closed", nil, false, sendMsg + "?access_token={L}", back, "refuse window_closed", "has not written", "refused", 0},
		{"a token of another gateway", nil, true, sendMsg + "?access_token=elsewhere", back, "pass window_open", "", "passed", 1},
		{"a token of nobody", nil, true, sendMsg + "?access_token=nobodys", back, "refuse unknown_token", "fetch a new one", "refused", 0},
		{"the rules change", nil, false, sendMsg + "?access_token={L}", func(r *harness) {
			r.reconfigure(func(c *config.Config) { c.Policy.Ruleset = "off" })
		}, " ", "", "passed", 1},
		{"the wait is abolished", nil, false, sendMsg + "?access_token={L}", func(r *harness) {
			r.reconfigure(func(c *config.Config) { c.Policy.UnsureWait = 0 })
		}, "unsure store_unavailable", "; the call waited ", "still_unsure", 0},
		{"the gateway stops", nil, false, sendMsg + "?access_token={L}", func(r *harness) { r.draining.Store(true) },
			"unsure store_unavailable", "; the gateway is stopping, so the call waits no longer; rule=", "shutdown", 0},
		{"the gateway stops, and unsure ones pass", func(c *config.Config) { c.Policy.OnUnsure = config.Pass }, false, sendMsg + "?access_token={L}",
			func(r *harness) { r.draining.Store(true) }, "unsure store_unavailable", "", "shutdown", 1},
	} {
		r := newWaiting(t, 15*time.Second, test.change)
		r.redis.away.Store(false)
		if test.open {
			r.wrote(li, r.clock.Now())
		}
		if err := newTokens(r).Learn(t.Context(), "elsewhere", corpLapsed, time.Hour); err != nil {
			t.Fatal(err)
		}
		token := r.token(corpLapsed)
		r.redis.away.Store(true)
		var a answer
		moved := r.moved(func() {
			got := r.begin(ask{target: strings.ReplaceAll(test.target, "{L}", token), body: toLi("wkOwn")})
			r.untilWaiting(1)
			test.does(r)
			a = <-got
		})
		if got := a.header.Get("Replygate-Verdict") + " " + a.header.Get("Replygate-Reason"); got != test.verdict || !strings.Contains(a.Errmsg, test.text) {
			t.Errorf("%s: %s %s", test.name, got, a.body)
		}
		if outcome := r.outcome(moved); outcome != test.outcome {
			t.Errorf("%s: the wait came out %q, want %q", test.name, outcome, test.outcome)
		}
		if n := r.platform.Count(sendMsg); n != test.sent || r.gateway.Waiting() != 0 {
			t.Errorf("%s: %d calls reached WeCom, want %d; %d wait", test.name, n, test.sent, r.gateway.Waiting())
		}
	}
}

// A wait ends with policy.unsure_wait, and the answer says how long it was.
func TestWaitInVain(t *testing.T) {
	t.Parallel()
	const most = 300 * time.Millisecond
	r := newWaiting(t, most, nil)
	var a answer
	began := time.Now()
	moved := r.moved(func() { a = <-r.begin(ask{target: sendMsg + "?access_token=u", body: toLi(wkLapsed)}) })
	if took := time.Since(began); took < most {
		t.Errorf("it waited %v", took)
	}
	if a.Errcode != -1 || !strings.Contains(a.Errmsg, "; the call waited ") || !strings.Contains(a.Errmsg, " in vain; rule=") || a.Replygate.Verdict != "unsure" {
		t.Errorf("%s", a.body)
	}
	if outcome := r.outcome(moved); outcome != "still_unsure" {
		t.Errorf("the wait came out %q", outcome)
	}
	_, d := r.lastRecords()
	if waited, _ := d["waited_ms"].(float64); waited < float64(most.Milliseconds()) || d["forwarded"] != false {
		t.Errorf("record %v", d)
	}
}

// Only replies wait: what WeCom does not bound by a window is answered at once.
func TestCallsThatDoNotWait(t *testing.T) {
	t.Parallel()
	r := newWaiting(t, 20*time.Second, nil)
	for _, test := range []struct{ name, target, body, want string }{
		{"an interface", mass + "?access_token=u", "{}", "unsure store_unavailable by none"},
		{"an ambiguous body", sendMsg + "?access_token=" + r.known(corpLapsed), `{"touser":1,"touser":2}`, "refuse ambiguous_body, wwLapsed by token"},
		{"no token", sendMsg, toLi(wkLapsed), "refuse missing_token by none"},
	} {
		began := time.Now()
		if got := r.fate(ask{target: test.target, body: test.body}); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it waited %v", test.name, took)
		}
		if access, _ := r.lastRecords(); access["wait"] != nil {
			t.Errorf("%s: record %v", test.name, access)
		}
	}
	r.draining.Store(true)
	if a := r.ask(ask{target: sendMsg + "?access_token=u", body: toLi(wkLapsed)}); !strings.Contains(a.Errmsg, "; the gateway is stopping") || !a.closed {
		t.Errorf("while the gateway stops: %s", a.body)
	}
}

// known returns a token of a corp that this gateway knows though Redis is away.
func (r *harness) known(corp string) string {
	r.Helper()
	r.redis.away.Store(false)
	defer r.redis.away.Store(true)
	return r.token(corp)
}

// A call whose client has gone is dropped: it is not sent once Redis is back.
func TestClientLeavesWhileItsCallWaits(t *testing.T) {
	t.Parallel()
	r := newWaiting(t, 20*time.Second, nil)
	target := sendMsg + "?access_token=" + r.known(corpLapsed)
	for name, leaves := range map[string]func(*net.TCPConn){
		"closes":             func(c *net.TCPConn) { c.Close() },
		"resets":             func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() },
		"closes for writing": func(c *net.TCPConn) { _ = c.CloseWrite() },
	} {
		r.records.take(t, "")
		conn, request := r.open(ask{target: target, body: toLi(wkLapsed)})
		r.untilWaiting(1)
		leaves(conn.(*net.TCPConn))
		r.untilWaiting(0)
		if name == "closes for writing" {
			if a := r.read(conn, request); a.Errcode != -1 || !a.closed || !strings.Contains(a.Errmsg, "the client closed its connection while the call was waiting, so it was dropped; nothing was sent, send it again") {
				t.Errorf("%s: %s", name, a.body)
			}
		}
		conn.Close()
		r.untilRecorded()
		access, decision := r.lastRecords()
		if access["wait"] != "client_gone" || decision["wait"] != "client_gone" || access["error_kind"] != "client_aborted" || decision["forwarded"] != false {
			t.Errorf("%s: records %v, %v", name, access, decision)
		}
	}
	r.redis.away.Store(false)
	if n := r.platform.Count(sendMsg); n != 0 {
		t.Errorf("%d dropped calls reached WeCom", n)
	}
}

// untilRecorded returns once a request has left its record.
func (r *harness) untilRecorded() {
	r.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		r.records.mu.Lock()
		n := 0
		for _, line := range r.records.lines {
			if strings.Contains(string(line), `"msg":"request"`) {
				n++
			}
		}
		r.records.mu.Unlock()
		if n > 0 {
			return
		}
		if time.Since(began) > 20*time.Second {
			r.Fatal("no record of the request")
		}
	}
}

// Places to wait are bounded for each account by the bytes of its bodies; one that finds none is
// answered at once, while another account's waits.
func TestQueueIsFull(t *testing.T) {
	t.Parallel()
	r := newWaiting(t, 20*time.Second, nil)
	target := sendMsg + "?access_token=" + r.known(corpLapsed)
	body := toLi(wkLapsed)
	large := ask{target: target, body: body + strings.Repeat(" ", 1<<20-len(body))}
	var waiting []<-chan answer
	for n := range 4 { // of a megabyte each
		waiting = append(waiting, r.begin(large))
		r.untilWaiting(n + 1)
	}
	a := r.ask(ask{target: target, body: body})
	if a.Errcode != -1 || !strings.Contains(a.Errmsg, "; too many calls are waiting already, so this one was answered at once; rule=") {
		t.Errorf("one more: %s", a.body)
	}
	waiting = append(waiting, r.begin(ask{target: sendMsg + "?access_token=u", body: toLi("wkNew")}))
	r.untilWaiting(5)
	r.redis.away.Store(false)
	for i, got := range waiting {
		if a := <-got; a.Replygate.Verdict != "refuse" {
			t.Errorf("%d: %s", i, a.body)
		}
	}
	if n := r.gateway.Waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
}
