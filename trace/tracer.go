// Package trace makes spans of calls, joins them to the trace of their bot, and exports those that
// are sampled to a collector that speaks OTLP over HTTP.
//
// Spans hold ids and words of closed lists, never a body, a token, a query or a header. Nothing of
// a trace goes on to WeCom, and no call waits for the collector.
package trace

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otrace "go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"replygate/config"
	"replygate/record"
)

// What may wait for the collector, and how long. A span takes about 1 KB.
const (
	maxWaiting    = 4096 // spans, those that are on their way included
	maxBatch      = 512
	batchEvery    = 2 * time.Second
	exportTimeout = 10 * time.Second // of a batch, attempts included
	tryTimeout    = 5 * time.Second  // of one attempt
	maxAnswer     = 64 << 10         // of the collector
	maxLogged     = 300              // bytes of an error
)

// The results that Options.Count counts spans by.
const (
	Exported = "exported" // the collector took them
	Failed   = "failed"   // it did not
	Dropped  = "dropped"  // too many waited, or the gateway stopped
)

// Results are all of them.
var Results = []string{Exported, Failed, Dropped}

// Options say how a tracer tells of itself.
type Options struct {
	Version string // of the gateway
	Log     *record.RateLimited
	Count   func(result string, spans int)
}

// Tracer starts the spans of calls. Its methods may be called concurrently. A nil Tracer traces no
// call.
type Tracer struct {
	tracer otrace.Tracer
	sample float64 // of the calls without a trace of their bot
	queue  *queue
}

// New returns the tracer of a configuration, which was checked; nil if it names no collector. It
// does not connect yet.
func New(c config.Traces, o Options) (*Tracer, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	// What the library reports by itself may quote variables of the environment.
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		o.Log.Warn("the tracing library reports an error", zap.Error(err))
	}))
	exporter, err := newExporter(c)
	if err != nil {
		return nil, err
	}
	q := &queue{to: exporter, options: o, url: c.CollectorURL()}
	q.ctx, q.abort = context.WithCancel(context.Background())
	q.SpanProcessor = sdk.NewBatchSpanProcessor(q.exporter(), sdk.WithMaxQueueSize(maxWaiting), sdk.WithMaxExportBatchSize(maxBatch),
		sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(exportTimeout))
	host, _ := os.Hostname()
	provider := sdk.NewTracerProvider(
		sdk.WithSpanProcessor(q),
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())), // Start has chosen: that costs a tenth
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: 256, AttributeCountLimit: 16, EventCountLimit: 1, LinkCountLimit: 1,
			AttributePerEventCountLimit: 1, AttributePerLinkCountLimit: 1,
		}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "replygate"),
			attribute.String("service.version", o.Version), attribute.String("service.instance.id", host))),
	)
	return &Tracer{tracer: provider.Tracer("replygate"), sample: float64(c.Sample), queue: q}, nil
}

// newExporter returns the exporter to the collector of a configuration. Everything that the
// library would else take from the environment is set: the configuration alone says where spans
// go.
func newExporter(c config.Traces) (*otlptrace.Exporter, error) {
	roots, err := config.CertPool(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("traces.ca_file: %w", err)
	}
	headers := map[string]string{}
	for _, h := range c.Headers {
		if name, value, ok := config.TraceHeader(h); ok {
			headers[name] = value
		}
	}
	u := c.CollectorURL()
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf), otlptracehttp.WithCompression(otlptracehttp.NoCompression),
		otlptracehttp.WithTLSClientConfig(nil), otlptracehttp.WithTimeout(tryTimeout), otlptracehttp.WithMaxResponseSize(maxAnswer),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: exportTimeout}),
		otlptracehttp.WithHTTPClient(&http.Client{
			Timeout:       tryTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for one host
			Transport: &http.Transport{
				DialContext:     (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, ForceAttemptHTTP2: true,
				MaxConnsPerHost: 2, MaxIdleConns: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswer,
			},
		}),
	}
	exporter, err := otlptracehttp.New(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	return exporter, nil
}

// Close exports what waits, until ctx ends: what is then left is dropped. No call may be under way.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	defer context.AfterFunc(ctx, t.queue.abort)()
	_ = t.queue.Shutdown(ctx) // that of the provider does nothing if ctx has ended
	t.queue.abort()
	t.queue.dropWaiting()
}

// queue hands ended spans to the batches of the library, and counts what becomes of each. It takes
// no more than the library's own queue holds, so that the library never drops one uncounted.
type queue struct {
	sdk.SpanProcessor
	to      *otlptrace.Exporter
	options Options
	url     *url.URL
	waiting atomic.Int64
	ctx     context.Context // of exports; abort ends it
	abort   context.CancelFunc
}

// OnEnd takes a span that is over, or drops it.
func (q *queue) OnEnd(s sdk.ReadOnlySpan) {
	if q.waiting.Add(1) > maxWaiting {
		q.waiting.Add(-1)
		q.options.Count(Dropped, 1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// dropWaiting counts what the library has given up as dropped.
func (q *queue) dropWaiting() {
	if n := q.waiting.Swap(0); n > 0 {
		q.options.Count(Dropped, int(n))
		q.options.Log.Warn("the gateway stops before the collector took all spans: they are dropped", zap.Int64("spans", n))
	}
}

// exporter is the queue as what the library exports batches to.
func (q *queue) exporter() sdk.SpanExporter { return (*batches)(q) }

type batches queue

// ExportSpans sends one batch. The library would write an error to standard error.
func (b *batches) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(b.ctx, cancel)()
	defer cancel()
	err := b.to.ExportSpans(ctx, spans)
	if b.waiting.Add(int64(-len(spans))) < 0 { // dropWaiting has counted them
		b.waiting.Add(int64(len(spans)))
		return nil
	}
	if err == nil {
		b.options.Count(Exported, len(spans))
		return nil
	}
	b.options.Count(Failed, len(spans))
	b.options.Log.Warn("spans could not be exported: they are lost, and calls go on; check traces.endpoint, and that the collector runs",
		zap.String("collector", b.url.Scheme+"://"+b.url.Host), zap.Int("spans", len(spans)), zap.String("error", b.text(err)))
	return nil
}

// text is an error without the path of the collector, which is a key with some providers. What the
// collector says is cut.
func (b *batches) text(err error) string {
	s := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), b.url.String(), b.url.Scheme+"://"+b.url.Host), "?")
	if len(s) > maxLogged {
		s = strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}

// Shutdown ends the connections to the collector.
func (b *batches) Shutdown(ctx context.Context) error { return b.to.Shutdown(ctx) }

// propagator reads the traceparent of a bot. Its tracestate and baggage are text of the bot's own,
// which would be exported: they are not read.
var propagator propagation.TraceContext
