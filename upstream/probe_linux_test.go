package upstream

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"replygate/config"
)

// A stale connection is found before a byte is written to it, with and without TLS.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	pair, caFile := certificate(t)
	for _, test := range []struct {
		name   string
		secure bool
		stream Stream // the body of the next request
		spoil  func(c net.Conn)
	}{
		{"closed", false, nil, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		{"bytes that nobody asked for", false, nil, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") }},
		{"closed, with an upload", false, &upload{strings.NewReader("{}"), 2}, func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		{"bytes that nobody asked for, with an upload", false, &upload{strings.NewReader("{}"), -1}, func(c net.Conn) { _, _ = io.WriteString(c, "x") }},
		{"TLS closed", true, nil, func(c net.Conn) { _ = c.(*tls.Conn).CloseWrite() }},
		{"TLS closed without notice", true, nil, func(c net.Conn) { _ = c.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite() }},
		{"bytes that nobody asked for, over TLS", true, nil, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spoil, written := make(chan struct{}), make(chan int64, 1)
			serve := func(n int, c net.Conn) {
				br := bufio.NewReader(c)
				for answerOne(c, br) == nil && n > 0 {
				}
				if n == 0 {
					<-spoil
					test.spoil(c)
					more, _ := io.Copy(io.Discard, br)
					written <- more
				}
			}
			c := config.Upstream{Timeout: time.Minute}
			if test.secure {
				c.URL, c.CAFile = serveConns(t, &pair, serve), caFile
			} else {
				c.URL = serveConns(t, nil, serve)
			}
			u := newUpstream(t, c)
			if err := get(t, u, time.Time{}); err != nil {
				t.Fatal(err)
			}
			first := u.pool.idle[0]
			if first.isStale() {
				t.Fatal("a connection that was not touched is stale")
			}
			close(spoil)
			for end := time.Now().Add(10 * time.Second); !first.isStale() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			r := &Request{Head: readHeader(t, "POST / HTTP/1.1\r\nHost: g\r\n\r\n"), Stream: test.stream}
			if err := send(t, u, r, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if n := <-written; n != 0 {
				t.Errorf("%d bytes were written to the stale connection", n)
			}
			if len(u.pool.open) != 1 {
				t.Errorf("%d connections are open", len(u.pool.open))
			}
		})
	}
}
