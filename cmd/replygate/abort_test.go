package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// uploads is an upstream that counts the calls that came whole and those that broke off.
type uploads struct {
	*httptest.Server
	begun, whole, broken atomic.Int32
	open                 atomic.Int32 // connections
}

func newUploads(t *testing.T) *uploads {
	u := &uploads{}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cgi-bin/gettoken" {
			_, _ = io.WriteString(w, `{"errcode":0,"access_token":"T","expires_in":7200}`)
			return
		}
		u.begun.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			u.broken.Add(1)
			return
		}
		u.whole.Add(1)
		_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok"}`)
	}))
	u.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			u.open.Add(1)
		case http.StateClosed:
			u.open.Add(-1)
		}
	}
	u.Start()
	t.Cleanup(u.Close)
	return u
}

// upstreamCounts are the calls that the metrics count as failed and as answered by WeCom.
func (r *rig) upstreamCounts() string {
	r.Helper()
	all := string(r.adminCall("GET", "/metrics", "").body)
	var counts []string
	for line := range strings.SplitSeq(all, "\n") {
		if rest, found := strings.CutPrefix(line, `replygate_upstream_duration_seconds_count{result=`); found {
			counts = append(counts, rest)
		}
	}
	return strings.Join(counts, " ")
}

// A client that breaks an upload off is what the records say it is: no failure of WeCom, whatever
// of the call has gone on by then. Nothing of it goes out again, and the connection that it began
// on is dropped.
func TestClientAborts(t *testing.T) {
	u := newUploads(t)
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) {
		c.Upstream.URL = u.URL
		c.Limits.StreamedBody = 1 << 20
	})
	const upload, reply = "POST /cgi-bin/media/upload?access_token=T HTTP/1.1\r\nHost: g\r\n", "POST /cgi-bin/kf/send_msg?access_token=T HTTP/1.1\r\nHost: g\r\n"
	const chunked, fixed = "Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 900000\r\n\r\n"
	r.token = r.fetchToken(r.gateway) // T
	much := strings.Repeat("x", 300_000)
	for _, c := range []struct {
		name, request string
		begun         bool   // the upstream sees the call before it breaks off
		says          string // to a client that only ends its own side
	}{
		{"half a head", "POST /cgi-bin/media/upload HTTP/1.1\r\nHos", false, "nothing was sent"},
		{"no body at all", upload + fixed, false, "nothing was sent"},
		{"the beginning of a short body", upload + "Content-Length: 100\r\n\r\nabc", false, "nothing was sent"},
		{"a body that is read whole before it is sent", upload + "Content-Length: 10000\r\n\r\n" + much[:9000], false, "nothing was sent"},
		{"the middle of a body", upload + fixed + much, true, "no whole call"},
		{"the middle of a body, HTTP/1.0", strings.Replace(upload, "1.1", "1.0", 1) + fixed + much, true, "no whole call"},
		{"no chunk at all", upload + chunked, false, "nothing was sent"},
		{"the size of a chunk", upload + chunked + "5", false, "nothing was sent"},
		{"a short chunk", upload + chunked + "5\r\nab", false, "nothing was sent"},
		{"the end of a chunk", upload + chunked + "5\r\nabcde", false, "nothing was sent"},
		{"the middle of a chunk", upload + chunked + "aaaaa\r\n" + much, true, "no whole call"},
		{"between chunks", upload + chunked + fmt.Sprintf("%x\r\n%s\r\n", len(much), much), true, "no whole call"},
		{"before the end of the chunks", upload + chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n", len(much), much), true, "no whole call"},
		{"a judged body, short", reply + "Content-Length: 100\r\n\r\n{", false, "nothing was sent"},
		{"a judged body", reply + "Content-Length: 20000\r\n\r\n" + `{"touser":"wm","open_kfid":"wk","msgtype":"text"}` + strings.Repeat(" ", 10_000), false, "nothing was sent"},
		{"a judged body in chunks", reply + chunked + "20\r\n{", false, "nothing was sent"},
	} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/reset=%v", c.name, reset), func(t *testing.T) {
				begun, broken, counted := u.begun.Load(), u.broken.Load(), r.upstreamCounts()
				records := len(r.log())
				a := abort(t, r, u, c.request, c.begun, reset)
				if !reset && (a.StatusCode != 400 || a.Errcode != 990400 || !strings.Contains(a.Errmsg, c.says)) {
					t.Errorf("HTTP %d %s", a.StatusCode, a.body)
				}
				r.await("the record of the call", func() bool { return strings.Contains(r.log()[records:], `"msg":"request"`) })
				if log := r.log()[records:]; !strings.Contains(log, `"error_kind":"client_aborted"`) || strings.Count(log, `"msg":"request"`) != 1 {
					t.Errorf("the record: %s", log)
				}
				if now := r.upstreamCounts(); now != counted {
					t.Errorf("calls upstream: %s, before %s", now, counted)
				}
				if c.begun {
					r.await("the call to break off upstream", func() bool { return u.broken.Load() == broken+1 })
				}
				if n := u.begun.Load() - begun; c.begun != (n == 1) {
					t.Errorf("%d calls reached the upstream", n)
				}
			})
		}
	}
	if n := u.whole.Load(); n != 0 {
		t.Errorf("%d calls look whole to the upstream", n)
	}
	r.await("the connections to be dropped", func() bool { return u.open.Load() <= 1 }) // that of gettoken may be kept
	if a := r.call("POST", "/cgi-bin/media/upload", much); a.StatusCode != 200 || u.whole.Load() != 1 {
		t.Errorf("a whole upload: HTTP %d %s", a.StatusCode, a.body)
	}
}

// abort sends a request that is not whole and ends the connection. It returns the answer, if the
// client only ended its own side.
func abort(t *testing.T, r *rig, u *uploads, request string, begun, reset bool) (a answer) {
	t.Helper()
	conn, err := net.Dial("tcp", r.gateway.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	before := u.begun.Load()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if begun {
		r.await("the call to reach the upstream", func() bool { return u.begun.Load() > before })
	}
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
		return a
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	return readAnswer(t, bufio.NewReader(conn), "POST")
}
