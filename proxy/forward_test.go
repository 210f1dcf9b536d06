package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"
)

// dial opens a connection to the api listener for bytes as they are.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.api, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

const free = "/cgi-bin/user/get?access_token=t" // an endpoint that always passes

// What a client sends goes on unchanged, but for what belongs to its connection and what proxies
// claim.
func TestCallsGoOnAsTheyCame(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 100_000)
	for _, test := range []struct {
		name, head, body string // without the Host and the empty line
		target           string
		size             int64
	}{
		{"a GET", "GET " + free + "&a=%2f%2F HTTP/1.1", "", free + "&a=%2f%2F", 0},
		{"an empty query", "GET /cgi-bin/user/get? HTTP/1.1", "", "/cgi-bin/user/get?", 0},
		{"a short body", "POST " + free + " HTTP/1.1\r\nContent-Length: 2", "{}", free, 2},
		{"a long body", "POST " + free + fmt.Sprintf(" HTTP/1.1\r\nContent-Length: %d", len(big)), big, free, int64(len(big))},
		{"chunks", "POST " + free + " HTTP/1.1\r\nTransfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n", free, 2},
		{"HTTP/1.0", "GET " + free + " HTTP/1.0", "", free, 0},
		{"a corp in the path", "GET /corp/wwLapsed" + free + " HTTP/1.1", "", free, 0},
	} {
		r := newRig(t, twoAccounts)
		conn := r.dial()
		if _, err := io.WriteString(conn, test.head+"\r\nHost: g\r\nX-Own: 1\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\r\n"+test.body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		calls := r.wecom.Calls()
		if len(calls) != 1 {
			t.Errorf("%s: HTTP %d, and %d calls reached WeCom", test.name, resp.StatusCode, len(calls))
			continue
		}
		c := calls[0]
		target := c.Path
		if path, query, has := strings.Cut(test.target, "?"); has && (c.Path != path || c.Query != query) || !has && target != test.target {
			t.Errorf("%s: WeCom got %s?%s", test.name, c.Path, c.Query)
		}
		if c.Size != test.size || c.Header.Get("X-Own") != "1" || c.Header.Get("X-Mine") != "" || c.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("%s: WeCom got %d bytes, %v", test.name, c.Size, c.Header)
		}
	}
}

// Answers come back whole, of any length and framing, also to a client that knows no chunks.
func TestAnswersComeBack(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 10, 4 << 10, 70 << 10, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				r := newRig(t, twoAccounts)
				want := bytes.Repeat([]byte("x"), size)
				r.wecom.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("X-Up", "1")
					w.Header().Set("Keep-Alive", "timeout=1")
					if !chunked {
						w.Header().Set("Content-Length", fmt.Sprint(size))
					}
					w.WriteHeader(203)
					if chunked {
						_ = http.NewResponseController(w).Flush()
					}
					_, _ = w.Write(want)
				})
				conn := r.dial()
				fmt.Fprintf(conn, "GET %s %s\r\nHost: g\r\n\r\n", free, version)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Equal(got, want) || resp.StatusCode != 203 || resp.Header.Get("X-Up") != "1" || resp.Header.Get("Keep-Alive") != "" {
					t.Errorf("%d bytes, chunked %v, %s: %d bytes, HTTP %d, %v, %v", size, chunked, version, len(got), resp.StatusCode, resp.Header, err)
				}
				if version == "HTTP/1.0" && len(resp.TransferEncoding) > 0 {
					t.Errorf("chunks for %s", version)
				}
			}
		}
	}
}

// An upstream that cannot answer is told apart: nothing was sent, or the outcome is unknown.
func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	late := make(chan struct{})
	defer close(late)
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc // nil: it cannot be reached
		status int
		reason string
		code   int
		cause  string
	}{
		{"unreachable", nil, 502, "upstream_unreachable", 990502, "connection_refused"},
		{"breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "upstream_broke_off", 990502, "connection_closed"},
		{"half a short answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
		}, 502, "upstream_broke_off", 990502, "connection_closed"},
		{"too late", func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-late:
			case <-r.Context().Done():
			}
		}, 504, "upstream_timeout", 990504, "timeout"},
	} {
		text := twoAccounts + "upstream: { timeout: 300ms }\n"
		r := newRig(t, text)
		if test.answer == nil {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ln.Close()
			r.Gateway.Upstream = newUpstream(t, "http://"+ln.Addr().String())
		} else {
			r.wecom.Answer("/cgi-bin/user/get", test.answer)
		}
		a := r.call("GET", free, "")
		if a.status != test.status || a.Errcode != test.code || a.Replygate.Reason != test.reason {
			t.Errorf("%s: HTTP %d %s", test.name, a.status, a.text)
		}
		d := r.lines.last("decision")
		if sent := test.reason != "upstream_unreachable"; d["forwarded"] != sent || strings.Contains(a.text, "nothing was sent") == sent {
			t.Errorf("%s: %s, record %v", test.name, a.text, d)
		}
		if q := r.lines.last("request"); q["error_kind"] != test.reason || q["verdict"] != "error" {
			t.Errorf("%s: the access record is %v", test.name, q)
		}
		wantCause(t, test.name, d, r.log, test.reason, test.cause)
	}
}

