package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"replygate/outbox"
)

// Deliveries are what the admin API has done with the webhooks and robots of the configuration. No
// caller can name a URL.
type Deliveries interface {
	Test(ctx context.Context, name string) (outbox.Tested, error)
	Resend(ctx context.Context, name string, since time.Time) (n int, more bool, err error)
}

// WebhookTest is the answer of POST /v1/webhooks/NAME/test.
type WebhookTest struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Status  int    `json:"status,omitempty"` // of HTTP; absent: no answer
	Error   string `json:"error,omitempty"`
	TookMS  int64  `json:"took_ms"`
	Enabled bool   `json:"enabled"` // it was disabled before
}

// WebhookResend is the answer of POST /v1/webhooks/NAME/resend.
type WebhookResend struct {
	Name   string `json:"name"`
	Since  string `json:"since"`
	Queued int    `json:"queued"` // events
	More   bool   `json:"more"`   // there are more than may wait: resend again later
}

// testWebhook sends a test to a webhook or robot.
func (a *Admin) testWebhook(w http.ResponseWriter, r *http.Request) {
	if !isJSON(w, r) {
		return
	}
	if _, err := checkedValues(r); err != nil {
		failQuery(w, err)
		return
	}
	name := r.PathValue("name")
	t, err := a.Deliveries.Test(r.Context(), name)
	if err != nil {
		failDelivery(w, err)
		return
	}
	a.audit(r, "a webhook is tested", zap.String("name", name), zap.Bool("ok", t.OK))
	reply(w, http.StatusOK, WebhookTest{Name: name, OK: t.OK, Status: t.Status, Error: t.Error, TookMS: t.Took.Milliseconds(), Enabled: t.Enabled})
}

// resendWebhook has a webhook get events again.
func (a *Admin) resendWebhook(w http.ResponseWriter, r *http.Request) {
	if !isJSON(w, r) {
		return
	}
	values, err := checkedValues(r, "since")
	if err != nil {
		failQuery(w, err)
		return
	}
	since, err := time.Parse(time.RFC3339, values.Get("since"))
	if err != nil {
		failQuery(w, badQueryf("since must be an instant like 2026-11-29T21:30:00+08:00"))
		return
	}
	name := r.PathValue("name")
	n, more, err := a.Deliveries.Resend(r.Context(), name, since)
	if err != nil {
		failDelivery(w, err)
		return
	}
	a.audit(r, "a webhook gets events again", zap.String("name", name), zap.Time("since", since), zap.Int("events", n))
	reply(w, http.StatusOK, WebhookResend{Name: name, Since: stamp(since), Queued: n, More: more})
}

// failDelivery answers a request that was not carried out.
func failDelivery(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, outbox.ErrUnknown):
		fail(w, http.StatusNotFound, "no_webhook", err.Error())
	case errors.Is(err, outbox.ErrDisabled):
		fail(w, http.StatusConflict, "disabled", err.Error())
	case errors.Is(err, outbox.ErrTooSoon):
		w.Header().Set("Retry-After", fmt.Sprint(outbox.RobotSeconds))
		fail(w, http.StatusTooManyRequests, "too_many", err.Error())
	default:
		storeAway(w, err)
	}
}
