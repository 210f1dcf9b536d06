package outbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/events"
	"replygate/record"
	"replygate/store"
	"replygate/store/storetest"
)

const (
	signing    = "whsec_cmVwbHlnYXRlLXRlc3Qtc2VjcmV0LTMyLWJ5dGVzISE="
	oldSigning = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ="
)

// rig is an outbox with a log, and a clock that the test moves.
type rig struct {
	*testing.T
	*Outbox
	ahead atomic.Int64 // of the clock
	sinks atomic.Pointer[config.Events]
	n     int // events so far
}

func newRig(t *testing.T, c *store.Client, sinks config.Events) *rig {
	r := &rig{T: t}
	r.sinks.Store(&sinks)
	now := func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
	log := events.NewLog(c.UniversalClient, "rg:", 5*time.Second, events.MaxEvents, now)
	r.Outbox = &Outbox{
		Log: log, Redis: c.UniversalClient, Prefix: "rg:", Timeout: 5 * time.Second, Now: now, Errors: record.RateLimit(zap.NewNop(), now),
		Sinks: func() config.Events { return *r.sinks.Load() }, Zone: func() *time.Location { return time.UTC }, Link: func() string { return "" },
		Patience: 2 * time.Second,
	}
	return r
}

func embedded(t *testing.T, sinks config.Events) *rig {
	return newRig(t, storetest.Open(t, storetest.Embedded(t), time.Now), sinks)
}

func to(url string) config.Events {
	return config.Events{Webhooks: []config.Webhook{{Name: "crm", URL: url, Secrets: []config.Secret{signing, oldSigning}}}}
}

func (r *rig) advance(d time.Duration) { r.ahead.Add(int64(d)) }

// begins delivers until the returned function is called, or the test ends. It returns once every
// sink has its place in the log.
func (r *rig) begins() (stop func()) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Outbox.Run(ctx) }()
	stop = func() { cancel(); <-done }
	r.Cleanup(stop)
	for name := range r.wanted() {
		r.await("the place of "+name, func() bool { s, _ := r.read(ctx, name); return s.target != "" })
	}
	return stop
}

func (r *rig) await(what string, done func() bool) {
	r.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("%s did not come", what)
		}
	}
}

// logs appends events of a type and returns their ids.
func (r *rig) logs(kind, corp string, n int, data any) (ids []string) {
	r.Helper()
	var all []events.Event
	for range n {
		r.n++
		e := events.Event{Type: kind, At: r.Now(), Corp: corp, Key: []string{corp, fmt.Sprint(r.n)}, Data: data}
		all, ids = append(all, e), append(ids, e.ID())
	}
	if _, err := r.Log.Append(r.Context(), all...); err != nil {
		r.Fatal(err)
	}
	return ids
}

// closing is the data of a chat that closes at an instant.
func closing(at time.Time) map[string]any {
	return map[string]any{"corp_id": "wwA", "account": "Acme East", "standing": "lapsed", "before": "1h", "closes_at": events.Stamp(at)}
}

// receiver is an endpoint that answers as it is told, and notes what it gets.
type receiver struct {
	*testing.T
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc // nil: 204
	got    map[string]int   // :: webhook-id -> how often
	order  []string
}

func receives(t *testing.T, answer http.HandlerFunc) *receiver {
	r := &receiver{T: t, answer: answer, got: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	id := req.Header.Get("webhook-id")
	var at int64
	_, _ = fmt.Sscan(req.Header.Get("webhook-timestamp"), &at)
	for _, secret := range []config.Secret{signing, oldSigning} {
		key, _ := config.SigningKey(secret)
		if want := Sign([][]byte{key}, id, time.Unix(at, 0), body); !strings.Contains(" "+req.Header.Get("webhook-signature")+" ", " "+want+" ") {
			r.Errorf("the signature %q lacks %s", req.Header.Get("webhook-signature"), want)
		}
	}
	if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" || !bytes.Contains(body, []byte(`"id":"`+id+`"`)) || strings.Contains(id, ".") {
		r.Errorf("%s %v %s", req.Method, req.Header, body)
	}
	r.mu.Lock()
	r.got[id]++
	r.order = append(r.order, id)
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, req)
}

