package main

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/account"
	"replygate/window"
)

// registerGauges registers the metrics that are read when /metrics is.
func (g *gateway) registerGauges(r *prometheus.Registry, now func() time.Time) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_build_info", Help: "1; the labels name the build.",
		ConstLabels: prometheus.Labels{"version": buildVersion(), "go": runtime.Version()},
	}, func() float64 { return 1 }))
	gauge("replygate_channels_bypassed", "Channels with replies through the gateway whose messages nobody pulls through it.",
		func() float64 { return float64(g.handler.Bypass.Bypassed()) })
	gauge("replygate_history_incomplete", "1 while a missing window proves nothing, for any account, except for channels with a backfill.",
		func() float64 { return one(!g.historyComplete()) })
	gauge("replygate_config_stale", "1 if the configuration's files have mistakes, or their reload is held, so that an older one is in force.",
		func() float64 { _, stale := g.version(); return one(stale) })
	gauge("replygate_config_warnings", "Warnings of check about the configuration in force, such as of rules that open much; alert from 1 on.",
		func() float64 { return float64(g.countWarnings(now())) })
	gauge("replygate_reload_held", "1 while a reload that removes many accounts, or the only one, waits to be confirmed.",
		func() float64 { return one(g.isHeld()) })
	gauge("replygate_config_files_unreadable", "Files that the configuration names and that cannot be read, its own included; alert from 1 on.",
		func() float64 { return float64(g.countUnreadable()) })
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
	gauge("replygate_lease_held", "1 while this gateway holds its lease in every partition of Redis.",
		func() float64 { return one(g.windows.Status().Held) })
	gauge("replygate_members", "Gateways on this Redis, this one included.",
		func() float64 { return float64(g.windows.Status().Members) })
	counter := func(name, help string, labels prometheus.Labels, value func() float64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	counter("replygate_log_records_dropped_total", "Records that their file or stream did not take in time; they went to standard error.", nil,
		func() float64 { return float64(g.logs.Unlogged()) })
	counter("replygate_observations_dropped_total", "Replies that were not looked at, since too many came at once: it cannot be told who was answered; alert if it grows.", nil,
		func() float64 { return float64(g.handler.Observer.Dropped()) })
	counter("replygate_journal_drained_records_total", "Records of the journal that were written to Redis.", nil,
		func() float64 { records, _ := g.windows.Drained(); return float64(records) })
	counter("replygate_journal_drain_errors_total", "Failed attempts to write a part of the journal to Redis.", nil,
		func() float64 { _, failures := g.windows.Drained(); return float64(failures) })
	counter("replygate_calls_uncounted_total", "Calls that no rehearsal knows: full, there was no place for them while Redis was away; lost, Redis may not have counted them.", prometheus.Labels{"cause": "full"},
		func() float64 { full, _ := g.calls.Uncounted(); return float64(full) })
	counter("replygate_calls_uncounted_total", "Calls that no rehearsal knows: full, there was no place for them while Redis was away; lost, Redis may not have counted them.", prometheus.Labels{"cause": "lost"},
		func() float64 { _, lost := g.calls.Uncounted(); return float64(lost) })
	for _, reason := range window.GapReasons() {
		counter("replygate_gaps_total", "Gaps in the records that are new or moved, by reason.", prometheus.Labels{"reason": reason},
			func() float64 { return float64(g.windows.GapCounts()[reason]) })
	}
	for _, cause := range window.Causes() {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "replygate_degraded", Help: "1 while refusals because a message is missing are unsure, by cause.", ConstLabels: prometheus.Labels{"cause": cause},
		}, func() float64 { return one(slices.Contains(g.windows.Status().Causes, cause)) }))
	}
	g.registerPerAccount(r, "replygate_account_lapse_timestamp_seconds", "When the account lapses, for the first metrics.per_account accounts that ever do.", lapseTimestamp)
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
