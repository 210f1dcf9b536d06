package proxy_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/config"
	"replygate/proxy"
)

// A client that stops within its request is told so, with an id like any other.
func TestClientTooSlow(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 0)
	ln, err := proxy.Listen("listen.api", "127.0.0.1:0", config.TLS{}, time.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	server := g.APIServer()
	server.ReadTimeout, server.HeaderReceived = 50*time.Millisecond, nil
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Shutdown() })
	for name, request := range map[string]string{
		"in its head": "GET /cgi-bin/user/get HTTP/1.1\r\nHost",
		"in its body": "POST /cgi-bin/user/create HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each takes two seconds
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			var a struct {
				Errcode   int
				Replygate struct {
					Reason, Verdict string
					ID              string `json:"decision_id"`
				}
			}
			if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 408 || a.Errcode != 990408 || a.Replygate.Reason != "client_too_slow" || a.Replygate.ID == "" || a.Replygate.ID != resp.Header.Get("Replygate-Decision-Id") {
				t.Errorf("HTTP %d %+v", resp.StatusCode, a)
			}
		})
	}
}

// Whatever the gateway answers by itself on the api listener has WeCom's shape, an errcode of its
// own, headers of ASCII, and an id; a connection that cannot be trusted ends.
func TestOwnAnswers(t *testing.T) {
	t.Parallel()
	const reply = "/cgi-bin/kf/send_msg"
	r := newHarness(t, func(c *config.Config) { c.Limits.JudgedBody, c.Limits.StreamedBody = 4<<10, 64<<10 })
	lapsed, active := r.token(corpLapsed), r.token(corpActive)
	r.platform.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		_, _ = io.WriteString(w, "{")
		panic(http.ErrAbortHandler)
	})
	post := func(path, token, headers, body string) string {
		return "POST " + path + "?access_token=" + token + " HTTP/1.1\r\nHost: g\r\n" + headers + "\r\n" + body
	}
	long := strings.Repeat("x", 100<<10)
	for _, test := range []struct {
		name, request string
		status, code  int
		reason, text  string // the text without its id
		closes        bool
	}{
		{"no HTTP", "\x16\x03\x01\r\n\r\n", 400, 990400, "malformed_request", "the request is not well-formed HTTP; nothing was sent", true},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, 990400, "malformed_request", "the request is not well-formed HTTP; nothing was sent", true},
		{"a bare LF", "GET /cgi-bin/user/get HTTP/1.1\nHost: g\r\n\r\n", 400, 990400, "malformed_head", "the request line does not end in CR LF; nothing was sent", true},
		{"an absolute target", "GET http://g/ HTTP/1.1\r\nHost: g\r\n\r\n", 400, 990400, "malformed_head", "the request target must begin with a slash; nothing was sent", true},
		{"a coding that is unknown", post(reply, lapsed, "Content-Length: 2\r\nTransfer_Encoding: chunked\r\n", "{}"), 400, 990400, "malformed_head", "the end of the message can be read in more than one way; nothing was sent", true},
		{"a large head", "GET / HTTP/1.1\r\nHost: g\r\nA: " + long + "\r\n\r\n", 431, 990431, "head_too_large", "the head of the request is larger than 32 KiB; nothing was sent", true},
		{"a long target", "GET /" + long[:16<<10] + " HTTP/1.1\r\nHost: g\r\n\r\n", 414, 990414, "target_too_long", "the URL is longer than 16 KiB", true},
		{"a path of nobody", post("/replygate/x", lapsed, "Content-Length: 0\r\n", ""), 404, 990404, "unknown_path", "the gateway keeps /corp/ and /replygate/ for itself, and has nothing at this path; call /corp/<corp_id>/cgi-bin/..., /replygate/preflight or /replygate/healthz; nothing was sent", false},
		{"a judged body that is large", post(reply, lapsed, "Content-Length: 4097\r\n", long[:4097]), 413, 990413, "body_too_large", "the body is larger than the 4KB that the gateway takes for this call; nothing was sent", true},
		{"a judged body that is large, in chunks", post(reply, lapsed, "Transfer-Encoding: chunked\r\n", "1001\r\n"+long[:4097]+"\r\n0\r\n\r\n"), 413, 990413, "body_too_large", "the body is larger than the 4KB that the gateway takes for this call; nothing was sent", true},
		{"a streamed body that is large", post("/cgi-bin/media/upload", active, "Content-Length: 65537\r\n", long[:65537]), 413, 990413, "body_too_large", "the body is larger than the 64KB that the gateway takes for this call; nothing was sent", true},
		{"a streamed body that is large, in chunks", post("/cgi-bin/media/upload", active, "Transfer-Encoding: chunked\r\n", "19000\r\n"+long+"\r\n0\r\n\r\n"), 413, 990413, "body_too_large", "the body is larger than the 64KB that the gateway takes for this call; WeCom got the beginning of it, and no whole call", true},
		{"chunks that are none", post(reply, lapsed, "Transfer-Encoding: chunked\r\n", "zz\r\n"), 400, 990400, "malformed_body", "the chunks of the body are malformed; nothing was sent", true},
		{"an answer that breaks off", "GET /cgi-bin/user/get HTTP/1.1\r\nHost: g\r\n\r\n", 502, 990502, "upstream_broke_off", "WeCom's answer broke off; the outcome is unknown, it may have taken the call", false},
	} {
		a := r.send(r.api, test.request)
		wantOwn(t, test.name, a, test.status, test.code, "error", test.reason, test.text)
		if a.closed != test.closes {
			t.Errorf("%s: the connection ends: %v", test.name, a.closed)
		}
	}
	for _, call := range r.platform.Calls() {
		if call.Path != "/cgi-bin/user/get" {
			t.Errorf("WeCom got %s, of which the client was told that nothing was sent", call.Path)
		}
	}
}

