package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/account"
)

// registerGauges registers the metrics that are read when /metrics is.
func (g *gateway) registerGauges(r *prometheus.Registry, now func() time.Time) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("replygate_channels_bypassed", "Channels with replies through the gateway whose messages nobody pulls through it.",
		func() float64 { return float64(g.handler.Bypass.Bypassed()) })
	gauge("replygate_history_incomplete", "1 while a missing window proves nothing, for any account, except for channels with a backfill.",
		func() float64 { return one(!g.historyComplete()) })
	gauge("replygate_config_stale", "1 if the configuration's file has mistakes, so that an older one is in force.",
		func() float64 { _, stale := g.version(); return one(stale) })
	gauge("replygate_journal_bytes", "Size of the journal: writes that Redis has not taken, or the embedded store's changes since its snapshot.",
		func() float64 { return float64(g.store.Journal.End() - g.store.Journal.Start()) })
	gauge("replygate_redis_clock_skew_seconds", "How far Redis's clock is ahead of the gateway's; alert from 1 on, either way.",
		func() float64 { return g.store.Skew().Seconds() })
	gauge("replygate_wecom_clock_skew_seconds", "How far WeCom's clock is ahead of the gateway's, as far as answers prove; alert from 5 on, either way.",
		func() float64 { return g.handler.Skew().Seconds() })
	gauge("replygate_unsure_waiting", "Replies that wait because Redis cannot be asked about them at the moment.",
		func() float64 { return float64(g.handler.Waiting()) })
	gauge("replygate_redis_up", "1 if Redis answered when last asked.",
		func() float64 { return one(g.store.Up()) })
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "replygate_log_records_dropped_total", Help: "Records that their file or stream did not take in time; they went to standard error.",
	}, func() float64 { return float64(g.logs.Unlogged()) }))
	for _, standing := range account.Standings() {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "replygate_accounts", Help: "Accounts by standing.", ConstLabels: prometheus.Labels{"standing": string(standing)},
		}, func() float64 { return g.countAccounts(standing, now()) }))
	}
}

func (g *gateway) historyComplete() bool {
	complete, _, err := g.windows.Complete(context.Background(), "", "")
	return err == nil && complete
}

// countAccounts counts the accounts that have a standing at an instant.
func (g *gateway) countAccounts(s account.Standing, at time.Time) (n float64) {
	for _, a := range g.accounts().All() {
		if a.Standing(at) == s {
			n++
		}
	}
	return n
}

// one is 1 for true and 0 for false, as metrics have it.
func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