func (r *receiver) answers(with http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = with
}

// has returns how many requests came with an id, of all ids for "".
func (r *receiver) has(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == "" {
		return len(r.order)
	}
	return r.got[id]
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// The signature is that of Standard Webhooks: the npm package standardwebhooks accepts this one.
func TestSignature(t *testing.T) {
	key, ok := config.SigningKey(signing)
	body := `{"type":"window.closing","timestamp":"2026-11-29T21:30:00+08:00","data":{"corp_id":"ww0123456789abcdef"}}`
	got := Sign([][]byte{key}, "evt_0000018f3c2a7b40_00000007", time.Unix(1795959000, 0), []byte(body))
	if !ok || got != "v1,KB0acyp+BEUcSRWXiawFmWn9uFlf0a4eXFw1KOsGyg8=" {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{"", "whsec_", "cmVwbHlnYXRlLXRlc3Qtc2VjcmV0LTMyLWJ5dGVzISE=", "whsec_c2hvcnQ=", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)), "whsec_!"} {
		if _, ok := config.SigningKey(config.Secret(bad)); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A webhook gets what its filters select from when it was added, each event once, on every kind of
// Redis.
func TestDeliveries(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, c *store.Client) {
		in := receives(t, nil)
		sinks := to(in.URL)
		sinks.Webhooks[0].Types, sinks.Webhooks[0].Accounts = []string{"window.*", "store.down"}, []string{"wwA"}
		r := newRig(t, c, sinks)
		before := r.logs(events.StoreDown, "", 1, nil)
		stop := r.begins()
		want := append(r.logs(events.ClosedUnanswered, "wwA", 40, nil), r.logs(events.StoreDown, "", 1, nil)...)
		other := append(before, append(r.logs(events.ClosedUnanswered, "wwB", 1, nil), r.logs(events.StoreUp, "", 1, nil)...)...)
		r.await("every event", func() bool {
			due, err := r.waiting(t.Context(), sinks.Webhooks[0].Name) // an attempt that a stop cuts short is made again
			return err == nil && len(due) == 0 && in.has("") == len(want)
		})
		stop()
		after := r.logs(events.ClosedUnanswered, "wwA", 1, nil)
		r.begins()
		r.await("the event of the pause", func() bool { return in.has(after[0]) == 1 })
		for _, id := range want {
			if in.has(id) != 1 {
				t.Errorf("%s came %d times", id, in.has(id))
			}
		}
		for _, id := range other {
			if in.has(id) != 0 {
				t.Errorf("%s came", id)
			}
		}
		if n := r.Counted("crm"); n.Delivered != 42 || n.Failed != 0 {
			t.Errorf("%+v", n)
		}
		r.await("the end of what waits", func() bool { all, err := r.waiting(t.Context(), "crm"); return err == nil && len(all) == 0 })
	})
}

// What fails is tried again on the schedule of Standard Webhooks, and then given up.
func TestSchedule(t *testing.T) {
	in := receives(t, status(http.StatusInternalServerError))
	r := embedded(t, to(in.URL))
	r.begins()
	id := r.logs(events.AccountStopsSoon, "wwA", 1, nil)[0]
	for n := 1; n <= len(schedule); n++ {
		r.await(fmt.Sprintf("attempt %d", n), func() bool { return in.has(id) == n })
		if n == len(schedule) {
			break
		}
		var left time.Duration
		r.await("the next time", func() bool {
			found, err := r.Redis.ZRangeWithScores(t.Context(), r.dueKey("crm"), 0, -1).Result()
			if err != nil || len(found) != 1 || !strings.Contains(fmt.Sprint(found[0].Member), fmt.Sprintf(" %d ", n)) {
				return false
			}
			left = time.UnixMilli(int64(found[0].Score)).Sub(r.Now())
			return true
		})
		if d := schedule[n]; left > d+d/10 || left < d-d/10-2*time.Second {
			t.Errorf("attempt %d comes after %s, want about %s", n+1, left, d)
		}
		r.advance(left)
	}
	r.await("the end", func() bool { return r.Counted("crm").GivenUp[Exhausted] == 1 })
	r.await("nothing to wait", func() bool { all, err := r.waiting(t.Context(), "crm"); return err == nil && len(all) == 0 })
	if s, _ := r.read(t.Context(), "crm"); s.disabled != "" || s.failing.IsZero() || s.failure != "HTTP 500" {
		t.Errorf("%+v", s)
	}
}

