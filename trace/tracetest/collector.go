// Package tracetest is a collector for tests: it takes spans by OTLP over HTTP, and keeps them. It
// exports nothing.
package tracetest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it was exported.
type Span struct {
	Name, Trace, ID, Parent string // ids in hex; the parent of a root is ""
	Kind                    string // internal, server or client
	Failure                 string // the status, if it is an error
	Attributes              map[string]string
	Start, End              time.Time
}

// Collector takes spans.
type Collector struct {
	URL string

	t     testing.TB
	mu    sync.Mutex
	spans []Span
	raw   []byte // all bodies, as they came
	heads []*http.Request
}

// Start starts a collector on loopback. It ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// ServeHTTP takes one batch.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var batch collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &batch)
	}
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("a batch cannot be read: %v %v", r.Header, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.heads = append(c.raw, body...), append(c.heads, r)
	for _, resource := range batch.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, spanOf(s, resource.GetResource().GetAttributes()))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func spanOf(s *otlp.Span, resource []*common.KeyValue) Span {
	out := Span{
		Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Kind:  map[otlp.Span_SpanKind]string{otlp.Span_SPAN_KIND_INTERNAL: "internal", otlp.Span_SPAN_KIND_SERVER: "server", otlp.Span_SPAN_KIND_CLIENT: "client"}[s.GetKind()],
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())), Attributes: map[string]string{},
	}
	if s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR {
		out.Failure = "error: " + s.GetStatus().GetMessage()
	}
	for _, a := range slices.Concat(resource, s.GetAttributes()) {
		value := a.GetValue().GetStringValue()
		if n, ok := a.GetValue().GetValue().(*common.AnyValue_IntValue); ok {
			value = strconv.FormatInt(n.IntValue, 10)
		}
		out.Attributes[a.GetKey()] = value
	}
	return out
}

// Spans returns what came so far, in the order in which the spans began.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.spans)
	slices.SortStableFunc(all, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return all
}

// Raw returns the bodies of all batches, and the heads of their requests.
func (c *Collector) Raw() (bodies string, heads []*http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.raw), slices.Clone(c.heads)
}

// Children returns the spans below one, in the order in which they began.
func Children(all []Span, of Span) (below []Span) {
	for _, s := range all {
		if s.Trace == of.Trace && s.Parent == of.ID {
			below = append(below, s)
		}
	}
	return below
}