// wantOwn expects an answer of the gateway's own, which names its verdict, its reason and its id in
// the body and in the headers.
func wantOwn(t *testing.T, name string, a answer, status, code int, verdict, reason, text string) {
	t.Helper()
	id := a.Replygate.DecisionID
	if a.status != status || a.Errcode != code || a.Replygate.Verdict != verdict || a.Replygate.Reason != reason {
		t.Errorf("%s: HTTP %d %.300s", name, a.status, a.body)
	}
	if !strings.HasPrefix(a.Errmsg, text) || !strings.HasSuffix(a.Errmsg, "id="+id) || len(id) != 16 {
		t.Errorf("%s: the text is %q, the id %q", name, a.Errmsg, id)
	}
	for header, want := range map[string]string{
		"Content-Type": "application/json; charset=UTF-8", "Error-Code": strconv.Itoa(code),
		"Replygate-Verdict": verdict, "Replygate-Reason": reason, "Replygate-Decision-Id": id, "Replygate-Rule": a.Replygate.Rule,
	} {
		if got := a.header[header]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: header %s is %q, want %q", name, header, got, want)
		}
	}
	if msg := a.header.Get("Error-Msg"); msg != a.Errmsg && msg != reason {
		t.Errorf("%s: Error-Msg is %q", name, msg)
	}
	for header, values := range a.header {
		if strings.ContainsFunc(header+strings.Join(values, ""), func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%s: header %s has more than ASCII: %q", name, header, values)
		}
	}
}

// A call that WeCom cannot have got says so; of another one nobody knows.
func TestOwnAnswersForTheUpstream(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		upstream     func(t *testing.T) (url string)
		status, code int
		reason, text string
		forwarded    bool // by the record
	}{
		{"nobody listens", func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln.Close()
			return "http://" + ln.Addr().String()
		}, 502, 990502, "upstream_unreachable", "WeCom cannot be reached from the gateway; nothing was sent", false},
		{"it is silent", func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0") // the system accepts, and nobody reads
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			return "http://" + ln.Addr().String()
		}, 504, 990504, "upstream_timeout", "WeCom did not answer in time; the outcome is unknown, it may have taken the call", true},
		{"it hangs up", func(t *testing.T) string { return rawServer(t, "") }, 502, 990502, "upstream_broke_off", "WeCom's answer broke off; the outcome is unknown, it may have taken the call", true},
		{"it is no HTTP", func(t *testing.T) string { return rawServer(t, "SSH-2.0\r\n\r\n") }, 502, 990502, "upstream_broke_off", "WeCom's answer broke off; the outcome is unknown, it may have taken the call", true},
		{"its answer is short", func(t *testing.T) string {
			return rawServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
		}, 502, 990502, "upstream_broke_off", "WeCom's answer broke off; the outcome is unknown, it may have taken the call", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newHarness(t, func(c *config.Config) { c.Upstream.URL, c.Upstream.Timeout = test.upstream(t), 200*time.Millisecond })
			a := r.reply(r.token(corpActive), "wkActive", wmLi)
			wantOwn(t, test.name, a, test.status, test.code, "error", test.reason, test.text)
			if got := r.records.take(t, "decision"); len(got) != 1 || got[0]["forwarded"] != test.forwarded {
				t.Errorf("record: %v", got)
			}
		})
	}
}