// hijacked writes what no server would.
func hijacked(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}
}

// Each answer has its consequence: success, one more attempt, a slower pace, or the end.
func TestAnswers(t *testing.T) {
	t.Parallel()
	elsewhere := receives(t, nil)
	held := make(chan struct{})
	defer close(held)
	for _, c := range []struct {
		name       string
		answer     http.HandlerFunc
		delivered  bool
		why        string
		slow, gone bool
		pause      time.Duration // at least
	}{
		{name: "200 with a body that does not end", delivered: true, answer: func(w http.ResponseWriter, req *http.Request) {
			_ = http.NewResponseController(w).Flush()
			for req.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		}},
		{name: "200 with a length that lies", delivered: true, answer: hijacked("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok")},
		{name: "299", delivered: true, answer: status(299)},
		{name: "redirect", why: "HTTP 307: redirects are not followed", answer: http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP},
		{name: "304", why: "HTTP 304: redirects are not followed", answer: status(304)},
		{name: "400", why: "HTTP 400", answer: status(400)},
		{name: "410", why: "HTTP 410", gone: true, answer: status(410)},
		{name: "429 without a time", why: "HTTP 429", slow: true, pause: 900 * time.Millisecond, answer: status(429)},
		{name: "429 with seconds", why: "HTTP 429", slow: true, pause: 590 * time.Second, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(429)
		}},
		{name: "503 with a date", why: "HTTP 503", slow: true, pause: 50 * time.Minute, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(503)
		}},
		{name: "503 with a time that never ends", why: "HTTP 503", slow: true, pause: 23 * time.Hour, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "99999999999")
			w.WriteHeader(503)
		}},
		{name: "no HTTP", why: "malformed HTTP", slow: true, answer: hijacked("SSH-2.0-OpenSSH_9.6\r\n")},
		{name: "a head that does not end", why: "", slow: true, answer: hijacked("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20))},
		{name: "it hangs up", why: "EOF", slow: true, answer: hijacked("")},
		{name: "it hangs", why: "no answer in time", slow: true, answer: func(_ http.ResponseWriter, req *http.Request) {
			select {
			case <-held:
			case <-req.Context().Done():
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := receives(t, c.answer)
			r := embedded(t, to(in.URL))
			r.begins()
			id := r.logs(events.AccountStopsSoon, "wwA", 1, nil)[0]
			r.await("the outcome", func() bool { n := r.Counted("crm"); return n.Delivered+n.Failed > 0 })
			if n := r.Counted("crm"); (n.Delivered == 1) != c.delivered {
				t.Fatalf("%+v", n)
			}
			if c.delivered {
				r.await("nothing to wait", func() bool { all, err := r.waiting(t.Context(), "crm"); return err == nil && len(all) == 0 })
				return
			}
			var s state
			r.await("the state", func() bool { s, _ = r.read(t.Context(), "crm"); return s.failure != "" })
			if !strings.Contains(s.failure, c.why) || strings.Contains(s.failure, in.URL) || (s.disabled != "") != c.gone || s.until.IsZero() == c.slow || s.failing.IsZero() {
				t.Errorf("%+v", s)
			}
			if left := s.until.Sub(r.Now()); c.slow && (left < c.pause-5*time.Second || left > maxRetryAfter) {
				t.Errorf("it is left alone for %s", left)
			}
			if all, err := r.waiting(t.Context(), "crm"); err != nil || len(all) != 1 || all[0].attempt != 1 {
				t.Errorf("%v %v", all, err)
			}
			// Once the endpoint is well it gets the event.
			in.answers(nil)
			if c.gone {
				told, err := r.Log.Read(t.Context(), "", 10)
				if err != nil || len(told) != 2 || told[1].Type != events.WebhookDisabled || !strings.Contains(string(told[1].JSON), `"name":"crm"`) {
					t.Errorf("%s %v", told, err)
				}
				if _, _, err := r.Resend(t.Context(), "crm", time.Time{}); err != ErrDisabled {
					t.Errorf("%v", err)
				}
				if n := in.has(""); n != 1 {
					t.Errorf("%d requests", n)
				}
				if got, err := r.Test(t.Context(), "crm"); err != nil || !got.OK || !got.Enabled || got.Status != 204 {
					t.Errorf("%+v %v", got, err)
				}
			}
			r.advance(25 * time.Hour)
			r.await("the event", func() bool { return in.has(id) == 2 && r.Counted("crm").Delivered > 0 })
			r.await("the state of the one that is well", func() bool {
				s, err := r.read(t.Context(), "crm")
				return err == nil && s.failing.IsZero() && s.failure == ""
			})
		})
	}
	if elsewhere.has("") != 0 {
		t.Error("a redirect was followed")
	}
}

// An endpoint that is down for a day gets everything, but for announcements that are over; while it
// is down it is asked rarely.
func TestDownForADay(t *testing.T) {
	t.Parallel()
	in := receives(t, nil)
	address := in.Listener.Addr().String()
	r := embedded(t, to("http://"+address))
	r.begins()
	in.Close()
	first := r.logs(events.WindowClosing, "wwA", 1, closing(r.Now().Add(time.Hour)))
	r.await("a failure", func() bool { return r.Counted("crm").Failed > 0 })
	var want []string
	for range 24 {
		want = append(want, r.logs(events.ClosedUnanswered, "wwA", 20, nil)...)
		r.advance(time.Hour)
		failed := r.Counted("crm").Failed
		r.await("one more failure", func() bool { return r.Counted("crm").Failed > failed })
	}
	want = append(want, r.logs(events.WindowClosing, "wwA", 1, closing(r.Now().Add(time.Hour)))...)
	if n := r.Counted("crm").Failed; n > 24*6 {
		t.Errorf("%d attempts in a day", n)
	}
	var again net.Listener
	r.await("the address", func() (ok bool) { var err error; again, err = net.Listen("tcp", address); return err == nil })
	server := &http.Server{Handler: in, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(again) }()
	defer server.Close()
	// An event that failed often comes last.
	r.await("everything", func() bool {
		r.advance(10 * time.Minute)
		time.Sleep(100 * time.Millisecond)
		for _, id := range want {
			if in.has(id) == 0 {
				return false
			}
		}
		return true
	})
	if in.has(first[0]) != 0 || r.Counted("crm").GivenUp[Outdated] != 1 {
		t.Errorf("an announcement that is over: %+v", r.Counted("crm"))
	}
	if r.Counted("crm").Delivered != int64(len(want)) {
		t.Errorf("%d deliveries of %d", r.Counted("crm").Delivered, len(want))
	}
}

// After five days without a success a webhook is disabled, until its URL changes or a test
// succeeds. Others hear of it, and are not held up.
func TestDisabled(t *testing.T) {
	bad, good := receives(t, status(500)), receives(t, nil)
	sinks := to(bad.URL)
	sinks.Webhooks = append(sinks.Webhooks, config.Webhook{Name: "duty", URL: good.URL, Secrets: sinks.Webhooks[0].Secrets, Types: []string{"webhook.*"}})
	r := embedded(t, sinks)
	r.begins()
	for day := range 6 {
		failed := r.Counted("crm").Failed
		r.logs(events.AccountStopsSoon, "wwA", 1, nil)
		r.await(fmt.Sprintf("failures of day %d", day), func() bool { return r.Counted("crm").Failed > failed })
		if s, _ := r.read(t.Context(), "crm"); day < 5 && s.disabled != "" {
			t.Fatalf("disabled on day %d", day)
		}
		r.advance(24*time.Hour + time.Minute)
	}
	r.await("the end", func() bool { s, _ := r.read(t.Context(), "crm"); return strings.Contains(s.disabled, "five days") })
	r.await("the news of it", func() bool { return good.has("") == 1 })
	waits := r.logs(events.AccountStopsSoon, "wwA", 1, nil)[0]
	if got, err := r.Test(t.Context(), "crm"); err != nil || got.OK || got.Status != 500 || got.Error != "HTTP 500" {
		t.Errorf("%+v %v", got, err)
	}
	moved := sinks
	moved.Webhooks = append([]config.Webhook{}, sinks.Webhooks...)
	moved.Webhooks[0].URL = good.URL
	r.sinks.Store(&moved)
	r.await("what waited", func() bool { return good.has(waits) == 1 })
	if all, err := r.readStatus(t.Context()); err != nil || len(all) != 2 || all[0].Disabled != "" || all[0].Kind != KindWebhook || all[1].Name != "duty" {
		t.Errorf("%+v %v", all, err)
	}
}

// What was logged since an instant can be had again.
func TestResend(t *testing.T) {
	in := receives(t, nil)
	r := embedded(t, to(in.URL))
	r.begins()
	first := r.logs(events.StoreUp, "", 3, nil)
	r.await("the first ones", func() bool { return in.has("") == 3 })
	time.Sleep(clockSlack + 200*time.Millisecond) // the log's positions are by the clock of Redis
	since := time.Now()
	second := r.logs(events.StoreUp, "", 700, nil)
	r.await("the second ones", func() bool { return in.has("") == 703 })
	r.await("the position", func() bool { all, err := r.readStatus(t.Context()); return err == nil && all[0].Due == 0 })
	n, more, err := r.Resend(t.Context(), "crm", since)
	if n != 700 || more || err != nil {
		t.Errorf("%d %t %v", n, more, err)
	}
	r.await("these again", func() bool { return in.has("") == 1403 })
	if in.has(first[2]) != 1 || in.has(second[0]) != 2 || in.has(second[699]) != 2 {
		t.Error("others came")
	}
	if _, _, err := r.Resend(t.Context(), "cms", since); err != ErrUnknown {
		t.Errorf("%v", err)
	}
	if _, err := r.Test(t.Context(), "cms"); err != ErrUnknown {
		t.Errorf("%v", err)
	}
}

// What waits is bounded: the oldest announcements of chats go first.
func TestBound(t *testing.T) {
	r := embedded(t, to("http://127.0.0.1:1"))
	var all []pending
	for n := range maxDue + 30 {
		kind := events.StoreUp
		if n >= 100 && n < 120 {
			kind = events.ClosedUnanswered
		}
		all = append(all, pending{position: fmt.Sprintf("%d-0", n+1), kind: kind})
	}
	if err := r.enqueue(t.Context(), "crm", all); err != nil {
		t.Fatal(err)
	}
	if n, err := r.limit(t.Context(), "crm"); n != 30 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	left, err := r.waiting(t.Context(), "crm")
	if err != nil || len(left) != maxDue {
		t.Fatalf("%d %v", len(left), err)
	}
	for _, p := range left {
		if p.kind != events.StoreUp || p.position == "10-0" {
			t.Errorf("%v is left", p)
		}
	}
	if n, err := r.limit(t.Context(), "crm"); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

// What is under way when a gateway stops is delivered, and not sent again by the next one. An
// endpoint that does not answer holds up nobody.
func TestStopDuringAttempts(t *testing.T) {
	arrived, answer := make(chan struct{}, 100), make(chan struct{})
	in := receives(t, func(w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		select {
		case <-answer:
			w.WriteHeader(204)
		case <-req.Context().Done(): // the attempt was cut short
		}
	})
	r := embedded(t, to(in.URL))
	r.Patience = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.Outbox.Run(ctx) }()
	r.await("the place", func() bool { s, _ := r.read(t.Context(), "crm"); return s.target != "" })
	want := r.logs(events.ClosedUnanswered, "wwA", atOnce, nil)
	for range want {
		<-arrived
	}
	cancel()
	close(answer)
	<-stopped
	waits, err := r.waiting(t.Context(), "crm")
	if err != nil || len(waits) > 0 {
		t.Errorf("%d events wait for the next gateway, %v; all were delivered", len(waits), err)
	}

	in.answers(func(_ http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		<-req.Context().Done()
	})
	stop := r.begins()
	r.logs(events.ClosedUnanswered, "wwA", 1, nil)
	<-arrived
	began := time.Now()
	if stop(); time.Since(began) > 5*lastMoment {
		t.Errorf("the stop took %v", time.Since(began))
	}
	if waits, err := r.waiting(t.Context(), "crm"); err != nil || len(waits) != 1 {
		t.Errorf("%d events wait for the next gateway, want the one that was not answered; %v", len(waits), err)
	}
}

// Two gateways with one lock deliver everything when one of them stops in the middle. Only what is
// under way can come twice, if a gateway loses the lock meanwhile.
func TestGatewaysTakeTurns(t *testing.T) {
	c := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	in := receives(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2 * time.Millisecond)
		w.WriteHeader(204)
	})
	r := newRig(t, c, to(in.URL))
	lead := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			store.NewLeader(c.UniversalClient, "rg:leader:outbox", time.Second).Run(ctx, newLike(r).Run)
		}()
		stop = func() { cancel(); <-done }
		t.Cleanup(stop)
		return stop
	}
	stop := lead()
	r.await("the place", func() bool { s, _ := r.read(t.Context(), "crm"); return s.target != "" })
	lead()
	want := r.logs(events.ClosedUnanswered, "wwA", 300, nil)
	r.await("some", func() bool { return in.has("") > 50 })
	stop()
	r.await("all", func() bool {
		for _, id := range want {
			if in.has(id) == 0 {
				return false
			}
		}
		return true
	})
	if n := in.has(""); n > 300+atOnce {
		t.Errorf("%d requests for 300 events", n)
	}
}

