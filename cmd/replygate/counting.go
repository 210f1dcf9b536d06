package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"replygate/account"
	"replygate/contacts"
	"replygate/store"
)

// contactBook is what a gateway needs to know the numbers of its accounts' contacts.
type contactBook struct {
	counts   *account.Counts
	observer *contacts.Observer
	meter    *contacts.Meter
	leader   *store.Leader

	watching  sync.Mutex // of the rest
	standings account.StandingWatch
	levels    contacts.Levels

	changed  *prometheus.CounterVec // standings, by from and to
	observed *prometheus.CounterVec // by source and result
}

const (
	refreshContacts = 10 * time.Second // how often the shared counts are read
	meterPause      = 30 * time.Second // between two rounds of the meter
	meterTerm       = 15 * time.Second // of the lock of the gateway that counts
)

// openContacts makes what counts contacts. It uses no network.
func (g *gateway) openContacts(now func() time.Time) {
	rdb, prefix := g.store.UniversalClient, g.Config.Redis.Prefix
	c := &g.contacts
	c.counts = account.NewCounts()
	c.changed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_standing_changes_total", Help: "Changes of accounts' standings, by the standings before and after.",
	}, []string{"from", "to"})
	observed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "replygate_contacts_observed_total", Help: "What bots' pages of contact_list and callbacks told of contacts, by source and what became of it; dropped: the next count mends it.",
	}, []string{"source", "result"})
	c.observed = observed
	c.observer = (&contacts.Observer{
		Store: contacts.NewStore(rdb, prefix, g.store.Timeout), Counts: c.counts, Accounts: g.accounts, OwnerOf: g.handler.Tokens.OwnerOfHash,
		Tally: func(source, result string) { observed.WithLabelValues(source, result).Inc() }, Log: g.limited,
	}).Init()
	c.meter = (&contacts.Meter{
		Calls: ownCalls{g.upstream, contacts.MaxAnswer}, Observer: c.observer, Targets: g.meterTargets, Log: g.limited, Now: now, Sleep: sleep,
	}).Init()
	c.leader = store.NewLeader(rdb, prefix+"leader:meter", meterTerm)
}

// meterTargets returns the accounts that have a secret to be counted with, and how often.
func (g *gateway) meterTargets() (all []contacts.Target, every time.Duration) {
	c := g.inForce().Config
	for _, a := range c.Accounts {
		if a.Secrets.Contact != "" {
			all = append(all, contacts.Target{Corp: a.CorpID, Secret: a.Secrets.Contact})
		}
	}
	return all, c.Meter.Every
}

// readContacts reads the shared counts before the first call is judged by them.
func (g *gateway) readContacts(ctx context.Context) {
	if err := g.contacts.observer.Refresh(ctx, g.handler.Now()); err != nil {
		g.log.Warn("the counts of contacts wait for redis: until then the configuration's own decide", zap.Error(err))
	}
	g.watchStandings(g.handler.Now())
}

// runContacts starts what counts contacts; it ends with ctx.
func (g *gateway) runContacts(ctx context.Context) {
	c := &g.contacts
	g.done.Go(func() { c.observer.Run(ctx) })
	g.done.Go(func() { c.meter.ServeAsked(ctx) })
	g.done.Go(func() {
		c.leader.Run(ctx, func(ctx context.Context) {
			for ctx.Err() == nil {
				c.meter.Round(ctx)
				_ = sleep(ctx, meterPause)
			}
		})
	})
	g.done.Go(func() {
		for ctx.Err() == nil {
			g.followContacts(ctx)
			_ = sleep(ctx, refreshContacts)
		}
	})
}

// followContacts reads the shared counts, stores those that Redis lacks, and tells what changed.
func (g *gateway) followContacts(ctx context.Context) {
	now := g.handler.Now()
	if err := g.contacts.observer.Refresh(ctx, now); err != nil {
		g.limited.Warn("the counts of contacts cannot be read from redis: those known stay", zap.Error(err))
	} else {
		g.contacts.observer.Save(ctx, now)
	}
	g.watchStandings(now)
}

// watchStandings logs and counts what changed since its last call: standings, levels of the limit
// reached, and counts that became stale.
func (g *gateway) watchStandings(now time.Time) {
	g.contacts.watching.Lock()
	defer g.contacts.watching.Unlock()
	book := g.accounts()
	for _, change := range g.contacts.standings.Changes(book, now) {
		g.contacts.changed.WithLabelValues(string(change.From), string(change.To)).Inc()
		a := book.Find(change.CorpID)
		n, known := a.Counted()
		limit, kind := a.Limit(now)
		g.log.Info("the standing of an account changed", zap.String("corp_id", a.CorpID), zap.String("name", a.Name), zap.String("from", string(change.From)), zap.String("to", string(change.To)),
			zap.Bool("contacts_known", known), zap.Int("contacts", n.Total), zap.String("source", string(n.Source)), zap.Int("limit", limit), zap.String("limit_kind", string(kind)))
	}
	for _, l := range g.contacts.levels.Raised(book, g.contacts.observer.State, g.inForce().Config.Meter.Warn, now) {
		if l.Stale {
			g.limited.Warn("the contacts of an account were not counted for three times meter.every: the count makes it full no longer, and free only for seven days",
				zap.String("corp_id", l.CorpID), zap.Time("as_of", l.Number.AsOf))
			continue
		}
		g.limited.Warn("the contacts of an account come near its limit", zap.String("corp_id", l.CorpID), zap.Stringer("reached", l.Percent),
			zap.Int("contacts", l.Number.Total), zap.Bool("exact", l.Number.Exact), zap.Int("limit", l.Limit), zap.String("limit_kind", string(l.LimitKind)))
	}
}

// registerContacts registers the metrics about contacts.
func (g *gateway) registerContacts(r *prometheus.Registry, now func() time.Time) {
	r.MustRegister(g.contacts.changed, g.contacts.observed)
	g.registerPerAccount(r, "replygate_contacts", "External contacts of the account, for the first metrics.per_account accounts: the estimate if callbacks moved the count.", g.contactsNumber)
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "replygate_contacts_stale", Help: "Accounts with secrets.contact whose contacts are not known, and those whose count is older than three times meter.every; alert from 1 on.",
	}, func() (n float64) {
		for _, c := range g.inForce().Config.Accounts {
			a := g.accounts().Find(c.CorpID)
			if a == nil { // the configuration changed just now
				continue
			}
			_, known := a.Counted()
			if known && a.Stale(now()) || !known && c.Secrets.Contact != "" {
				n++
			}
		}
		return n
	}))
}

// contactsNumber is the number of an account's contacts as GET /v1/contacts has it.
func (g *gateway) contactsNumber(a *account.Account) (float64, bool) {
	n, known := contacts.NumberOf(a, g.contacts.observer.State(a.CorpID))
	return float64(n.Total), known
}
