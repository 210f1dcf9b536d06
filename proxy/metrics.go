package proxy

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Metrics count what passes. Labels come from closed lists: no id, path or token of a caller is
// one.
type Metrics struct {
	requests         counters[requestLabels]
	duration         [2]prometheus.Observer // not judged, judged
	upstreams        [2]prometheus.Observer // error, answered
	decisions        counters[decisionLabels]
	shadows          *prometheus.CounterVec
	inbounds         *prometheus.CounterVec
	upstreamResults  counters[truthLabels]
	deliveryFailures *prometheus.CounterVec
	callbacks        *prometheus.CounterVec
	unverified       *prometheus.CounterVec
	attributed       [gate.Ways]prometheus.Counter
	contradictions   *prometheus.CounterVec
	lately           [2]lastTime // of calls without and with an answer of WeCom
	callbacksLately  [2]lastTime // of callbacks that were not verified, and that were
	waits            *prometheus.HistogramVec
}

var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewMetrics registers the gateway's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	requests, duration, upstreams, decisions, truths :=
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_requests_total", Help: "Requests on the api listener, by capability of the endpoint and HTTP status.",
		}, []string{"capability", "status"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "replygate_request_duration_seconds", Help: "Time from a request's head to the head of its answer.", Buckets: buckets,
		}, []string{"judged"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "replygate_upstream_duration_seconds", Help: "Time from sending a call to the head of WeCom's answer.", Buckets: buckets,
		}, []string{"result"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_decisions_total", Help: "Judged calls.",
		}, []string{"capability", "verdict", "reason", "forwarded"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_upstream_errcodes_total", Help: "WeCom's answers to judged calls that went on, by our verdict: ok on unsure, or a window's errcode on pass, is a disagreement.",
		}, []string{"verdict", "errcode"})
	m := &Metrics{
		duration:  [2]prometheus.Observer{duration.WithLabelValues("false"), duration.WithLabelValues("true")},
		upstreams: [2]prometheus.Observer{upstreams.WithLabelValues("error"), upstreams.WithLabelValues("answered")},
		inbounds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "replygate_inbound_total", Help: "Customers' messages that became known, by source and what became of them.",
		}, []string{"source", "result"}),
	}
	m.shadows = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_shadow_decisions_total", Help: "What judged calls would have come to if the rules in shadow applied, where one of them decides.",
	}, []string{"capability", "verdict", "reason", "rule"})
	m.deliveryFailures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_delivery_failures_total", Help: "Replies that WeCom took and then did not deliver, by why; each corrects one window.",
	}, []string{"why"})
	m.callbacks = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_callbacks_total", Help: "Callbacks, by kind, what was made of them, and the HTTP status WeCom got.",
	}, []string{"kind", "result", "status"})
	m.unverified = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_callbacks_unverified_total", Help: "Callbacks of which nothing was recorded, by what did not fit: alert if it grows with key, receive_id, age or corp, which forgers do not reach.",
	}, []string{"cause"})
	for cause := range unverified {
		m.unverified.WithLabelValues(string(cause))
	}
	attributed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_attributed_total", Help: "Calls of which the gateway had to know whose they are, by what told it; none: nothing did.",
	}, []string{"by"})
	for by := range m.attributed {
		m.attributed[by] = attributed.WithLabelValues(gate.By(by).String())
	}
	m.contradictions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_corp_contradictions_total", Help: "What named two corps: token (a call, another than its known token's), call (a call whose token is unknown), earlier (calls with one unknown token), channel, learnt (a token).",
	}, []string{"kind"})
	for _, kind := range contradictions {
		m.contradictions.WithLabelValues(kind)
	}
	m.waits = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "replygate_unsure_wait_seconds", Help: "How long replies that Redis could not tell about waited for that, by what became of them.",
		Buckets: []float64{.1, .25, .5, 1, 1.5, 2, 2.5, 3, 5, 10},
	}, []string{"outcome"})
	m.requests.of = func(l requestLabels) prometheus.Counter {
		return requests.WithLabelValues(cmp.Or(string(l.capability), "none"), strconv.Itoa(l.status))
	}
	m.decisions.of = func(l decisionLabels) prometheus.Counter {
		return decisions.WithLabelValues(string(l.capability), l.verdict.String(), string(l.reason), strconv.FormatBool(l.goes))
	}
	m.upstreamResults.of = func(l truthLabels) prometheus.Counter {
		return truths.WithLabelValues(l.verdict.String(), l.errcode)
	}
	r.MustRegister(requests, duration, upstreams, decisions, truths, m.shadows, m.inbounds, m.deliveryFailures, m.callbacks, m.unverified, attributed, m.contradictions, m.waits)
	return m
}

// The labels of counters that every call needs.
type (
	requestLabels struct {
		capability wecom.Capability
		status     int
	}
	decisionLabels struct {
		capability wecom.Capability
		verdict    policy.Verdict
		reason     policy.Reason
		goes       bool
	}
	truthLabels struct {
		verdict policy.Verdict
		errcode string
	}
)

// counters remember the counter of each set of labels that came up: there are few, and finding one
// by its labels costs more than to count.
type counters[L comparable] struct {
	of    func(L) prometheus.Counter
	known atomic.Pointer[map[L]prometheus.Counter] // is never changed, but replaced
}

func (c *counters[L]) inc(l L) {
	known := c.known.Load()
	if known != nil {
		if counter, ok := (*known)[l]; ok {
			counter.Inc()
			return
		}
	}
	counter := c.of(l)
	counter.Inc()
	more := map[L]prometheus.Counter{l: counter}
	if known != nil {
		maps.Copy(more, *known)
	}
	c.known.CompareAndSwap(known, &more) // else another one was added just now: this one is, next time
}

func (m *Metrics) request(r *AccessRecord, judged bool) {
	m.requests.inc(requestLabels{r.Capability, r.Status})
	m.duration[index(judged)].Observe(r.Duration.Seconds())
}

func index(second bool) int {
	if second {
		return 1
	}
	return 0
}

func (m *Metrics) upstream(answered bool, d time.Duration, at time.Time) {
	m.upstreams[index(answered)].Observe(d.Seconds())
	m.lately[index(answered)].note(at)
}

func (m *Metrics) decision(d *policy.Decision) {
	m.decisions.inc(decisionLabels{d.Capability, d.Verdict, d.Reason, d.Go})
}

func (m *Metrics) waited(how policy.WaitOutcome, d time.Duration) {
	m.waits.WithLabelValues(string(how)).Observe(d.Seconds())
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
	m.upstreamResults.inc(truthLabels{d.Verdict, label})
}

func (m *Metrics) corrected(why string) { m.deliveryFailures.WithLabelValues(why).Inc() }

func (m *Metrics) callback(r *CallbackRecord, at time.Time) {
	result := r.Result
	if result == "" {
		result = "none"
	}
	m.callbacks.WithLabelValues(r.Kind, result, strconv.Itoa(r.Status)).Inc()
	m.callbacksLately[index(r.Cause == "")].note(at)
	if r.Cause != "" {
		m.unverified.WithLabelValues(string(r.Cause)).Inc()
	}
}

// Reported counts what became of facts that the admin API took.
func (m *Metrics) Reported(t window.Tally) { m.tally("report", t) }
