package proxy_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/record"
)

// A panic ends one request, with an answer in WeCom's shape and a record, and no other.
func TestAPanicEndsOneRequest(t *testing.T) {
	g := newGateway(t, 0)
	core, logged := observer.New(zapcore.ErrorLevel)
	g.Log = record.RateLimit(zap.New(core), time.Now)
	whole := g.Upstream
	g.Upstream = nil // a bug of ours
	server := g.APIServer()
	ln := fasthttputil.NewInmemoryListener()
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Shutdown() })
	conn, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	call := func() *http.Response {
		t.Helper()
		if _, err := conn.Write([]byte("GET /cgi-bin/user/get?access_token=t HTTP/1.1\r\nHost: g\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		if _, err := bufio.NewReader(resp.Body).WriteTo(&body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != fasthttp.StatusOK && !strings.HasPrefix(body.String(), `{"errcode":990500,`) {
			t.Errorf("not in WeCom's shape: %s", body.String())
		}
		return resp
	}
	if resp := call(); resp.StatusCode != fasthttp.StatusInternalServerError {
		t.Errorf("HTTP %d", resp.StatusCode)
	}
	if n := logged.FilterMessageSnippet("BUG").Len(); n != 1 {
		t.Errorf("%d records of the panic", n)
	}
	g.Upstream = whole
	if resp := call(); resp.StatusCode != fasthttp.StatusOK {
		t.Errorf("the next request: HTTP %d", resp.StatusCode)
	}
}
