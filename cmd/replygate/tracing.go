package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/trace"
)

// openTraces makes what traces calls. It uses no network.
func (g *gateway) openTraces() (err error) {
	g.traced = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_trace_spans_total", Help: "Spans of sampled calls, by what became of them: exported, failed (the collector did not take them) or dropped (too many waited for it).",
	}, []string{"result"})
	for _, result := range trace.Results {
		g.traced.WithLabelValues(result)
	}
	g.traces, err = trace.New(g.Config.Traces, trace.Options{
		Version: buildVersion(), Log: g.limited,
		Count: func(result string, spans int) { g.traced.WithLabelValues(result).Add(float64(spans)) },
	})
	return err
}

// lastExport bounds how long a stop waits for the collector to take the last spans.
const lastExport = 2 * time.Second

// closeTraces exports the spans of calls that are over, for a short while that ends with the grace.
func (g *gateway) closeTraces(grace time.Time) {
	until := time.Now().Add(lastExport)
	if grace.Before(until) {
		until = grace
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	g.traces.Close(ctx)
}
