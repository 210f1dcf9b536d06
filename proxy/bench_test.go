package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/calls"
	"replygate/config"
	"replygate/gate"
	"replygate/internal/lineartest"
	"replygate/proxy"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/trace"
	"replygate/upstream"
	"replygate/window"
)

// newGateway is a gateway in front of a stub that answers at once, without its listener.
func newGateway(b testing.TB, replies int) *proxy.Gateway {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	stub := &fasthttp.Server{Handler: func(rc *fasthttp.RequestCtx) {
		rc.SetContentType("application/json")
		rc.SetBodyString(`{"errcode":0,"errmsg":"ok"}`)
	}}
	go func() { _ = stub.Serve(ln) }()
	b.Cleanup(func() { _ = stub.Shutdown() })
	c, err := config.Parse("bench", []byte("accounts:\n  - { corp_id: wwActive }\n  - { corp_id: wwLapsed, subscription: { expires_at: 2020-01-01T00:00:00Z } }\n"))
	if err != nil {
		b.Fatal(err)
	}
	c.Upstream.URL, c.Window.Replies = "http://"+ln.Addr().String(), replies
	judge, err := gate.New("bench", c)
	if err != nil {
		b.Fatal(err)
	}
	sends, err := upstream.New(c.Upstream)
	if err != nil {
		b.Fatal(err)
	}
	s := storetest.Open(b, storetest.Embedded(b), time.Now)
	g := &proxy.Gateway{
		Upstream: sends,
		Tokens:   account.NewTokens(s.UniversalClient, "rg:", s.Timeout, time.Now),
		Windows:  window.NewEmbedded(s.UniversalClient, s, window.Settings{Prefix: "rg:", Length: c.Window.Length, Replies: replies, Timeout: s.Timeout, Now: time.Now}),
		Bypass:   proxy.NewBypass(), Metrics: proxy.NewMetrics(prometheus.NewRegistry()),
		Access: record.NewLog(io.Discard, false), Decisions: record.NewLog(io.Discard, false), Log: record.RateLimit(zap.NewNop(), time.Now),
		Now: time.Now, Draining: func() bool { return false },
	}
	g.Use(&proxy.Settings{Gate: judge})
	for _, corp := range []string{"wwActive", "wwLapsed"} {
		if err := g.Tokens.Learn(b.Context(), "token-of-"+corp, corp, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := g.Windows.Record(b.Context(), []window.Fact{{Key: window.Key{Corp: "wwLapsed", Channel: "wk", Customer: "wm"}, At: time.Now()}}); err != nil {
		b.Fatal(err)
	}
	return g
}

// BenchmarkServeAPI is one call through the gateway, with the stub's part of the allocations.
func BenchmarkServeAPI(b *testing.B) {
	const send, mass, media = "/cgi-bin/kf/send_msg", "/cgi-bin/externalcontact/add_msg_template", "/cgi-bin/media/get"
	for _, bench := range []struct {
		name, corp, path string
		want             string
		counted          bool
	}{
		{"passing", "wwActive", send, "", false},
		{"passing-counted", "wwActive", send, "", true},
		{"observed", "wwActive", send, "", false},
		{"always-passing", "wwActive", media, "", false},
		{"always-passing-counted", "wwActive", media, "", true},
		{"replying", "wwLapsed", send, "pass", false},
		{"refusing", "wwLapsed", mass, "refuse", false},
	} {
		b.Run(bench.name, func(b *testing.B) {
			g := newGateway(b, 0)
			if bench.name == "observed" { // what it costs more than passing
				g.Observer = proxy.NewObserver(g)
				go g.Observer.Discard(b.Context()) // what is done after the call does not count
			}
			if bench.counted {
				g.Calls = calls.New(nil, "rg:", time.Second, time.Now)
			}
			body := `{"touser":"wm","open_kfid":"wk","msgtype":"text","text":{"content":"hello"}}`
			request := strings.NewReader(fmt.Sprintf("POST %s?access_token=token-of-%s HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%s", bench.path, bench.corp, len(body), body))
			br := bufio.NewReader(request)
			var rc fasthttp.RequestCtx
			b.ReportAllocs()
			for b.Loop() {
				_, _ = request.Seek(0, io.SeekStart)
				br.Reset(request)
				rc.Response.Reset()
				if err := rc.Request.Read(br); err != nil {
					b.Fatal(err)
				}
				g.ServeAPI(&rc)
				if got := string(rc.Response.Header.Peek("Replygate-Verdict")); got != bench.want {
					b.Fatalf("verdict %q, want %q: %s", got, bench.want, rc.Response.Body())
				}
			}
		})
	}
}

// BenchmarkYield is a passed call from one of 64 clients that all have one under way, with and
// without the yielder. cpu-us/op is the processor time of clients, gateway and stub.
func BenchmarkYield(b *testing.B) {
	for _, yields := range []bool{true, false} {
		b.Run(fmt.Sprintf("yields=%v", yields), func(b *testing.B) {
			g := newGateway(b, 0)
			if !yields {
				g.NeverYield()
			}
			ln, err := proxy.Listen("listen.api", "127.0.0.1:0", config.TLS{}, time.Now, zap.NewNop())
			if err != nil {
				b.Fatal(err)
			}
			server := g.APIServer()
			go func() { _ = server.Serve(ln) }()
			b.Cleanup(func() { _ = server.Shutdown() })
			client := &fasthttp.HostClient{Addr: ln.Addr().String(), MaxConns: 1 << 10}
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			began := lineartest.CPUTime(b)
			b.RunParallel(func(pb *testing.PB) {
				var req fasthttp.Request
				var resp fasthttp.Response
				req.SetRequestURI("http://gateway/cgi-bin/kf/send_msg?access_token=token-of-wwActive")
				req.Header.SetMethod("POST")
				req.SetBodyString(`{"touser":"wm","open_kfid":"wk","msgtype":"text","text":{"content":"hello"}}`)
				for pb.Next() {
					if err := client.Do(&req, &resp); err != nil || resp.StatusCode() != fasthttp.StatusOK {
						b.Errorf("%v, HTTP %d", err, resp.StatusCode())
						return
					}
				}
			})
			b.ReportMetric(float64((lineartest.CPUTime(b)-began).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
		})
	}
}

// BenchmarkObserve is what observation adds to a reply that is not judged: a copy for later, with
// and without counts for rehearsals. cpu-ns/op is the processor's, with that of who takes the copy.
func BenchmarkObserve(b *testing.B) {
	for _, counted := range []bool{false, true} {
		b.Run(fmt.Sprintf("counted=%v", counted), func(b *testing.B) {
			g := newGateway(b, 0)
			if counted {
				g.Calls = calls.New(nil, "rg:", time.Second, time.Now)
			}
			g.Observer = proxy.NewObserver(g)
			go g.Observer.Discard(b.Context())
			body := `{"touser":"wm","open_kfid":"wk","msgtype":"text","text":{"content":"` + strings.Repeat("hello ", 50) + `"}}`
			call := fmt.Sprintf("POST /cgi-bin/kf/send_msg?access_token=token-of-wwActive HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nUser-Agent: bot\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			var rc fasthttp.RequestCtx
			if err := rc.Request.Read(bufio.NewReader(strings.NewReader(call))); err != nil {
				b.Fatal(err)
			}
			observe := g.Observing(&rc, `{"errcode":0,"errmsg":"ok","msgid":"msg00000001"}`)
			b.ReportAllocs()
			began := lineartest.CPUTime(b)
			for b.Loop() {
				observe()
			}
			b.ReportMetric(float64(lineartest.CPUTime(b)-began)/float64(b.N), "cpu-ns/op")
			if n := g.Observer.Dropped(); n > int64(b.N)/2 {
				b.Errorf("%d of %d were dropped, which costs less", n, b.N)
			}
		})
	}
}

// BenchmarkCountCall is what counting adds to a call that is not judged: to one whose corp was
// found anyway, and to one that is sent without asking whose it is. cpu-ns/op is the processor's.
func BenchmarkCountCall(b *testing.B) {
	for _, bench := range []struct{ name, path string }{{"passing", "/cgi-bin/kf/send_msg"}, {"always-passing", "/cgi-bin/media/get"}} {
		b.Run(bench.name, func(b *testing.B) {
			g := newGateway(b, 0)
			g.Calls = calls.New(nil, "rg:", time.Second, time.Now)
			var rc fasthttp.RequestCtx
			head := fmt.Sprintf("GET %s?access_token=token-of-wwActive HTTP/1.1\r\nHost: gateway\r\n\r\n", bench.path)
			if err := rc.Request.Read(bufio.NewReader(strings.NewReader(head))); err != nil {
				b.Fatal(err)
			}
			count := g.Counting(&rc)
			b.ReportAllocs()
			began := lineartest.CPUTime(b)
			for b.Loop() {
				count()
			}
			b.ReportMetric(float64(lineartest.CPUTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkTraces is a reply that is judged, without traces, with a share of calls sampled, and
// with a traceparent whose bot does not sample. Nobody takes the spans. cpu-ns/op is the
// processor's, the export included.
func BenchmarkTraces(b *testing.B) {
	for _, bench := range []struct {
		name, endpoint, header string
		sample                 config.Fraction
	}{
		{"off", "", "", 0},
		{"none", "http://127.0.0.1:1", "", 0},
		{"1%", "http://127.0.0.1:1", "", 0.01},
		{"1%-unsampled-parent", "http://127.0.0.1:1", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n", 0.01},
		{"all", "http://127.0.0.1:1", "", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			tracer, err := trace.New(config.Traces{Endpoint: bench.endpoint, Sample: bench.sample},
				trace.Options{Log: record.RateLimit(zap.NewNop(), time.Now), Count: func(string, int) {}})
			if err != nil {
				b.Fatal(err)
			}
			var rc fasthttp.RequestCtx
			head := "POST /cgi-bin/kf/send_msg HTTP/1.1\r\nHost: gateway\r\n" + bench.header + "Content-Length: 0\r\n\r\n"
			if err := rc.Request.Read(bufio.NewReader(strings.NewReader(head))); err != nil {
				b.Fatal(err)
			}
			g := &proxy.Gateway{Traces: tracer}
			traced := g.Tracing(&rc)
			b.ReportAllocs()
			began := lineartest.CPUTime(b)
			for b.Loop() {
				traced()
			}
			b.ReportMetric(float64(lineartest.CPUTime(b)-began)/float64(b.N), "cpu-ns/op")
			ctx, cancel := context.WithCancel(b.Context())
			cancel()
			tracer.Close(ctx)
		})
	}
}
