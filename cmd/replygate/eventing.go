package main

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/admin"
	"replygate/config"
	"replygate/contacts"
	"replygate/events"
	"replygate/gate"
	"replygate/outbox"
	"replygate/proxy"
	"replygate/store"
	"replygate/window"
)

// eventBook is what a gateway needs to log events and to serve them.
type eventBook struct {
	log   *events.Log
	feed  *events.Feed
	watch *events.Watch
	own   *events.Own
	// refused logs refused calls, for those who ask for them.
	refused *events.Refused
	leader  *store.Leader
	outbox  *outbox.Outbox
	// deliverer is the lock of the gateway that delivers.
	deliverer *store.Leader
	stops     stopsOf
	logged    *prometheus.CounterVec // by type
}

const eventsTerm = 15 * time.Second // of the lock of the gateway that looks for events

// openEvents makes what logs events and serves them. It uses no network.
func (g *gateway) openEvents(now func() time.Time) {
	rdb, prefix, most := g.store.UniversalClient, g.Config.Redis.Prefix, events.MaxEvents
	if g.store.Embedded != nil {
		most = events.MaxEmbedded
	}
	b := &g.events
	b.logged = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_events_logged_total", Help: "Events that this gateway logged, by type.",
	}, []string{"type"})
	b.log = events.NewLog(rdb, prefix, g.store.Timeout, most, now)
	b.log.Logged = func(kind string) { b.logged.WithLabelValues(kind).Inc() }
	b.log.LeftOut = func(err error) { g.limited.Warn("an event cannot be logged and is left out", zap.Error(err)) }
	b.feed = &events.Feed{Log: b.log}
	b.watch = &events.Watch{
		Log: b.log, Now: now, Errors: g.limited,
		Accounts: &events.Accounts{
			Book: g.accounts, State: g.contacts.observer.State, Warn: func() []config.Percent { return g.inForce().Config.Meter.Warn },
			Stops: g.stopsFrom, Calls7d: g.callsOf, FullOn: g.fullOn,
		},
		Moves: &events.Moves{Book: g.accounts, State: g.contacts.observer.State, Histories: g.contacts.observer.Store.Histories},
		Chats: &events.Chats{
			Windows: g.windows, Describe: g.describeChat,
			Observed: func(corp string) bool { return g.inForce().Observes(corp, now()) },
		},
		Records: &events.Records{
			Corps: func() []string { return g.accounts().CorpIDs() },
			Since: g.windows.HistoriesSince,
		},
	}
	b.own = &events.Own{
		Log: b.log, Now: now, Errors: g.limited, Began: now(), Gateway: func() string { return operated{g}.Address() },
		Store:    func() (up bool, since time.Time) { return g.store.Up(), g.store.UpSince() },
		Skew:     g.clockSkew,
		Bypassed: g.handler.Bypass.Channels,
		Shadow:   g.shadowRules,
	}
	b.refused = &events.Refused{Log: b.log, Feed: b.feed, Now: now, Errors: g.limited, Gateway: b.own.Gateway, Asked: func() []string { return typesOf(g.inForce().Config.Events) }}
	g.logs.tap.Use(b.refused.Add)
	b.leader = store.NewLeader(rdb, prefix+"leader:events", eventsTerm)
	g.openOutbox(now)
}

// runEvents starts what logs events and serves them; it ends with ctx.
func (g *gateway) runEvents(ctx context.Context) {
	b := &g.events
	g.done.Go(func() { b.feed.Run(ctx) })
	g.done.Go(func() { b.own.Run(ctx) })
	g.done.Go(func() { b.refused.Run(ctx) })
	g.done.Go(func() { b.leader.Run(ctx, b.watch.Run) })
	g.runOutbox(ctx)
}

// registerEvents registers the metrics about events.
func (g *gateway) registerEvents(r *prometheus.Registry) {
	r.MustRegister(g.events.logged, newDeliveryMetrics(g),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "replygate_events_listeners", Help: "Listeners of GET /v1/events."},
			func() float64 { n, _ := g.events.feed.Count(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "replygate_events_listeners_cut_total", Help: "Listeners that were disconnected because they lagged, or because Redis lost the end of the log; they resume."},
			func() float64 { _, n := g.events.feed.Count(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "replygate_events_dropped_total", Help: "Events of this gateway's own that Redis did not take for too long; alert from 1 on."},
			func() float64 { return float64(g.events.own.Dropped()) }),
	)
}