// wantCause fails the test unless the record and one line of the log name the cause of a failure.
func wantCause(t *testing.T, name string, record map[string]any, seen *observer.ObservedLogs, reason, cause string) {
	t.Helper()
	lines := seen.FilterMessageSnippet("WeCom gave no whole answer to a call").All()
	if record["cause"] != cause || len(lines) != 1 {
		t.Errorf("%s: the record is %v, the log has %v; want one %s", name, record, lines, cause)
		return
	}
	fields := lines[0].ContextMap()
	if text := fmt.Sprint(fields["error"]); fields["reason"] != reason || fields["cause"] != cause || text == "" || strings.Contains(text, "access_token") {
		t.Errorf("%s: the line has %v", name, fields)
	}
}

// Why WeCom cannot be reached is told apart, also of a judged call, whose record names it beside
// the fault. The text of an error that quotes an answer is cut.
func TestWhyWeComIsUnreachable(t *testing.T) {
	t.Parallel()
	tls := httptest.NewUnstartedServer(nil)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	odd := rawServer(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("x", 2000)+"\r\n\r\n")
	for _, test := range []struct{ name, url, reason, cause string }{
		{"a name that is none", "http://wecom.invalid", "upstream_unreachable", "dns"},
		{"a certificate of its own", tls.URL, "upstream_unreachable", "tls"},
		{"a malformed answer", odd, "upstream_broke_off", "malformed_answer"},
	} {
		r := newRig(t, twoAccounts)
		token := r.token("wwLapsed")
		r.wecom.CustomerWrites("wwLapsed", "wk", "wm", "hello")
		r.pull(token)
		r.Gateway.Upstream = newUpstream(t, test.url)
		if a := r.reply(token, "wm"); a.status != 502 {
			t.Errorf("%s: HTTP %d %s", test.name, a.status, a.text)
		}
		d := r.lines.last("decision")
		if d["fault"] != test.reason {
			t.Errorf("%s: the record is %v", test.name, d)
		}
		wantCause(t, test.name, d, r.log, test.reason, test.cause)
		if line := r.log.FilterMessageSnippet("WeCom gave no whole answer").All(); len(line) > 0 && len(fmt.Sprint(line[0].ContextMap()["error"])) > 300 {
			t.Errorf("%s: %v", test.name, line)
		}
	}
}

// A long answer that breaks off is visibly cut.
func TestLongAnswerBreaksOff(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
		for _, length := range []string{"", "3000000"} {
			r := newRig(t, twoAccounts)
			r.wecom.Answer("/cgi-bin/user/get", func(w http.ResponseWriter, _ *http.Request) {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				_, _ = w.Write(make([]byte, 1<<20))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			conn := r.dial()
			fmt.Fprintf(conn, "GET %s %s\r\nHost: g\r\n\r\n", free, version)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			if err == nil {
				t.Errorf("%s, length %q: the client takes it for whole", version, length)
			}
		}
	}
}

// Bodies have bounds, and one that breaks off is not a failure of WeCom.
func TestBodiesOfClients(t *testing.T) {
	t.Parallel()
	text := twoAccounts + "limits: { streamed_body: 100KB, judged_body: 10KB }\n"
	for _, test := range []struct {
		name, request, reason string // {T} is the token of wwLapsed
		status                int
	}{
		{"streamed, too long by its length", "POST " + free + " HTTP/1.1\r\nHost: g\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200_000), "body_too_large", 413},
		{"streamed, malformed chunks", "POST " + free + " HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed_body", 400},
		{"streamed, cut", "POST " + free + " HTTP/1.1\r\nHost: g\r\nContent-Length: 50000\r\n\r\nabc", "client_aborted", 400},
		{"short, cut", "POST " + free + " HTTP/1.1\r\nHost: g\r\nContent-Length: 50\r\n\r\nabc", "client_aborted", 400},
		{"judged, too long", "POST /cgi-bin/kf/send_msg?access_token={T} HTTP/1.1\r\nHost: g\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat(" ", 20_000), "body_too_large", 413},
		{"judged, cut", "POST /cgi-bin/kf/send_msg?access_token={T} HTTP/1.1\r\nHost: g\r\nContent-Length: 50\r\n\r\n{", "client_aborted", 400},
		{"a head of two readings", "POST " + free + " HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed_head", 400},
		{"a request line that ends in LF", "GET " + free + " HTTP/1.1\nHost: g\r\n\r\n", "malformed_head", 400},
		{"a head that is too large", "GET " + free + " HTTP/1.1\r\nHost: g\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", "head_too_large", 431},
		{"no HTTP", "hello\r\n\r\n", "malformed_request", 400},
	} {
		r := newRig(t, text)
		token := r.token("wwLapsed")
		r.wecom.Forget()
		conn := r.dial()
		_, _ = io.WriteString(conn, strings.ReplaceAll(test.request, "{T}", token)) // it may have hung up already
		_ = conn.(*net.TCPConn).CloseWrite()
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			if test.status != http.StatusRequestEntityTooLarge || !strings.Contains(err.Error(), "reset") { // bytes that it left unread
				t.Errorf("%s: %v", test.name, err)
			}
			if q := r.lines.last("request"); q["error_kind"] != test.reason {
				t.Errorf("%s: the access record is %v", test.name, q)
			}
			continue
		}
		if resp.StatusCode != test.status || resp.Header.Get("Replygate-Reason") != test.reason || !resp.Close {
			t.Errorf("%s: HTTP %d, close %v, %v", test.name, resp.StatusCode, resp.Close, resp.Header)
		}
		if n := r.count("replygate_upstream_duration_seconds", map[string]string{"result": "error"}); n != 0 {
			t.Errorf("%s: it counts as a failure of WeCom", test.name)
		}
	}
}
