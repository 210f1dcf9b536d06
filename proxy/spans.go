package proxy

import (
	"context"
	"errors"

	"replygate/gate"
	"replygate/trace"
	"replygate/upstream"
	"replygate/window"
)

// startTrace starts the server span of the call, if it is sampled.
func (x *apiRequest) startTrace() {
	if x.gw.Traces != nil {
		x.trace = x.gw.Traces.Start(x.rc.Request.Header.PeekAll("Traceparent"))
	}
}

// endTrace ends the span of a call with the access record that it leaves. Nothing else of the call
// is in it.
func (x *apiRequest) endTrace(r *AccessRecord) {
	if x.trace == nil {
		return
	}
	reason := r.ErrorKind
	if x.decision != nil {
		reason = string(x.decision.Reason)
	}
	x.trace.End(trace.Outcome{
		Method: r.Method, Path: r.Path, Corp: r.CorpID, Capability: string(r.Capability), Verdict: r.Verdict,
		Reason: reason, DecisionID: r.DecisionID, Status: r.Status, ErrorKind: r.ErrorKind,
	})
}

// endReading ends the span of a body that is read.
func (v *request) endReading(s trace.Span, ok bool) {
	switch {
	case v.trace == nil:
	case v.rc.RequestBodyStream() == nil && len(v.rc.Request.Body()) == 0: // there is none
		s.Discard()
	case !ok:
		s.End(v.errorKind)
	default:
		s.End("")
	}
}

// endSending ends the span of a call to WeCom.
func (x *apiRequest) endSending(s trace.Span, err error) {
	switch {
	case x.trace == nil:
	case errors.Is(err, upstream.ErrDropped), x.upload().broke():
		s.Answered(0, clientAborted)
	case err != nil:
		s.Answered(0, connectionError(err))
	default:
		s.Answered(x.rc.Response.StatusCode(), "")
	}
}

// endAsking ends the span of a question that memory answers for most calls: then it leaves none.
func endAsking(s trace.Span, asked, unreachable bool) {
	switch {
	case unreachable:
		s.End(storeUnreachable)
	case asked:
		s.End("")
	default:
		s.Discard()
	}
}

// storeUnreachable is the failure of a question to Redis that it did not answer.
const storeUnreachable = "store_unavailable"

// windows is where the windows of the call are looked up.
func (x *apiRequest) windows() gate.Store {
	if x.trace == nil {
		return x.gw.Windows
	}
	return tracedStore{x.gw.Windows, x.trace}
}

// tracedStore makes a span of each question to a store.
type tracedStore struct {
	gate.Store
	call *trace.Call
}

func (s tracedStore) Reserve(ctx context.Context, k window.Key) window.Answer {
	asking := s.call.Begin(trace.Store)
	a := s.Store.Reserve(ctx, k)
	endAsking(asking, true, a.State == window.Unavailable)
	return a
}

func (s tracedStore) Peek(ctx context.Context, keys ...window.Key) []window.Answer {
	asking := s.call.Begin(trace.Store)
	all := s.Store.Peek(ctx, keys...)
	endAsking(asking, true, len(all) > 0 && all[0].State == window.Unavailable)
	return all
}

func (s tracedStore) ConsumeCode(ctx context.Context, corp, code string) window.CodeAnswer {
	asking := s.call.Begin(trace.Store)
	a := s.Store.ConsumeCode(ctx, corp, code)
	endAsking(asking, true, a.State == window.CodeUnavailable)
	return a
}

func (s tracedStore) PeekCode(ctx context.Context, corp, code string) window.CodeAnswer {
	asking := s.call.Begin(trace.Store)
	a := s.Store.PeekCode(ctx, corp, code)
	endAsking(asking, true, a.State == window.CodeUnavailable)
	return a
}
