package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/admin"
	"replygate/config"
	"replygate/store/storetest"
)

// endpoint takes events, unless it is told otherwise.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	types  []string
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{status: http.StatusOK}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var form struct{ Type string }
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &form)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.types = append(e.types, form.Type)
		w.WriteHeader(e.status)
	}))
	t.Cleanup(e.Close)
	return e
}

// got returns how many events of a type came.
func (e *endpoint) got(kind string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.types {
		if k == kind {
			n++
		}
	}
	return n
}

func (e *endpoint) answers(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

const testSigning = "whsec_cmVwbHlnYXRlLXRlc3Qtc2VjcmV0LTMyLWJ5dGVzISE="

// A running gateway delivers the events that it finds, and tells of what it cannot deliver; an
// operator tests and resends. Keys show nowhere.
func TestWebhooks(t *testing.T) {
	in := newEndpoint(t)
	r := newRig(t, storetest.Start(t).Config(), func(c *config.Config) {
		c.Events.Webhooks = []config.Webhook{{Name: "crm", URL: in.URL + "/?token=in-the-query", Secrets: []config.Secret{testSigning}}}
		c.Events.Robots = []config.Robot{{Name: "duty", Key: "robot-key-that-hides", Language: config.English}}
		c.Admin.ReadKey, c.Admin.ChangeKey, c.Admin.MetricsKey = "r", "c", "m"
	})
	at := r.gateway.control.Addr().String()
	t.Setenv("REPLYGATE_ADMIN_READ_KEY", "r")
	t.Setenv("REPLYGATE_ADMIN_CHANGE_KEY", "c")
	part := func() (found admin.HealthPart) {
		var h admin.Health
		a := r.adminCall("GET", "/v1/health", "", "Authorization: Bearer r")
		if err := json.Unmarshal(a.body, &h); err != nil {
			t.Fatalf("%s", a.body)
		}
		for _, p := range h.Parts {
			if p.Name == "deliveries" {
				found = p
			}
		}
		return found
	}
	r.await("the health part", func() bool { return part().Code == "deliveries_made" && len(r.gateway.events.outbox.Status()) == 2 })
	r.await("its place in the log", func() bool {
		n, err := r.gateway.store.HExists(t.Context(), "rg:{events}:at:crm", "target").Result()
		return err == nil && n
	})
	began := time.Now().Add(-time.Minute)
	for range 2 {
		r.gateway.reloadedEvent(time.Now().String(), "hash", []string{"policy.rules"})
	}
	r.await("the events", func() bool { return in.got("config.reloaded") == 2 })
	if code, out, errs := cli(t, "webhooks", "resend", "crm", "--since", began.Format(time.RFC3339), "--admin", at); code != exitGood || !strings.Contains(out, "crm gets 2 events again") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	r.await("these again", func() bool { return in.got("config.reloaded") == 4 })
	if code, out, errs := cli(t, "webhooks", "test", "crm", "--admin", at); code != exitGood || !strings.Contains(out, "crm took the test in ") || in.got("test") != 1 {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	if code, out, errs := cli(t, "webhooks", "test", "duty", "--admin", at); code != exitGood || !strings.Contains(out, "duty took the test in ") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	in.answers(http.StatusGone)
	r.gateway.reloadedEvent(time.Now().String(), "hash", []string{"policy.rules"})
	r.await("the end of it", func() bool {
		p := part()
		return p.Code == "deliveries_disabled" && *p.Count == 1 && p.Status == admin.StatusFailed
	})
	metrics := string(r.adminCall("GET", "/metrics", "", "Authorization: Bearer m").body)
	for _, line := range []string{
		`replygate_events_delivered_total{name="crm"} 4`, `replygate_events_deliveries_failed_total{name="crm"} 1`, `replygate_events_due{name="crm"} `,
		`replygate_events_delivery_disabled{name="crm"} 1`, `replygate_events_given_up_total{cause="gone",name="crm"} 0`, `replygate_events_oldest_due_seconds{name="duty"} `,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("missing in /metrics: %s", line)
		}
	}
	if code, _, errs := cli(t, "webhooks", "test", "crm", "--admin", at); code != exitBad || !strings.Contains(errs, "crm did not take the test: HTTP 410") {
		t.Errorf("exit %d %s", code, errs)
	}
	if code, _, errs := cli(t, "webhooks", "resend", "crm", "--since", began.Format(time.RFC3339), "--admin", at); code != exitBad || !strings.Contains(errs, "(disabled)") {
		t.Errorf("exit %d %s", code, errs)
	}
	in.answers(http.StatusOK)
	if code, out, errs := cli(t, "webhooks", "test", "crm", "--admin", at); code != exitGood || !strings.Contains(out, "is enabled again") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	r.await("that it is well", func() bool { return part().Code == "deliveries_made" })
	for path, want := range map[string]int{
		"/v1/webhooks/cms/test": 404, "/v1/webhooks/crm/resend?since=yesterday": 400, "/v1/webhooks/crm/resend": 400, "/v1/webhooks/duty/resend?since=2026-11-29T21:00:00Z": 404, "/v1/webhooks/crm/test?url=x": 400,
	} {
		if a := r.adminCall("POST", path, "{}", "Authorization: Bearer c"); a.StatusCode != want {
			t.Errorf("%s: HTTP %d %s", path, a.StatusCode, a.body)
		}
	}
	if a := r.adminCall("POST", "/v1/webhooks/crm/test", "{}", "Authorization: Bearer r"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("with the read key: HTTP %d", a.StatusCode)
	}
	for _, text := range []string{r.log(), metrics, string(r.adminCall("GET", "/v1/health", "", "Authorization: Bearer r").body)} {
		for _, secret := range []string{testSigning, "robot-key-that-hides", "in-the-query"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows", secret)
			}
		}
	}
}
