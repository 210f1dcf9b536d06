package upstream_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/upstream"
)

// long is a timeout that no test waits for.
const long = time.Minute

// listen accepts connections until the test ends and has each served, numbered from 0.
func listen(t testing.TB, serve func(n int, conn net.Conn, br *bufio.Reader)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(n, conn, bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

func open(t testing.TB, url string, timeout time.Duration) *upstream.Upstream {
	t.Helper()
	u, err := upstream.New(config.Upstream{URL: url, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// head is the head of a request: its lines without the empty one.
func head(t testing.TB, lines string) *fasthttp.RequestHeader {
	t.Helper()
	var h fasthttp.RequestHeader
	if err := h.Read(bufio.NewReader(strings.NewReader(strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n\r\n"))); err != nil {
		t.Fatal(err)
	}
	return &h
}

// call sends a request and reads the whole answer.
func call(t testing.TB, u *upstream.Upstream, method, path, body string) (status int, answer string, err error) {
	t.Helper()
	var resp fasthttp.Response
	r := &upstream.Request{Head: head(t, method+" "+path+" HTTP/1.1\nHost: g"), Target: []byte(path), Host: u.Host(), Body: []byte(body)}
	b, err := u.Do(r, &resp, time.Time{})
	if err != nil || b == nil {
		return resp.StatusCode(), "", err
	}
	all, err := io.ReadAll(b)
	if cerr := b.Close(); cerr != nil {
		t.Errorf("closing the body: %v", cerr)
	}
	return resp.StatusCode(), string(all), err
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

// answer reads a request and answers it.
func answer(conn net.Conn, br *bufio.Reader, with string) (path string, err error) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return "", err
	}
	_, err = io.WriteString(conn, with)
	return r.URL.Path, err
}

// What an answer comes to, and whether its connection is used again.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct {
		name, method, answer string
		status               int    // 0: the head is an error
		body, err            string // "cut": the body ends early
		reused               bool
	}{
		{"a length", "GET", ok, 200, "{}", "", true},
		{"an empty body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", "", true},
		{"chunks", "GET", chunked + "2\r\n{\"\r\n3\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n", 200, `{"":1}`, "", true},
		{"chunks and a trailer", "GET", chunked + "2\r\n{}\r\n0\r\nDigest: x\r\nX-More: y\r\n\r\n", 200, "{}", "", true},
		{"a trailer without end", "GET", chunked + "0\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n", 200, "", "the trailer has no end", false},
		{"chunks that are none", "GET", chunked + "zz\r\n{}\r\n", 200, "", "invalid byte in chunk length", false},
		{"until the connection ends", "GET", "HTTP/1.1 200 OK\r\n\r\nall", 200, "all", "", false},
		{"HTTP/1.0 until the connection ends", "GET", "HTTP/1.0 200 OK\r\n\r\nall", 200, "all", "", false},
		{"HTTP/1.0 with a length", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", "", false},
		{"Connection: close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", "", false},
		{"100 first", "POST", "HTTP/1.1 100 Continue\r\n\r\n" + ok, 200, "{}", "", true},
		{"eight interim answers", "GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 7) + ok, 200, "{}", "", true},
		{"too many interim answers", "GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 8) + ok, 0, "", "too many interim answers", false},
		{"101", "GET", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 0, "", "switches protocols", false},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, "", "", true},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", "", true},
		{"304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", "", true},
		{"bytes after the answer", "GET", ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200, "{}", "", false},
		{"a body after 204", "GET", "HTTP/1.1 204 No Content\r\n\r\nevil", 204, "", "", false},
		{"two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nevil", 0, "", "more than one way", false},
		{"a length and chunks", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "", "more than one way", false},
		{"a head without end", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 0, "", "head is too large", false},
		{"no HTTP", "GET", "SSH-2.0-OpenSSH\r\n\r\n", 0, "", "not one of HTTP's", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int32
			u := open(t, listen(t, func(n int, conn net.Conn, br *bufio.Reader) {
				conns.Store(int32(n + 1))
				if n == 0 {
					if _, err := answer(conn, br, test.answer); err != nil || strings.HasPrefix(test.name, "until") || strings.HasSuffix(test.name, "connection ends") {
						return
					}
				}
				for {
					if _, err := answer(conn, br, ok); err != nil {
						return
					}
				}
			}), long)
			status, body, err := call(t, u, test.method, "/first", "")
			switch {
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("error %v, want %q", err, test.err)
			case test.err == "" && err != nil:
				t.Error(err)
			case errors.Is(err, upstream.ErrNotSent):
				t.Errorf("%v, though the request was sent", err)
			case test.status != 0 && (status != test.status || body != test.body):
				t.Errorf("%d %q, want %d %q", status, body, test.status, test.body)
			}
			if status, body, err := call(t, u, "GET", "/second", ""); status != 200 || body != "{}" || err != nil {
				t.Errorf("the next request is answered %d %q, %v", status, body, err)
			}
			if reused := conns.Load() == 1; reused != test.reused {
				t.Errorf("the connection is used again: %v", reused)
			}
		})
	}
}

// A request goes out once, wherever the server cuts its connection, whether that is new or was
// used.
func TestSentAtMostOnce(t *testing.T) {
	t.Parallel()
	const request = "POST /once HTTP/1.1\r\nHost: 127.0.0.1:00000\r\nContent-Length: 10\r\n\r\n0123456789"
	for _, used := range []bool{false, true} {
		for n := 1; n <= len(request); n += 3 {
			var got atomic.Int32
			u := open(t, listen(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				first, err := br.Peek(len("GET"))
				if err == nil && string(first) == "GET" {
					_, err = answer(conn, br, ok)
				}
				if err != nil {
					return
				}
				if _, err = br.Peek(1); err != nil {
					return
				}
				got.Add(1)
				_, _ = io.CopyN(io.Discard, br, int64(n))
				_ = conn.(*net.TCPConn).SetLinger(0)
			}), long)
			if used {
				if _, _, err := call(t, u, "GET", "/", ""); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := call(t, u, "POST", "/once", "0123456789")
			if err == nil || errors.Is(err, upstream.ErrNotSent) || got.Load() != 1 {
				t.Errorf("cut after %d bytes, on a used connection: %v: it arrived %d times, %v", n, used, got.Load(), err)
			}
		}
	}
}

// An answer that breaks off is an error wherever it does, and its request is not sent again.
func TestHalfAnswers(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: x\r\n\r\n",
	} {
		for n := range len(whole) + 1 {
			var got atomic.Int32
			u := open(t, listen(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				if _, err := br.Peek(1); err != nil {
					return
				}
				got.Add(1) // before the answer, which ends the call
				_, _ = answer(conn, br, whole[:n])
			}), long)
			_, body, err := call(t, u, "POST", "/", "{}")
			if got.Load() != 1 || errors.Is(err, upstream.ErrNotSent) {
				t.Errorf("%q was sent %d times: %v", whole[:n], got.Load(), err)
			}
			if n == len(whole) && (err != nil || body != "hello") || n < len(whole) && err == nil {
				t.Errorf("%q: %q, %v", whole[:n], body, err)
			}
		}
	}
}

// Each step of a request has the timeout, not the whole.
func TestStepsHaveTheTimeout(t *testing.T) {
	t.Parallel()
	const step, timeout = 100 * time.Millisecond, time.Second
	u := open(t, listen(t, func(_ int, conn net.Conn, br *bufio.Reader) {
		_, _ = answer(conn, br, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
		for range 15 {
			time.Sleep(step)
			_, _ = io.WriteString(conn, "x")
		}
	}), timeout)
	if _, body, err := call(t, u, "GET", "/", ""); err != nil || len(body) != 15 {
		t.Errorf("an answer that keeps coming for longer than the timeout: %q, %v", body, err)
	}
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Len() int                   { return -1 }
func (endless) Rewind() bool               { return false }

// What takes too long ends as a timeout: at a step's, at by, or at an abort.
func TestWaitsEnd(t *testing.T) {
	t.Parallel()
	const short = 200 * time.Millisecond
	silent := func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) }
	dripping := func(_ int, conn net.Conn, br *bufio.Reader) {
		_, err := answer(conn, br, "HTTP/1.1 200 OK\r\n\r\n")
		for err == nil {
			time.Sleep(10 * time.Millisecond)
			_, err = io.WriteString(conn, "x")
		}
	}
	deaf := func(_ int, conn net.Conn, br *bufio.Reader) {
		_, _ = br.Peek(1)
		time.Sleep(10 * time.Second)
	}
	for _, test := range []struct {
		name    string
		serve   func(int, net.Conn, *bufio.Reader)
		stream  upstream.Stream
		timeout time.Duration
		by      time.Duration // 0: none
		abort   bool
	}{
		{"no answer, timeout", silent, nil, short, 0, false},
		{"no answer, by", silent, nil, long, short, false},
		{"no answer, abort", silent, nil, long, 0, true},
		{"an answer without end, by", dripping, nil, long, short, false},
		{"an answer without end, abort", dripping, nil, long, 0, true},
		{"nobody reads, timeout", deaf, endless{}, short, 0, false},
		{"nobody reads, by", deaf, endless{}, long, short, false},
		{"nobody reads, abort", deaf, endless{}, long, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := open(t, listen(t, test.serve), test.timeout)
			var by time.Time
			began := time.Now()
			if test.by > 0 {
				by = began.Add(test.by)
			}
			if test.abort {
				time.AfterFunc(short, u.Abort)
			}
			var resp fasthttp.Response
			b, err := u.Do(&upstream.Request{Head: head(t, "POST / HTTP/1.1\nHost: g"), Target: []byte("/"), Host: u.Host(), Stream: test.stream}, &resp, by)
			if err == nil {
				_, err = io.Copy(io.Discard, b)
				_ = b.Close()
			}
			var late net.Error
			if !errors.As(err, &late) || !late.Timeout() || errors.Is(err, upstream.ErrNotSent) {
				t.Errorf("%v, want a timeout of a request that may have arrived", err)
			}
			if took := time.Since(began); took < short/2 || took > 5*short+5*time.Second {
				t.Errorf("it took %v", took)
			}
			if test.abort {
				if _, _, err := call(t, u, "GET", "/", ""); !errors.Is(err, upstream.ErrNotSent) {
					t.Errorf("after the abort: %v", err)
				}
			}
		})
	}
}

// Answers find their requests, however many run at once.
func TestConcurrentRequests(t *testing.T) {
	t.Parallel()
	u := open(t, listen(t, func(_ int, conn net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}), long)
	results := make(chan error)
	const callers, calls = 16, 50
	for i := range callers {
		go func() {
			for j := range calls {
				want := fmt.Sprintf("%d of %d", j, i)
				_, got, err := call(t, u, "POST", "/", want)
				if err == nil && got != want {
					err = fmt.Errorf("%q is answered %q", want, got)
				}
				results <- err
			}
		}()
	}
	for range callers * calls {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// A short body is handed out from the reader's buffer, without copying it.
func TestPeek(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, answer string
		most         int
		ok           bool
		body         string
		cut          bool
	}{
		{"short", ok, 100, true, "{}", false},
		{"just short enough", ok, 2, true, "{}", false},
		{"longer than asked for", ok, 1, false, "{}", false},
		{"longer than any", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("x", 5000), 1 << 20, false, strings.Repeat("x", 5000), false},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 100, false, "{}", false},
		{"cut", ok[:len(ok)-1], 100, true, "", true},
	} {
		u := open(t, listen(t, func(_ int, conn net.Conn, br *bufio.Reader) { _, _ = answer(conn, br, test.answer) }), long)
		var resp fasthttp.Response
		b, err := u.Do(&upstream.Request{Head: head(t, "GET / HTTP/1.1\nHost: g"), Target: []byte("/"), Host: u.Host()}, &resp, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		body, ok, err := b.Peek(test.most)
		if !ok {
			body, err = io.ReadAll(b)
		}
		if cut := errors.Is(err, io.ErrUnexpectedEOF); ok != test.ok || cut != test.cut || !cut && (err != nil || string(body) != test.body) || b.Whole() == test.cut {
			t.Errorf("%s: %.20q, %v, %v; whole: %v", test.name, body, ok, err, b.Whole())
		}
		_ = b.Close()
		_ = b.Close() // of no effect
	}
}

// A call that nobody wants any longer is not sent, over a connection that is new or not, and costs
// none.
func TestDroppedCallIsNotSent(t *testing.T) {
	calls, connections := make(chan string, 10), 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls <- r.URL.Path
		_, _ = io.WriteString(w, "{}")
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections++
		}
	}
	server.Start()
	u := open(t, server.URL, long)
	do := func(path string, dropped bool) error {
		var head fasthttp.RequestHeader
		head.SetMethod("POST")
		var resp fasthttp.Response
		asked := false
		a, err := u.Do(&upstream.Request{Head: &head, Target: []byte(path), Host: u.Host(), Body: []byte("{}"), Dropped: func() bool { asked = true; return dropped }}, &resp, time.Time{})
		if !asked {
			t.Error("nobody asked")
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, a)
			a.Close()
		}
		return err
	}
	for range 2 {
		if err := do("/dropped", true); !errors.Is(err, upstream.ErrDropped) || !errors.Is(err, upstream.ErrNotSent) {
			t.Fatal(err)
		}
		if err := do("/wanted", false); err != nil {
			t.Fatal(err)
		}
	}
	u.Close()
	server.Close()
	close(calls)
	for path := range calls {
		if path != "/wanted" {
			t.Errorf("%s was sent", path)
		}
	}
	if connections != 1 {
		t.Errorf("%d connections", connections)
	}
}
