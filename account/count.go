package account

import (
	"sync"
	"sync/atomic"
	"time"

	"replygate/config"
)

// Source says where a number of contacts comes from.
type Source string

// The sources.
const (
	ByHand    Source = "file"      // contacts.total in the configuration
	Metered   Source = "metered"   // a pass over contact_list, of a bot or of the gateway
	Callbacks Source = "callbacks" // an estimate, which changes no standing
)

// Count is an exact number of an account's external contacts.
type Count struct {
	Total  int
	AsOf   time.Time // zero: before any other count
	Source Source
}

// freeLife is how long a metered count may make an account free.
const freeLife = 7 * 24 * time.Hour

// fullEvery is how many meter.every a metered count may make an account full.
const fullEvery = 3

// Counts holds the newest metered count of each corp. Books share it, so that a count survives a
// reload. It is safe for concurrent use.
type Counts struct {
	mu     sync.Mutex
	byCorp map[string]*counted
}

// counted is the count of one corp; nil: none.
type counted = atomic.Pointer[Count]

// NewCounts returns Counts without a count.
func NewCounts() *Counts { return &Counts{byCorp: map[string]*counted{}} }

// Set stores a metered count, unless a newer one is stored. Only the corps of accounts should have
// one: they are kept until the process ends.
func (c *Counts) Set(corp string, n Count) {
	at := c.of(corp)
	for {
		old := at.Load()
		if old != nil && !old.AsOf.Before(n.AsOf) || at.CompareAndSwap(old, &n) {
			return
		}
	}
}

func (c *Counts) of(corp string) *counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byCorp[corp] == nil {
		c.byCorp[corp] = new(counted)
	}
	return c.byCorp[corp]
}

// UseCounts lets metered counts change the standings of the book's accounts. every is meter.every.
// It must be called before the book is in use.
func (b *Book) UseCounts(c *Counts, every time.Duration) {
	for _, a := range b.all {
		a.metered, a.every = c.of(a.CorpID), every
	}
}

// Counted returns the count that decides about the account: of the one by hand and the metered one
// the newer. known is false if there is none.
func (a *Account) Counted() (n Count, known bool) {
	if a.byHand != nil {
		n, known = *a.byHand, true
	}
	if a.metered == nil {
		return n, known
	}
	if metered := a.metered.Load(); metered != nil && (!known || n.AsOf.Before(metered.AsOf)) {
		return *metered, true
	}
	return n, known
}

// Contacts returns the free allowance and the number of external contacts. known is false if there
// is no exact count.
func (a *Account) Contacts() (free, total int, known bool) {
	n, known := a.Counted()
	if !known {
		return 0, 0, false
	}
	return a.free, n.Total, true
}

// Purchased returns the number of contacts that the account may have while subscribed; 0 if that is
// not known.
func (a *Account) Purchased() int { return a.purchased }

// LimitKind says which number of contacts limits an account: a key of contacts, or "" for none.
type LimitKind string

// The kinds of limits.
const (
	NoLimit        LimitKind = ""
	FreeLimit      LimitKind = "free"
	PurchasedLimit LimitKind = "purchased"
)

// Limit returns the number of contacts from which on the account is limited at an instant: the
// allowance if it is not subscribed, else what it purchased, if that is known.
func (a *Account) Limit(now time.Time) (int, LimitKind) {
	switch {
	case !a.subscribed(now):
		return a.free, FreeLimit
	case a.purchased > 0:
		return a.purchased, PurchasedLimit
	}
	return 0, NoLimit
}

// Freshness is until when a count may change a standing; zero is for ever.
type Freshness struct {
	FullUntil, FreeUntil time.Time // from then on it makes no account full, or free
}

// freshness returns the Freshness of a count. A count by hand never becomes too old.
func (a *Account) freshness(n Count) Freshness {
	if n.Source != Metered {
		return Freshness{}
	}
	return Freshness{FullUntil: n.AsOf.Add(fullEvery * a.every), FreeUntil: n.AsOf.Add(freeLife)}
}

// Freshness returns until when the count that decides about the account may change its standing.
func (a *Account) Freshness() Freshness {
	n, _ := a.Counted()
	return a.freshness(n)
}

// Stale reports whether the account should have been counted again: its metered count is older than
// three times meter.every.
func (a *Account) Stale(now time.Time) bool { return !before(now, a.Freshness().FullUntil) }

// before reports whether now is before an instant; zero is never reached.
func before(now, until time.Time) bool { return until.IsZero() || now.Before(until) }

// countByHand returns the count in a configuration, or nil.
func countByHand(c *config.Contacts) *Count {
	if c == nil || c.Total == nil {
		return nil
	}
	return &Count{Total: *c.Total, AsOf: c.CountedAt, Source: ByHand}
}
