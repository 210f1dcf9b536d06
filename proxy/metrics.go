package proxy

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Metrics count what passes. Labels come from closed lists: no id, path or token of a caller is one.
type Metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	upstreams *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	shadows   *prometheus.CounterVec
	inbounds  *prometheus.CounterVec
	truths    *prometheus.CounterVec
	late      *prometheus.CounterVec
	callbacks *prometheus.CounterVec
}

var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics registers the gateway's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_requests_total", Help: "Requests on the api listener, by capability of the endpoint and HTTP status.",
		}, []string{"capability", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "replygate_request_duration_seconds", Help: "Time from a request's head to the head of its answer.", Buckets: buckets,
		}, []string{"judged"}),
		upstreams: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "replygate_upstream_duration_seconds", Help: "Time from sending a call to the head of WeCom's answer.", Buckets: buckets,
		}, []string{"result"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_decisions_total", Help: "Judged calls.",
		}, []string{"capability", "verdict", "reason", "forwarded"}),
		inbounds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_inbound_total", Help: "Customers' messages that became known, by source and what became of them.",
		}, []string{"source", "result"}),
	}
	m.shadows = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_shadow_decisions_total", Help: "What judged calls would have come to if the rules in shadow were obeyed, where one of them decides.",
	}, []string{"capability", "verdict", "reason", "rule"})
	m.truths = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_reply_answers_total", Help: "WeCom's answers to judged calls that went on, by our verdict: ok on unsure, or a window's errcode on pass, is a disagreement.",
	}, []string{"verdict", "errcode"})
	m.late = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_late_truths_total", Help: "Replies that WeCom took and then did not deliver, by why; each corrects one window.",
	}, []string{"why"})
	m.callbacks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_callbacks_total", Help: "Callbacks, by kind, what was made of them, and the HTTP status WeCom got.",
	}, []string{"kind", "result", "status"})
	r.MustRegister(m.requests, m.duration, m.upstreams, m.decisions, m.shadows, m.inbounds, m.truths, m.late, m.callbacks)
	return m
}

func (m *Metrics) request(r AccessRecord) {
	capability := string(r.Capability)
	if capability == "" {
		capability = "none"
	}
	m.requests.WithLabelValues(capability, strconv.Itoa(r.Status)).Inc()
	m.duration.WithLabelValues(strconv.FormatBool(r.DecisionID != "")).Observe(r.Duration.Seconds())
}

func (m *Metrics) upstream(result string, d time.Duration) {
	m.upstreams.WithLabelValues(result).Observe(d.Seconds())
}

func (m *Metrics) decision(d *policy.Decision) {
	m.decisions.WithLabelValues(string(d.Capability), d.Verdict.String(), string(d.Reason), strconv.FormatBool(d.Go)).Inc()
}

func (m *Metrics) shadow(d *policy.Decision) {
	m.shadows.WithLabelValues(string(d.Capability), d.Verdict.String(), string(d.Reason), d.Rule).Inc()
}

// inbound counts n messages from a source with one result.
func (m *Metrics) inbound(source, result string, n int) {
	m.inbounds.WithLabelValues(source, result).Add(float64(n))
}

// tally counts what became of facts from a source: sync_msg or report.
func (m *Metrics) tally(source string, t window.Tally) {
	m.inbound(source, "recorded", t.Recorded)
	m.inbound(source, "expired", t.Expired)
	m.inbound(source, "ahead", t.Ahead)
}

// windowCodes are the errcodes by which WeCom contradicts a window that we took for open.
var windowCodes = []int{wecom.CodeReplyCount, wecom.CodeReplyWindow, wecom.CodeSessionEnded, wecom.CodeSessionState}

// answered counts WeCom's answer to a judged call beside our verdict.
func (m *Metrics) answered(d *policy.Decision, errcode int) {
	label := "other"
	switch {
	case errcode == wecom.CodeOK:
		label = "ok"
	case slices.Contains(windowCodes, errcode):
		label = strconv.Itoa(errcode)
	}
	m.truths.WithLabelValues(d.Verdict.String(), label).Inc()
}

func (m *Metrics) corrected(why string) { m.late.WithLabelValues(why).Inc() }

func (m *Metrics) callback(r CallbackRecord) {
	result := r.Result
	if result == "" {
		result = "none"
	}
	m.callbacks.WithLabelValues(r.Kind, result, strconv.Itoa(r.Status)).Inc()
}

// Reported counts what became of facts that the admin API took.
func (m *Metrics) Reported(t window.Tally) { m.tally("report", t) }