// newLike returns the outbox of another gateway.
func newLike(r *rig) *Outbox {
	o := r.Outbox
	return &Outbox{Log: o.Log, Redis: o.Redis, Prefix: o.Prefix, Timeout: o.Timeout, Now: o.Now, Errors: o.Errors, Sinks: o.Sinks, Zone: o.Zone, Link: o.Link, WeCom: o.WeCom, Patience: o.Patience}
}

// No request leaves for a link-local address, or in the clear for another machine, whatever a name
// resolves to.
func TestAddresses(t *testing.T) {
	for _, address := range []string{"169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::", "224.0.0.1"} {
		if noMetadata(netip.MustParseAddr(address).Unmap().WithZone("")) == nil {
			t.Errorf("%s is allowed", address)
		}
		if onlyLoopback(netip.MustParseAddr(address).Unmap().WithZone("")) == nil {
			t.Errorf("%s is this machine", address)
		}
	}
	for _, address := range []string{"10.1.2.3", "127.0.0.1", "2001:db8::1", "203.0.113.7"} {
		if err := noMetadata(netip.MustParseAddr(address)); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"https://169.254.169.254/latest", "https://[fe80::1%25lo]/", "http://10.255.255.1/"} {
		r := embedded(t, to(url))
		if got := newWebhook(r.Outbox, r.Sinks().Webhooks[0]).send(t.Context(), "evt_1", []byte("{}")); got.status != 0 || !strings.Contains(got.why, "is refused") && !strings.Contains(got.why, "not this machine") {
			t.Errorf("%s: %+v", url, got)
		}
	}
}
