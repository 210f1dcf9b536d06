package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/backfill"
	"replygate/config"
	"replygate/upstream"
)

// newReplays returns what completes the records of accounts with secrets by itself.
func (g *gateway) newReplays(now func() time.Time) *backfill.Replayer {
	return &backfill.Replayer{
		Windows: g.windows, Redis: g.store.UniversalClient, Prefix: g.Config.Redis.Prefix, Timeout: g.store.Timeout,
		Budget: backfill.NewBudget(now), Log: g.limited, Now: now, Sleep: sleepBy(now),
		Accounts: func() []backfill.Account { return withKfSecrets(g.inForce().Config) },
		Connect:  func(ctx context.Context) (backfill.Calls, error) { return g.replayCalls(ctx) },
		Record:   g.handler.RecordPage, Learn: g.handler.LearnChannels, Channels: g.channelsOf,
	}
}

// replayCalls returns calls over connections of their own, which bots do not wait for. They end
// with ctx.
func (g *gateway) replayCalls(ctx context.Context) (backfill.Calls, error) {
	u, err := upstream.New(g.Config.Upstream)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		u.Abort()
		u.Close()
	})
	return ownCalls{u, int64(g.Config.Limits.ReadAnswer)}, nil
}

// sleepBy returns a sleep that ends by a clock, which tests move.
func sleepBy(now func() time.Time) func(context.Context, time.Duration) error {
	const step = 100 * time.Millisecond
	return func(ctx context.Context, d time.Duration) error {
		for end := now().Add(d); ; {
			left := end.Sub(now())
			if left <= 0 {
				return ctx.Err()
			}
			if err := sleep(ctx, min(left, step)); err != nil {
				return err
			}
		}
	}
}

// withKfSecrets returns the accounts that have secrets of WeChat Customer Service.
func withKfSecrets(c *config.Config) (all []backfill.Account) {
	for _, a := range c.Accounts {
		if len(a.Secrets.Kf) > 0 {
			all = append(all, backfill.Account{Corp: a.CorpID, Secrets: a.Secrets.Kf})
		}
	}
	return all
}

// channelsOf returns the known channels of a corp: the configured ones, and those that were seen.
func (g *gateway) channelsOf(ctx context.Context, corp string) ([]string, error) {
	all, err := g.handler.Tokens.ChannelsOf(ctx, corp)
	for _, a := range g.inForce().Config.Accounts {
		if a.CorpID == corp {
			all = append(all, a.Channels...)
		}
	}
	return all, err
}

// registerReplays registers the metrics of replays.
func registerReplays(r *prometheus.Registry, replays *backfill.Replayer) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_replays_running", Help: "Replays of kf/sync_msg that run on this gateway, one for each secret.",
	}, func() float64 { return float64(replays.Counts().Running) }))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_replays_secrets_refused", Help: "Secrets of secrets.kf that WeCom refuses; 0 on gateways that do not replay at the moment; alert from 1 on.",
	}, func() float64 { return float64(replays.Counts().Refused) }))
	counter := func(name, help string, labels prometheus.Labels, value func(backfill.Counts) int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(value(replays.Counts())) }))
	}
	counter("replygate_replays_calls_total", "Calls of kf/sync_msg that replays made.", nil, func(c backfill.Counts) int64 { return c.Calls })
	counter("replygate_replays_messages_total", "Customers' messages in the pages that replays pulled.", nil, func(c backfill.Counts) int64 { return c.Messages })
	for _, result := range backfill.Results() {
		counter("replygate_replays_total", "Replays of channels that ended, by result, and secrets that WeCom refused: alert if it grows with refused.",
			prometheus.Labels{"result": result}, func(c backfill.Counts) int64 { return c.Results[result] })
	}
}
