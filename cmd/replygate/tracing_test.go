package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/trace/tracetest"
)

func tracing(url string) func(*config.Config) {
	return func(c *config.Config) { c.Traces = config.Traces{Endpoint: url, Sample: 1} }
}

// The spans of the last calls reach the collector when the gateway stops; the id of the decision
// and that of the trace find each other.
func TestTraces(t *testing.T) {
	c := tracetest.Start(t)
	r := newRig(t, storetest.Embedded(t), nil)
	g, stop := r.startApart(storetest.Embedded(t), tracing(c.URL))
	a := raw(t, g.api.Addr().String(), request("POST", "/cgi-bin/externalcontact/add_msg_template?access_token="+r.fetchToken(g), "{}", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	if err := <-stop(); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range c.Spans() {
		found = found || s.Kind == "server" && s.Parent == "b7ad6b7169203331" && s.Attributes["replygate.decision_id"] == a.Gate.DecisionID && s.Attributes["replygate.verdict"] == "refuse"
	}
	if !found || a.Gate.DecisionID == "" {
		t.Errorf("the decision %q is in no span: %+v", a.Gate.DecisionID, c.Spans())
	}
	if log := r.output.String(); strings.Count(log, `"trace_id":"0af7651916cd43dd8448eb211c80319c"`) != 2 { // of the call and its decision
		t.Errorf("%s", log)
	}
}

// A collector that hangs slows neither calls nor the stop, which is over within the grace.
func TestTracesToAHangingCollector(t *testing.T) {
	hold := make(chan struct{})
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-hold
	}))
	t.Cleanup(collector.Close)
	t.Cleanup(func() { close(hold) })
	r := newRig(t, storetest.Embedded(t), nil)
	g, stop := r.startApart(storetest.Embedded(t), func(c *config.Config) {
		tracing(collector.URL)(c)
		c.Shutdown.Grace = time.Second
	})
	for range 50 {
		if a := raw(t, g.api.Addr().String(), request("GET", "/cgi-bin/user/get?access_token=x", "")); a.StatusCode != http.StatusOK {
			t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
		}
	}
	began := time.Now()
	if err := <-stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if log := r.output.String(); !strings.Contains(log, "spans") || strings.Count(log, "could not be exported") > 1 {
		t.Errorf("%s", log)
	}
}
