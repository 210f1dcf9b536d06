package proxy

import (
	"context"
	"net"
	"testing"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/policy"
	"replygate/trace"
)

// NeverYield turns the yielder off until the next Use.
func (g *Gateway) NeverYield() { g.yielder.interval.Store(0) }

// Certificate writes a certificate and its key.
func Certificate(t *testing.T) config.TLS {
	f := newCertFiles(t)
	f.write(pair(t, "gateway.example"))
	return f.TLS
}

// Limit bounds the open connections of a listener.
func Limit(ln net.Listener, most int64) { ln.(*listener).most = most }

// Shrink gives an observer a queue of n places.
func (o *Observer) Shrink(n int) { o.queue = make(chan *observation, n) }

// Counting returns a function that counts, once more each time, a call that was read and judged.
func (g *Gateway) Counting(rc *fasthttp.RequestCtx) func() {
	x := &apiRequest{}
	x.start(g, rc)
	x.readHead()
	if !x.gate.AlwaysPasses(x.head.Route) {
		x.identify()
	}
	return x.countCall
}

// Observing returns a function that hands a call with its answer to the observer, once more each
// time.
func (g *Gateway) Observing(rc *fasthttp.RequestCtx, answer string) func() {
	x := &apiRequest{}
	x.start(g, rc)
	x.readHead()
	x.identify()
	x.out.Body = rc.Request.Body()
	rc.Response.SetBodyString(answer)
	return x.observe
}

// MarkLost marks what an observer dropped, as it does while it runs.
func (o *Observer) MarkLost(ctx context.Context) { o.markLost(ctx, false) }

// Discard takes replies from an observer without a look, until ctx ends.
func (o *Observer) Discard(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-o.queue:
			observations.Put(one)
		}
	}
}

// Tracing returns a function that does, once more each time, all that is done for the trace of a
// judged reply.
func (g *Gateway) Tracing(rc *fasthttp.RequestCtx) func() {
	x := &apiRequest{request: request{gw: g, rc: rc}, decision: &policy.Decision{Reason: policy.WindowOpen}}
	r := &AccessRecord{Method: "POST", Path: "/cgi-bin/kf/send_msg", CorpID: "wwLapsed", Capability: "kf_reply", Verdict: "pass", DecisionID: "19b0a2c4e5f00001", Status: 200}
	return func() {
		x.trace = nil
		x.startTrace()
		endAsking(x.trace.Begin(trace.Store), false, false)
		x.endReading(x.trace.Begin(trace.Read), true)
		judging := x.trace.Begin(trace.Judge)
		endAsking(x.trace.Begin(trace.Store), x.trace != nil, false)
		judging.End("")
		x.endSending(x.trace.Begin(trace.Upstream), nil)
		r.TraceID = x.trace.ID()
		x.endTrace(r)
	}
}
