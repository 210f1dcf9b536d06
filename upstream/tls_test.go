package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
)

// certificate returns a certificate for 127.0.0.1 and a file with its authority.
func certificate(t *testing.T) (pair tls.Certificate, caFile string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.TLS.Certificates[0], caFile
}

// serveConns has the connections of a listener served, numbered from 0, until the test ends.
func serveConns(t *testing.T, pair *tls.Certificate, serve func(n int, c net.Conn)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	url = "http://" + ln.Addr().String()
	if pair != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*pair}})
		url = "https" + strings.TrimPrefix(url, "http")
	}
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(n, c)
			}()
		}
	}()
	return url
}

// answerOne reads one request and answers it.
func answerOne(c net.Conn, br *bufio.Reader) error {
	r, err := http.ReadRequest(br)
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	return err
}

// get sends a request without a body and drops the answer.
func get(t *testing.T, u *Upstream, by time.Time) error {
	t.Helper()
	return send(t, u, &Request{Head: readHeader(t, "GET / HTTP/1.1\r\nHost: g\r\n\r\n")}, by)
}

// send sends a request and drops the answer.
func send(t *testing.T, u *Upstream, r *Request, by time.Time) error {
	t.Helper()
	var resp fasthttp.Response
	r.Target, r.Host = []byte("/"), u.host
	b, err := u.Do(r, &resp, by)
	if err == nil {
		_, err = io.Copy(io.Discard, b)
		_ = b.Close()
	}
	return err
}

func newUpstream(t *testing.T, c config.Upstream) *Upstream {
	t.Helper()
	u, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func TestTLS(t *testing.T) {
	t.Parallel()
	pair, caFile := certificate(t)
	conns := make(chan int, 10)
	url := serveConns(t, &pair, func(n int, c net.Conn) {
		conns <- n
		for br := bufio.NewReader(c); answerOne(c, br) == nil; {
		}
	})
	u := newUpstream(t, config.Upstream{URL: url, CAFile: caFile, Timeout: time.Minute})
	for range 3 {
		if err := get(t, u, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("three requests took %d connections", len(conns))
	}
}

// A handshake that fails has sent nothing of the request.
func TestHandshakeFails(t *testing.T) {
	t.Parallel()
	pair, _ := certificate(t)
	untrusted := serveConns(t, &pair, func(n int, c net.Conn) { _ = c.(*tls.Conn).Handshake() })
	silent := serveConns(t, nil, func(n int, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	hangsUp := serveConns(t, nil, func(n int, c net.Conn) {})
	for name, test := range map[string]struct {
		url     string
		timeout time.Duration
		by      time.Duration
		abort   bool
	}{
		"an unknown authority": {untrusted, time.Minute, 0, false},
		"no TLS":               {"https" + strings.TrimPrefix(hangsUp, "http"), time.Minute, 0, false},
		"silence, timeout":     {"https" + strings.TrimPrefix(silent, "http"), 100 * time.Millisecond, 0, false},
		"silence, by":          {"https" + strings.TrimPrefix(silent, "http"), time.Minute, 100 * time.Millisecond, false},
		"silence, abort":       {"https" + strings.TrimPrefix(silent, "http"), time.Minute, 0, true},
	} {
		u := newUpstream(t, config.Upstream{URL: test.url, Timeout: test.timeout})
		var by time.Time
		if test.by > 0 {
			by = time.Now().Add(test.by)
		}
		if test.abort {
			time.AfterFunc(100*time.Millisecond, u.Abort)
		}
		began := time.Now()
		if err := get(t, u, by); !errors.Is(err, ErrNotSent) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		u.pool.mu.Lock()
		if len(u.pool.open)+u.pool.dialing != 0 {
			t.Errorf("%s: a connection stays", name)
		}
		u.pool.mu.Unlock()
	}
}

// The server is reached over TLS through the proxy.
func TestTLSThroughAProxy(t *testing.T) {
	t.Parallel()
	pair, caFile := certificate(t)
	url := serveConns(t, &pair, func(n int, c net.Conn) {
		for br := bufio.NewReader(c); answerOne(c, br) == nil; {
		}
	})
	proxy := serveConns(t, nil, func(_ int, c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			return
		}
		defer far.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, c) }()
		_, _ = io.Copy(c, far)
	})
	u := newUpstream(t, config.Upstream{URL: url, CAFile: caFile, Proxy: config.Secret(proxy), Timeout: time.Minute})
	for range 2 {
		if err := get(t, u, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A proxy that does not answer ends with the time for connecting, or with an abort.
func TestSilentProxy(t *testing.T) {
	t.Parallel()
	proxy := serveConns(t, nil, func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	connect, err := newDial(config.Secret(proxy))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if c, err := connect(ctx, "qyapi.example:443"); err == nil || !strings.Contains(err.Error(), "upstream.proxy") {
		t.Errorf("%v, %v", c, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
