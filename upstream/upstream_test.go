package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
)

// dying is a connection that is gone before the first byte of a call is written, whatever it looked
// like.
type dying struct{ net.Conn }

func (d dying) Write([]byte) (int, error) {
	d.Close()
	return 0, errors.New("broken pipe")
}

// upload is a body that streams, and starts again if it can seek.
type upload struct {
	io.Reader
	length int
}

func (b *upload) Len() int { return b.length }

func (b *upload) Rewind() bool {
	s, ok := b.Reader.(io.Seeker)
	if ok {
		_, _ = s.Seek(0, io.SeekStart)
	}
	return ok
}

// A call of which not one byte was written goes out on another connection, with its whole body,
// streamed or not; one that has no more connections to try has certainly not been sent.
func TestNothingWrittenIsTriedAgain(t *testing.T) {
	const size = 300_000
	got := make(chan []byte, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- body
	}))
	defer server.Close()
	sent := bytes.Repeat([]byte("0123456789"), size/10)
	for name, test := range map[string]struct {
		length int
		broken int
		whole  bool
	}{
		"of known length":       {size, 1, true},
		"chunked":               {-1, 1, true},
		"short":                 {10, 2, true},
		"no connection is good": {size, 99, false},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := New(config.Upstream{URL: server.URL, Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			dial, dials := u.pool.dial, 0
			u.pool.dial = func(ctx context.Context) (*conn, error) {
				c, err := dial(ctx)
				if dials++; err == nil && dials <= test.broken {
					c.Conn = dying{c.Conn}
				}
				return c, err
			}
			want := sent
			if test.length > 0 {
				want = sent[:test.length]
			}
			body := &upload{Reader: bytes.NewReader(want), length: test.length}
			var head fasthttp.RequestHeader
			if err := head.Read(bufio.NewReader(strings.NewReader("POST /cgi-bin/media/upload HTTP/1.1\r\nHost: g\r\n\r\n"))); err != nil {
				t.Fatal(err)
			}
			var resp fasthttp.Response
			a, err := u.Do(&Request{Head: &head, Target: head.RequestURI(), Host: u.host, Stream: body}, &resp, time.Time{})
			if !test.whole {
				if !errors.Is(err, ErrNotSent) || len(got) != 0 {
					t.Fatalf("%v, and the upstream got %d calls", err, len(got))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Close()
			if all := <-got; !bytes.Equal(all, want) {
				t.Errorf("the upstream got %d bytes, want %d", len(all), len(want))
			}
		})
	}
}

// An answer that begins while the call is still being written, on a connection that was used
// before, is not missed: nothing comes later that would tell of it.
func TestEarlyAnswer(t *testing.T) {
	answered := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-answered
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Content-Length", "5") // nothing follows
		_, _ = w.Write([]byte("early"))
		_ = rc.Flush()
		answered <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	u, err := New(config.Upstream{URL: server.URL, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for range 3 { // the first one dials
		got, from := io.Pipe()
		go func() {
			piece := bytes.Repeat([]byte("x"), MaxUnsent) // more than waits in the writer's buffer
			_, _ = from.Write(piece)
			if resp, err := http.Get(server.URL); err == nil { // over a socket: the poller has seen the answer before this one
				resp.Body.Close()
			}
			_, _ = from.Write(piece)
			from.Close()
		}()
		var head fasthttp.RequestHeader
		if err := head.Read(bufio.NewReader(strings.NewReader("POST /cgi-bin/media/upload HTTP/1.1\r\nHost: g\r\n\r\n"))); err != nil {
			t.Fatal(err)
		}
		body := &upload{Reader: got, length: -1}
		var resp fasthttp.Response
		a, err := u.Do(&Request{Head: &head, Target: head.RequestURI(), Host: u.host, Stream: body}, &resp, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(a); err != nil || string(all) != "early" {
			t.Fatalf("%q, %v", all, err)
		}
		_ = a.Close()
	}
}
