package trace

import (
	"context"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	otrace "go.opentelemetry.io/otel/trace"
)

// Call is a call that is sampled: its server span, and the span of what is done for it now. It
// belongs to one goroutine. A nil Call is one that is not sampled: nothing is done for it.
type Call struct {
	tracer otrace.Tracer
	span   otrace.Span
	ctx    context.Context // of the innermost open span
}

// Step is a part of a call that has a span of its own.
type Step string

// The steps.
const (
	Read     Step = "read"     // the body, where the gateway has all of it before it goes on
	Judge    Step = "judge"    // the decision
	Store    Step = "store"    // Redis is asked, or told
	Upstream Step = "upstream" // from sending the call to the head of WeCom's answer
)

// Start starts the server span of a call whose head has the given traceparent headers. It returns
// nil if the call is not sampled: the bot decides for a call that belongs to a trace, the
// configuration for others.
func (t *Tracer) Start(traceparents [][]byte) *Call {
	if t == nil {
		return nil
	}
	ctx := context.Background()
	if len(traceparents) == 1 { // several say nothing
		ctx = propagator.Extract(ctx, traceparent(traceparents[0]))
	}
	switch bot := otrace.SpanContextFromContext(ctx); {
	case bot.IsValid() && !bot.IsSampled():
		return nil
	case !bot.IsValid() && rand.Float64() >= t.sample:
		return nil
	}
	ctx, span := t.tracer.Start(ctx, "call", otrace.WithSpanKind(otrace.SpanKindServer))
	return &Call{tracer: t.tracer, span: span, ctx: ctx}
}

// traceparent is a carrier of that header alone.
type traceparent []byte

// Get returns the header if it is asked for.
func (h traceparent) Get(key string) string {
	if key == "traceparent" {
		return string(h)
	}
	return ""
}

// Set does nothing: no header is sent.
func (traceparent) Set(string, string) {}

// Keys returns the header's name.
func (traceparent) Keys() []string { return []string{"traceparent"} }

// ID is the id of the call's trace, "" if it is not sampled.
func (c *Call) ID() string {
	if c == nil {
		return ""
	}
	return c.span.SpanContext().TraceID().String()
}

// Span is a step under way. The zero value is that of a call that is not sampled.
type Span struct {
	call  *Call
	span  otrace.Span
	outer context.Context
}

// Begin begins a step within those that have begun and not ended.
func (c *Call) Begin(step Step) Span {
	if c == nil {
		return Span{}
	}
	kind := otrace.SpanKindInternal
	if step == Upstream || step == Store {
		kind = otrace.SpanKindClient
	}
	s := Span{call: c, outer: c.ctx}
	c.ctx, s.span = c.tracer.Start(c.ctx, string(step), otrace.WithSpanKind(kind))
	return s
}

// End ends the step. failure, unless "", names why it failed, by a closed list of words.
func (s Span) End(failure string) {
	if s.call == nil {
		return
	}
	s.call.ctx = s.outer
	fail(s.span, failure)
	s.span.End()
}

// Answered is End for the step upstream: status is that of the answer, 0 if there was none.
func (s Span) Answered(status int, failure string) {
	if s.call != nil && status != 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	s.End(failure)
}

// Discard ends a step of which nothing was done: it leaves no span.
func (s Span) Discard() {
	if s.call != nil {
		s.call.ctx = s.outer
	}
}

func fail(s otrace.Span, failure string) {
	if failure != "" {
		s.SetStatus(codes.Error, failure)
		s.SetAttributes(attribute.String("error.type", failure))
	}
}

// Outcome is what became of a call: ids, and words of closed lists.
type Outcome struct {
	Method     string
	Path       string // as the access record has it
	Corp       string
	Capability string
	Verdict    string
	Reason     string
	DecisionID string
	Status     int
	ErrorKind  string // why the gateway answered by itself without a decision
}

// End ends the server span of the call.
func (c *Call) End(o Outcome) {
	if c == nil {
		return
	}
	c.span.SetName(o.Method + " " + o.Path)
	c.span.SetAttributes(attribute.String("http.request.method", o.Method), attribute.String("url.path", o.Path),
		attribute.Int("http.response.status_code", o.Status))
	for _, a := range []struct{ key, value string }{
		{"replygate.corp_id", o.Corp}, {"replygate.capability", o.Capability}, {"replygate.verdict", o.Verdict},
		{"replygate.reason", o.Reason}, {"replygate.decision_id", o.DecisionID}, {"error.type", o.ErrorKind},
	} {
		if a.value != "" {
			c.span.SetAttributes(attribute.String(a.key, a.value))
		}
	}
	if o.Status >= 500 {
		c.span.SetStatus(codes.Error, o.ErrorKind)
	}
	c.span.End()
}