// A client that ends within its body is told so, if it still reads.
func TestOwnAnswerToAnAbortedBody(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	for name, path := range map[string]string{"judged": "/cgi-bin/kf/send_msg", "streamed": "/cgi-bin/user/create"} {
		conn, err := net.Dial("tcp", r.api)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		request := "POST " + path + "?access_token=" + r.token(corpLapsed) + " HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\n{"
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		a := r.read(conn, request)
		wantOwn(t, name, a, 400, 990400, "error", "client_aborted", "the connection ended before the ")
		if !a.closed {
			t.Errorf("%s: the connection stays", name)
		}
	}
	if calls := r.platform.Calls(); len(calls) != 0 {
		t.Errorf("WeCom got %v", calls)
	}
}

// A connection beyond the bound is closed at once, also one of TLS whose client sends nothing, and
// the next is served as soon as another has ended.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 0)
	for name, c := range map[string]config.TLS{"plain": {}, "TLS": proxy.Certificate(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, lines := observer.New(zapcore.WarnLevel)
			ln, err := proxy.Listen("listen.api", "127.0.0.1:0", c, time.Now, zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			proxy.Limit(ln, 2)
			server := g.APIServer()
			go func() { _ = server.Serve(ln) }()
			t.Cleanup(func() { _ = server.Shutdown() })
			open := func() net.Conn {
				conn, err := net.DialTimeout("tcp", ln.Addr().String(), 30*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				return conn
			}
			first, second := open(), open()
			for range 3 {
				if n, err := open().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Fatalf("a connection beyond the bound: %d bytes, %v", n, err)
				}
			}
			if n := lines.FilterMessage("too many connections are open: new ones are closed").Len(); n != 1 {
				t.Errorf("%d lines tell of it", n)
			}
			first.Close()
			second.Close()
			for deadline := time.Now().Add(30 * time.Second); ; {
				conn := open()
				if c.CertFile != "" {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
				if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
					return
				}
				if time.Now().After(deadline) {
					t.Fatal("no connection is served after the others have ended")
				}
			}
		})
	}
}

// A client that sends more than the gateway takes reads why, however much it still sends: bytes
// that nobody read would reset its connection.
func TestAnswerBeforeTheBodyEnds(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 0)
	const length = 16 << 20
	for name, c := range map[string]config.TLS{"plain": {}, "TLS": proxy.Certificate(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := proxy.Listen("listen.api", "127.0.0.1:0", c, time.Now, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			server := g.APIServer()
			go func() { _ = server.Serve(ln) }()
			t.Cleanup(func() { _ = server.Shutdown() })
			conn, err := net.DialTimeout("tcp", ln.Addr().String(), 30*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if c.CertFile != "" {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			answered := make(chan string, 1)
			go func() {
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					answered <- err.Error()
					return
				}
				answered <- resp.Status
			}()
			head := fmt.Sprintf("POST /cgi-bin/kf/send_msg?access_token=%s HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n", "token-of-wwLapsed", length)
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(conn, zeros{}, length); err != nil {
				t.Errorf("the body: %v", err)
			}
			if got := <-answered; got != "413 Request Entity Too Large" {
				t.Errorf("answered %s", got)
			}
		})
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A refusal in another script has its text in the body, and its reason in the header.
func TestRefusalsInHeaders(t *testing.T) {
	t.Parallel()
	for language, ascii := range map[string]bool{"en": true, "zh": false} {
		r := newHarness(t, func(c *config.Config) { c.Policy.Language = language })
		a := r.reply(r.token(corpLapsed), wkLapsed, "wmNever")
		wantOwn(t, language, a, 200, 95002, "refuse", "window_closed", "")
		if msg := a.header.Get("Error-Msg"); ascii != (msg == a.Errmsg) || ascii == strings.ContainsFunc(a.Errmsg, func(c rune) bool { return c > '~' }) {
			t.Errorf("%s: Error-Msg is %q of %q", language, msg, a.Errmsg)
		}
	}
}
