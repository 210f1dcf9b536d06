package trace_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/config"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/trace"
	"replygate/trace/tracetest"
)

// rig is a tracer with what it tells of itself.
type rig struct {
	*trace.Tracer
	t      testing.TB
	log    *observer.ObservedLogs
	mu     sync.Mutex
	counts map[string]int
}

func newRig(t testing.TB, c config.Traces) *rig {
	t.Helper()
	core, log := observer.New(zapcore.InfoLevel)
	r := &rig{t: t, log: log, counts: map[string]int{}}
	tracer, err := trace.New(c, trace.Options{Version: "v1", Log: record.RateLimit(zap.New(core), time.Now), Count: r.count})
	if err != nil {
		t.Fatal(err)
	}
	r.Tracer = tracer
	t.Cleanup(func() { r.closeWithin(0) })
	return r
}

func (r *rig) count(result string, spans int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[result] += spans
}

func (r *rig) counted(result string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[result]
}

func (r *rig) closeWithin(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	r.Close(ctx)
}

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	botSpan = "b7ad6b7169203331"
)

func start(r *rig, traceparents ...string) *trace.Call {
	var all [][]byte
	for _, p := range traceparents {
		all = append(all, []byte(p))
	}
	return r.Start(all)
}

// A bot's traceparent decides whether its call is sampled, and the share of the configuration for
// calls without a valid one.
func TestSampling(t *testing.T) {
	t.Parallel()
	const sampled, unsampled = "00-" + traceID + "-" + botSpan + "-01", "00-" + traceID + "-" + botSpan + "-00"
	for _, test := range []struct {
		name         string
		sample       config.Fraction
		traceparents []string
		want         string // the trace's id; "": not sampled; "own": an id of its own
	}{
		{"no trace, none sampled", 0, nil, ""},
		{"no trace, all sampled", 1, nil, "own"},
		{"the bot samples", 0, []string{sampled}, traceID},
		{"the bot does not", 1, []string{unsampled}, ""},
		{"a later version", 0, []string{"01-" + traceID + "-" + botSpan + "-01-more"}, traceID},
		{"two headers", 0, []string{sampled, sampled}, ""},
		{"two headers, all sampled", 1, []string{sampled, unsampled}, "own"},
		{"malformed", 0, []string{"00-" + traceID + "-" + botSpan}, ""},
		{"zeros", 0, []string{"00-" + strings.Repeat("0", 32) + "-" + botSpan + "-01"}, ""},
		{"capital letters", 0, []string{strings.ToUpper(sampled)}, ""},
		{"long", 1, []string{strings.Repeat(sampled, 1000)}, "own"},
	} {
		r := newRig(t, config.Traces{Endpoint: "http://127.0.0.1:1", Sample: test.sample})
		got := start(r, test.traceparents...).ID()
		if test.want == "own" && len(got) == 32 && got != traceID {
			got = "own"
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Spans reach the collector with their parents, their attributes, and the headers of the
// configuration, and by nothing that the environment says.
func TestExport(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=wrong,malformed")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	c := tracetest.Start(t)
	r := newRig(t, config.Traces{Endpoint: c.URL + "/some/path", Sample: 1, Headers: []config.Secret{"X-Key: right", "Authorization: Bearer b"}})
	call := start(r, "00-"+traceID+"-"+botSpan+"-01")
	judging := call.Begin(trace.Judge)
	asking := call.Begin(trace.Store)
	asking.End("store_unavailable")
	call.Begin(trace.Store).Discard()
	judging.End("")
	call.Begin(trace.Upstream).Answered(200, "")
	call.End(trace.Outcome{Method: "POST", Path: "/cgi-bin/kf/send_msg", Corp: "ww1", Capability: "kf_reply", Verdict: "pass", Reason: "window_open", DecisionID: "id1", Status: 200})
	r.closeWithin(10 * time.Second)

	all := c.Spans()
	if len(all) != 4 || r.counted(trace.Exported) != 4 {
		t.Fatalf("%d spans, %d counted: %+v", len(all), r.counted(trace.Exported), all)
	}
	root := all[0]
	if root.Name != "POST /cgi-bin/kf/send_msg" || root.Kind != "server" || root.Trace != traceID || root.Parent != botSpan || root.Failure != "" {
		t.Errorf("%+v", root)
	}
	for key, want := range map[string]string{
		"service.name": "replygate", "service.version": "v1", "http.request.method": "POST", "url.path": "/cgi-bin/kf/send_msg", "http.response.status_code": "200",
		"replygate.corp_id": "ww1", "replygate.capability": "kf_reply", "replygate.verdict": "pass", "replygate.reason": "window_open", "replygate.decision_id": "id1",
	} {
		if got := root.Attributes[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	below := tracetest.Children(all, root)
	if len(below) != 2 || below[0].Name != "judge" || below[1].Name != "upstream" || below[1].Kind != "client" || below[1].Attributes["http.response.status_code"] != "200" {
		t.Fatalf("%+v", below)
	}
	if asked := tracetest.Children(all, below[0]); len(asked) != 1 || asked[0].Name != "store" || asked[0].Failure != "error: store_unavailable" {
		t.Errorf("%+v", asked)
	}
	_, heads := c.Raw()
	if h := heads[0]; h.URL.Path != "/some/path" || h.Header.Get("X-Key") != "right" || h.Header.Get("Authorization") != "Bearer b" || h.Header.Get("Traceparent") != "" {
		t.Errorf("%s %v", h.URL, h.Header)
	}
	if r.log.Len() > 0 {
		t.Errorf("%+v", r.log.All())
	}
}

// An endpoint without a path gets that of OTLP; without one nothing is traced, and nothing fails.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"http://c:4318": "http://c:4318/v1/traces", "https://c/": "https://c/v1/traces", "https://c/adapt/api/otlp/traces": "https://c/adapt/api/otlp/traces",
	} {
		if got := (config.Traces{Endpoint: endpoint}).CollectorURL().String(); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
	r := newRig(t, config.Traces{Sample: 1})
	if r.Tracer != nil {
		t.Fatal("it traces without an endpoint")
	}
	call := start(r)
	s := call.Begin(trace.Read)
	s.End("x")
	s.Discard()
	s.Answered(200, "x")
	call.End(trace.Outcome{})
	r.closeWithin(time.Second)
}

// collectorThat answers in its own way.
func collectorThat(t *testing.T, answers http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answers)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// Whatever the collector does, a call never waits for it; what it does not take is counted, and
// logged in one line without its path, its headers and most of what it says.
func TestCollectorsThatFail(t *testing.T) {
	t.Parallel()
	other := tracetest.Start(t) // must get nothing
	nobody := "http://" + storetest.FreeAddr(t)
	for name, url := range map[string]string{
		"dead":      nobody,
		"refuses":   collectorThat(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("no key ", 1000), 401) }),
		"redirects": collectorThat(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, 307) }),
		"busy":      collectorThat(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }),
		"hangs":     collectorThat(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, config.Traces{Endpoint: url + "/PATHKEY", Sample: 1, Headers: []config.Secret{"X-Key: HEADERKEY"}})
			spans := 100
			if name == "hangs" {
				spans = 5000 // more than may wait
			}
			for range spans {
				start(r).End(trace.Outcome{Method: "GET", Path: "/"})
			}
			if name == "hangs" && r.counted(trace.Dropped) == 0 {
				t.Error("all spans wait")
			}
			began := time.Now()
			r.closeWithin(time.Second)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the stop took %s", took)
			}
			deadline := time.Now().Add(30 * time.Second)
			for r.counted(trace.Failed)+r.counted(trace.Dropped) < spans && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
			}
			if failed, dropped := r.counted(trace.Failed), r.counted(trace.Dropped); failed+dropped != spans || r.counted(trace.Exported) != 0 {
				t.Errorf("%d failed, %d were dropped, %d exported", failed, dropped, r.counted(trace.Exported))
			}
			seen := map[string]int{}
			for _, l := range r.log.All() {
				text := fmt.Sprint(l.Message, l.ContextMap())
				if seen[l.Message]++; seen[l.Message] > 1 || strings.Contains(text, "KEY") || len(text) > 800 {
					t.Errorf("%d: %s", seen[l.Message], text)
				}
			}
			if len(seen) == 0 {
				t.Error("nothing is logged")
			}
		})
	}
	t.Cleanup(func() {
		if all := other.Spans(); len(all) > 0 {
			t.Errorf("a redirect was followed: %+v", all)
		}
	})
}

// A collector that is back gets the spans from then on.
func TestCollectorComesBack(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	var mu sync.Mutex
	down := true
	url := collectorThat(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if down {
			w.WriteHeader(400)
			return
		}
		c.ServeHTTP(w, r)
	})
	r := newRig(t, config.Traces{Endpoint: url, Sample: 1})
	await := func(result string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); r.counted(result) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no span is %s", result)
			}
		}
	}
	start(r).End(trace.Outcome{Method: "GET", Path: "/lost"})
	await(trace.Failed)
	mu.Lock()
	down = false
	mu.Unlock()
	start(r).End(trace.Outcome{Method: "GET", Path: "/kept", Status: 502, ErrorKind: "upstream_unreachable"})
	await(trace.Exported)
	all := c.Spans()
	if len(all) != 1 || all[0].Name != "GET /kept" || all[0].Failure != "error: upstream_unreachable" {
		t.Errorf("%+v", all)
	}
}

// Certificates that cannot be read are an error at the start.
func TestCertificates(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := trace.New(config.Traces{Endpoint: "https://127.0.0.1:1", CAFile: file}, trace.Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "traces.ca_file: ") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