// typesOf returns the types that webhooks and robots name.
func typesOf(c config.Events) (all []string) {
	for _, w := range c.Webhooks {
		all = append(all, w.Types...)
	}
	for _, r := range c.Robots {
		all = append(all, r.Types...)
	}
	return all
}

// stopsOf keeps what stops by the configuration in force.
type stopsOf struct {
	mu    sync.Mutex
	of    *config.Config
	stops *gate.Stops
}

// stopsFrom returns the capabilities that an account loses at an instant.
func (g *gateway) stopsFrom(a *account.Account, at time.Time) (all []string) {
	s, inForce := &g.events.stops, g.inForce()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of != inForce.Config {
		s.of, s.stops = inForce.Config, gate.NewStops(inForce)
	}
	for _, c := range s.stops.Of(a, at) {
		all = append(all, string(c))
	}
	return all
}

// callsOf returns how many calls of an account went through the gateways in seven days.
func (g *gateway) callsOf(corp string) *int {
	a, _ := g.activity(corp)
	return a.Calls7d
}

// fullOn returns the day on which an account reaches its limit of contacts at its pace; "": it
// cannot be told.
func (g *gateway) fullOn(ctx context.Context, a *account.Account, total, limit int, now time.Time) string {
	days, err := g.contacts.observer.Store.Histories(ctx, []string{a.CorpID})
	if err != nil {
		return ""
	}
	pace, known := contacts.Measure(days[a.CorpID], now)
	if on, will := pace.FullOn(total, limit, now); known && will {
		return contacts.DayOf(on)
	}
	return ""
}

// describeChat says what an event tells of a chat, but for its times.
func (g *gateway) describeChat(k window.Key, closes time.Time) events.ChatData {
	inForce, now := g.inForce(), g.handler.Now()
	who, _ := inForce.Subject(k.Corp, "", now)
	after, _ := inForce.Subject(k.Corp, "", closes)
	d := events.ChatData{CorpID: k.Corp, Standing: string(who.Standing), Channel: k.Channel, Customer: k.Customer, ReachableAfter: after.Standing != account.Lapsed}
	if who.Account != nil {
		d.Account = who.Account.Name
	}
	c := inForce.Config
	if c.Console.Enabled && c.Console.Origin != "" {
		d.URL = c.Console.Origin + "/console/closing?corp_id=" + url.QueryEscape(k.Corp)
	}
	if c.Log.IDs == config.Hashed {
		d.Customer = proxy.HasherOf(c.Log.IDsKey)(k.Customer)
	}
	return d
}

// clockSkew tells which clock differs from this machine's so far that it is an error.
func (g *gateway) clockSkew() (whose string, ahead time.Duration) {
	redis, wecom := g.store.Skew(), g.handler.Skew()
	switch {
	case redis.Abs() >= redisSkewAlarm:
		return "redis", redis
	case wecom.Abs() >= wecomSkewAlarm:
		return "wecom", wecom
	}
	return "", 0
}

// shadowRules tells what rules in shadow would have changed since the configuration is in force.
func (g *gateway) shadowRules(now time.Time) (since time.Time, rules []events.ShadowRule) {
	inForce, since := operated{g}.GateSince()
	lines, _ := g.logs.newest()
	var examples map[string][]string
	for _, c := range inForce.Engine.Coverage(now) {
		if !c.Shadow || c.WouldRefuse+c.WouldPass == 0 {
			continue
		}
		if examples == nil {
			examples = admin.ShadowExamples(lines, since)
		}
		rules = append(rules, events.ShadowRule{Name: c.Name, WouldRefuse: c.WouldRefuse, WouldPass: c.WouldPass, Examples: append([]string{}, examples[c.Name]...)})
	}
	return since, rules
}

// maxListed bounds the changes that an event lists.
const maxListed = 50

// reloadedEvent logs that a configuration is in force.
func (g *gateway) reloadedEvent(before, hash string, changed []string) {
	if len(changed) > 0 {
		g.events.own.Reloaded(before, hash, slices.Clone(changed[:min(len(changed), maxListed)]))
	}
}

// rejectedEvent logs that the configuration's files cannot be used.
func (g *gateway) rejectedEvent(hash string, err error) {
	text := string(g.logs.redactor.Redact([]byte(err.Error())))
	g.events.own.Rejected(hash, text)
}
