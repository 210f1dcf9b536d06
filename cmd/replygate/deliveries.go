package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/admin"
	"replygate/config"
	"replygate/outbox"
	"replygate/store"
	"replygate/upstream"
)

// openOutbox makes what delivers events. It uses no network.
func (g *gateway) openOutbox(now func() time.Time) {
	rdb, prefix := g.store.UniversalClient, g.Config.Redis.Prefix
	g.events.outbox = &outbox.Outbox{
		Log: g.events.log, Redis: rdb, Prefix: prefix, Timeout: g.store.Timeout, Now: now, Errors: g.limited,
		Sinks: func() config.Events { return g.inForce().Config.Events },
		Zone:  func() *time.Location { return zoneOf(g.Config.Console) },
		Link: func() string {
			if c := g.inForce().Config.Console; c.Enabled && c.Origin != "" {
				return c.Origin + "/console/"
			}
			return ""
		},
		WeCom: robotCalls{g},
	}
	g.events.deliverer = store.NewLeader(rdb, prefix+"leader:outbox", eventsTerm)
}

// robotCalls calls WeCom over a connection of its own for each message, since there are few, and
// bots do not wait for them.
type robotCalls struct{ g *gateway }

// maxRobotAnswer bounds WeCom's answer to a message, in bytes.
const maxRobotAnswer = 64 << 10

func (r robotCalls) Call(ctx context.Context, path string, query url.Values, body []byte) (int, []byte, error) {
	u, err := upstream.New(r.g.Config.Upstream)
	if err != nil {
		return 0, nil, err
	}
	defer u.Close()
	stop := context.AfterFunc(ctx, u.Abort)
	defer stop()
	return ownCalls{u, maxRobotAnswer}.Call(ctx, path, query, body)
}

// runOutbox delivers events, if this gateway leads, and watches the deliveries; it ends with ctx.
func (g *gateway) runOutbox(ctx context.Context) {
	b := &g.events
	g.done.Go(func() { b.outbox.Watch(ctx) })
	g.done.Go(func() { b.deliverer.Run(ctx, b.outbox.Run) })
}

// deliveriesPart tells of webhooks and robots that do not take their events.
func (g *gateway) deliveriesPart() admin.HealthPart {
	due := 0
	disabled, failing := []string{}, []string{}
	var since time.Time
	for _, s := range g.events.outbox.Status() {
		due += s.Due
		switch {
		case s.Disabled != "":
			disabled = append(disabled, s.Name)
		case !s.Failing.IsZero():
			failing = append(failing, s.Name)
			if since.IsZero() || s.Failing.Before(since) {
				since = s.Failing
			}
		}
	}
	p := saying("deliveries", admin.StatusOK, docEvents, "deliveries_made", "webhooks and robots take their events")
	switch {
	case len(disabled) > 0:
		p = saying("deliveries", admin.StatusFailed, docEvents, "deliveries_disabled", "disabled, so that nothing is sent any more: "+strings.Join(disabled, ", "))
		p.Values = admin.Values{"names": disabled}
	case len(failing) > 0:
		p = saying("deliveries", admin.StatusAttention, docEvents, "deliveries_failing", "these do not take their events at the moment, which are tried again: "+strings.Join(failing, ", "))
		p.Values, p.Since = admin.Values{"names": failing}, admin.Stamp(since)
	}
	p.Value = fmt.Sprintf("%d due", due)
	if p.Values == nil {
		p.Values = admin.Values{}
	}
	p.Values["due"] = due
	return counted(p, len(disabled)+len(failing))
}

// deliveryMetrics tells of each webhook and robot of the configuration in force.
type deliveryMetrics struct {
	g                                                 *gateway
	delivered, failed, givenUp, due, oldest, disabled *prometheus.Desc
}

func newDeliveryMetrics(g *gateway) *deliveryMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"name"}, labels...), nil)
	}
	return &deliveryMetrics{
		g:         g,
		delivered: desc("replygate_events_delivered_total", "Events, or digests, that this gateway delivered to a webhook or robot."),
		failed:    desc("replygate_events_deliveries_failed_total", "Attempts of this gateway to deliver that failed; they are made again."),
		givenUp:   desc("replygate_events_given_up_total", "Events that this gateway gave up to deliver, by cause; alert if it grows.", "cause"),
		due:       desc("replygate_events_due", "Events that a webhook or robot has not got yet, by any gateway; the newest 500 of the log at most are looked at."),
		oldest:    desc("replygate_events_oldest_due_seconds", "How long ago the oldest of them was logged; 0: none is due; alert from 3600 on."),
		disabled:  desc("replygate_events_delivery_disabled", "1 if nothing is sent to a webhook or robot any more; alert from 1 on."),
	}
}

// Describe describes the metrics.
func (m *deliveryMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.delivered, m.failed, m.givenUp, m.due, m.oldest, m.disabled} {
		c <- d
	}
}

// Collect reads the metrics from memory.
func (m *deliveryMetrics) Collect(c chan<- prometheus.Metric) {
	o, now := m.g.events.outbox, m.g.handler.Now()
	for _, s := range o.Status() {
		n := o.Counted(s.Name)
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			c <- prometheus.MustNewConstMetric(d, kind, v, append([]string{s.Name}, labels...)...)
		}
		send(m.delivered, prometheus.CounterValue, float64(n.Delivered))
		send(m.failed, prometheus.CounterValue, float64(n.Failed))
		for _, cause := range outbox.Causes() {
			send(m.givenUp, prometheus.CounterValue, float64(n.GivenUp[cause]), cause)
		}
		send(m.due, prometheus.GaugeValue, float64(s.Due))
		oldest := 0.0
		if !s.Oldest.IsZero() {
			oldest = max(0, now.Sub(s.Oldest).Seconds())
		}
		send(m.oldest, prometheus.GaugeValue, oldest)
		disabled := 0.0
		if s.Disabled != "" {
			disabled = 1
		}
		send(m.disabled, prometheus.GaugeValue, disabled)
	}
}
