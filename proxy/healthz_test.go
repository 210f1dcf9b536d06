package proxy_test

import (
	"maps"
	"testing"
)

// A probe of the api listener is answered at once, without Redis and WeCom, and is neither counted
// nor recorded.
func TestHealthz(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	r.redis.away.Store(true)
	before := r.samples()
	for _, test := range []struct {
		name, request string
		stopping      bool
		status        int
		body          string
		closes        bool
	}{
		{"a probe", "GET /replygate/healthz HTTP/1.1\r\nHost: g\r\n\r\n", false, 200, `{"status":"ok"}`, false},
		{"one with a query", "GET /replygate/healthz?from=balancer HTTP/1.1\r\nHost: g\r\n\r\n", false, 200, `{"status":"ok"}`, false},
		{"one of HTTP/1.0 without a Host", "GET /replygate/healthz HTTP/1.0\r\n\r\n", false, 200, `{"status":"ok"}`, true},
		{"one for the status alone", "HEAD /replygate/healthz HTTP/1.1\r\nHost: g\r\n\r\n", false, 200, "", false},
		{"one while the gateway stops", "GET /replygate/healthz HTTP/1.1\r\nHost: g\r\n\r\n", true, 503, `{"status":"stopping"}`, true},
		{"one for the status alone, while the gateway stops", "HEAD /replygate/healthz HTTP/1.1\r\nHost: g\r\n\r\n", true, 503, "", true},
	} {
		r.draining.Store(test.stopping)
		a := r.send(r.api, test.request)
		if a.status != test.status || a.body != test.body || a.closed != test.closes || a.header.Get("Replygate-Verdict") != "" {
			t.Errorf("%s: HTTP %d %s, the connection ends: %v", test.name, a.status, a.body, a.closed)
		}
	}
	if calls := r.platform.Calls(); len(calls) != 0 {
		t.Errorf("WeCom got %v", calls)
	}
	for _, kind := range []string{"request", "decision"} {
		if got := r.records.take(t, kind); len(got) != 0 {
			t.Errorf("records: %v", got)
		}
	}
	if after := r.samples(); !maps.Equal(before, after) {
		t.Errorf("metrics moved from %v to %v", before, after)
	}
}

// A request to the same path that is no probe is a mistake like any other.
func TestHealthzTakesNothing(t *testing.T) {
	t.Parallel()
	r := newHarness(t, nil)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		a := r.send(r.api, method+" /replygate/healthz HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}")
		wantOwn(t, method, a, 405, 990404, "error", "method_not_allowed", "a probe is a GET or a HEAD")
		if got := r.records.take(t, "request"); len(got) != 1 || got[0]["status"] != float64(405) {
			t.Errorf("%s: records %v", method, got)
		}
	}
}
