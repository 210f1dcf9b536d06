package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"replygate/config"
)

// egress is a proxy that takes one CONNECT, answers as it is told, and then echoes.
func egress(t *testing.T, Response string) (address string, asked chan *http.Request) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	asked = make(chan *http.Request, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		asked <- r
		_, _ = io.WriteString(conn, Response)
		_, _ = io.Copy(conn, conn)
	}()
	return ln.Addr().String(), asked
}

func TestEgressProxy(t *testing.T) {
	address, asked := egress(t, "HTTP/1.1 200 Connection established\r\n\r\n")
	connect, err := newDial(config.Secret("http://bot:pa%20ss@" + address))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connect(context.Background(), "qyapi.example:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := <-asked
	if user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth(); r.Method != "CONNECT" || r.RequestURI != "qyapi.example:443" || r.Host != "qyapi.example:443" || user != "bot" || password != "pa ss" {
		t.Errorf("the proxy is asked %s %s for %s by %s:%s", r.Method, r.RequestURI, r.Host, user, password)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("through the proxy comes %q, %v", got, err)
	}
}

func TestEgressProxyThatRefuses(t *testing.T) {
	for Response, want := range map[string]string{
		"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n": "answers 407",
		"HTTP/1.1 200 OK\r\n\r\nhello":                                            "nobody asked for",
		"nonsense\r\n\r\n":                                                        "malformed",
	} {
		address, _ := egress(t, Response)
		connect, err := newDial(config.Secret("http://bot:hush-hush@" + address))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connect(context.Background(), "qyapi.example:443"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", Response, err)
		}
	}
}
