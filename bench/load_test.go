package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i+1) * time.Millisecond
	}
	for _, c := range []struct {
		name             string
		latencies        []time.Duration
		median, p99, max time.Duration
	}{
		{"one", hundred[:1], time.Millisecond, time.Millisecond, time.Millisecond},
		{"two", hundred[:2], time.Millisecond, time.Millisecond, 2 * time.Millisecond},
		{"three", hundred[:3], 2 * time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond},
		{"a hundred", hundred, 50 * time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond},
	} {
		f := figures{latencies: c.latencies}
		if f.quantile(0.5) != c.median || f.quantile(0.99) != c.p99 || f.quantile(1) != c.max {
			t.Errorf("%s: median %s, p99 %s, max %s", c.name, f.quantile(0.5), f.quantile(0.99), f.quantile(1))
		}
	}
	f := figures{calls: 500, took: 250 * time.Millisecond}
	if got := f.rate(); got != 2000 {
		t.Errorf("rate = %f", got)
	}
	if got := f.perCall(10 * time.Millisecond); got != 20 {
		t.Errorf("perCall = %f us, want 20", got)
	}
}

// target is a server that counts calls and returns an answer.
type target struct {
	addr  string
	calls atomic.Int64
	mu    sync.Mutex
	last  string // method, URI, content type and body of one call
}

func newTarget(t *testing.T, answer string) *target {
	t.Helper()
	s := &target{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.calls.Add(1)
		s.mu.Lock()
		s.last = strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Content-Type"), string(body)}, " ")
		s.mu.Unlock()
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	s.addr = strings.TrimPrefix(server.URL, "http://")
	return s
}

func rowTo(clients, rate int, errcode string) row {
	return row{kind{name: "test", corp: lapsed, target: replyPath, body: open, errcode: errcode}, load{name: "test", clients: clients, rate: rate}}
}

// A call is a POST of JSON with the corp's token.
func TestCall(t *testing.T) {
	t.Parallel()
	s := newTarget(t, `{"errcode":0,"errmsg":"ok"}`)
	client := &fasthttp.HostClient{Addr: s.addr}
	if err := call(client, s.addr, rowTo(1, 0, "0").kind, 3); err != nil {
		t.Fatal(err)
	}
	want := "POST /cgi-bin/kf/send_msg?access_token=" + token(lapsed) + " application/json " + string(open(3))
	if s.last != want {
		t.Errorf("the call is %q, want %q", s.last, want)
	}
}

// Another errcode fails a call, also one that only begins with the right digits.
func TestCallChecksTheAnswer(t *testing.T) {
	t.Parallel()
	for answer, ok := range map[string]bool{
		`{"errcode":0,"errmsg":"ok"}`:        true,
		`{"errcode":48002,"errmsg":"x"}`:     false,
		`{"errcode":01,"errmsg":"x"}`:        false,
		`{"errmsg":"no errcode"}`:            false,
		``:                                   false,
		`<html>errcode</html>`:               false,
		`{"errmsg":"x","errcode":0,"a":"b"}`: true,
	} {
		s := newTarget(t, answer)
		err := call(&fasthttp.HostClient{Addr: s.addr}, s.addr, rowTo(1, 0, "0").kind, 1)
		if (err == nil) != ok {
			t.Errorf("answer %q: %v", answer, err)
		}
		if err != nil && answer != "" && !strings.Contains(err.Error(), answer) {
			t.Errorf("the error %q does not show the answer", err)
		}
	}
}

// Every call that was sent is in the figures, and latencies are sorted.
func TestSendCountsCalls(t *testing.T) {
	t.Parallel()
	s := newTarget(t, `{"errcode":0,"errmsg":"ok"}`)
	const each = 100 * time.Millisecond
	f, err := send(rowTo(4, 0, "0"), s.addr, each, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.calls == 0 || f.calls != s.calls.Load() || int64(len(f.latencies)) != f.calls {
		t.Errorf("%d calls with %d latencies; the server had %d", f.calls, len(f.latencies), s.calls.Load())
	}
	if !slices.IsSorted(f.latencies) || f.latencies[0] <= 0 {
		t.Error("latencies are not sorted, or not positive")
	}
	if f.took < each || f.gateway != 0 || f.redis != 0 {
		t.Errorf("it took %s of %s; CPU %s and %s without processes", f.took, each, f.gateway, f.redis)
	}
}

// A rate is an upper bound, however many connections there are.
func TestSendKeepsTheRate(t *testing.T) {
	t.Parallel()
	s := newTarget(t, `{"errcode":0,"errmsg":"ok"}`)
	const rate, each = 100, 300 * time.Millisecond
	f, err := send(rowTo(8, rate, "0"), s.addr, each, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(rate * each / time.Second); f.calls > most || f.calls == 0 {
		t.Errorf("%d calls, want %d at most", f.calls, most)
	}
}

// The first failed call ends a row, with its error.
func TestSendFails(t *testing.T) {
	t.Parallel()
	s := newTarget(t, `{"errcode":40001,"errmsg":"x"}`)
	began := time.Now()
	_, err := send(rowTo(4, 0, "0"), s.addr, time.Minute, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "40001") {
		t.Errorf("error %v", err)
	}
	if n := s.calls.Load(); n > 8 || time.Since(began) > 30*time.Second {
		t.Errorf("%d calls after the first failure, %s", n, time.Since(began))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	if _, err := send(rowTo(2, 0, "0"), addr, time.Minute, nil, nil); err == nil {
		t.Error(fmt.Sprint("nothing listens at ", addr, ", and no call fails"))
	}
}
