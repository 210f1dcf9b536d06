package proxy_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/config"
	"replygate/proxy"
)

// A client that stops within its request is told so, with an id like any other.
func TestClientTooSlow(t *testing.T) {
	g := newGateway(t, 0)
	ln, err := proxy.Listen("listen.api", "127.0.0.1:0", config.TLS{}, time.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	server := g.APIServer()
	server.ReadTimeout, server.HeaderReceived = 50*time.Millisecond, nil
	go func() { _ = server.Serve(ln) }()
	defer func() { _ = server.Shutdown() }()
	for name, request := range map[string]string{
		"in its head": "GET /cgi-bin/user/get HTTP/1.1\r\nHost",
		"in its body": "POST /cgi-bin/user/create HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\n{",
	} {
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
			t.Errorf("%s: HTTP %d %+v", name, resp.StatusCode, a)
		}
	}
}
