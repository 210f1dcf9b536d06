package account

import "time"

// Standing is what an account's subscription and number of contacts allow.
type Standing string

// The standings.
const (
	Active Standing = "active" // subscribed, or never lapsing
	Grace  Standing = "grace"  // expired, but not limited by WeCom yet
	Lapsed Standing = "lapsed" // expired: only replies are allowed
	Free   Standing = "free"   // not subscribed, and not limited since it has fewer contacts than the free allowance
	Full   Standing = "full"   // as many contacts as it may have: only adding customers is refused
)

// Standings returns all standings.
func Standings() []Standing { return []Standing{Active, Grace, Lapsed, Free, Full} }

// Standing returns the standing at an instant: active before expires_at, in grace until expires_at
// + grace, and lapsed or free from that instant on. An account that never had a subscription is
// free or full, or active while its contacts are not known. Only exact counts matter.
func (a *Account) Standing(now time.Time) Standing { return a.StandingLater(now, now) }

// StandingLater returns the standing at a later instant if the number of contacts stays what it is
// now: a count that is recent enough now is taken to be renewed until then.
func (a *Account) StandingLater(now, at time.Time) Standing {
	n, known := a.Counted()
	fresh := a.freshness(n)
	limit, kind := a.Limit(at)
	below := known && kind == FreeLimit && n.Total < limit && before(now, fresh.FreeUntil)
	reached := known && kind != NoLimit && n.Total >= limit && before(now, fresh.FullUntil)
	expired := !a.never() && !a.subscribed(at)
	switch {
	case below:
		return Free
	case expired:
		return Lapsed
	case reached:
		return Full
	case a.inGrace(at):
		return Grace
	}
	return Active
}

// LapsesTo returns the standing from LapsesAt on, if the number of contacts stays as it is known at
// an instant: lapsed or free; "" if the account never lapses. A metered count is taken to be
// renewed in time.
func (a *Account) LapsesTo(now time.Time) Standing {
	if a.LapsesAt().IsZero() {
		return ""
	}
	return a.StandingLater(now, a.LapsesAt())
}

// StopsAt returns when the account lapses, unless it becomes free then: LapsesTo. It is zero if
// nothing stops.
func (a *Account) StopsAt(now time.Time) time.Time {
	if a.LapsesTo(now) != Lapsed {
		return time.Time{}
	}
	return a.LapsesAt()
}

// never reports whether the account never had a subscription.
func (a *Account) never() bool { return a.subscription != nil && bool(a.subscription.Never) }

// subscribed reports whether the subscription, with its grace period, holds at an instant.
func (a *Account) subscribed(now time.Time) bool {
	return a.subscription == nil || !a.never() && now.Before(a.LapsesAt())
}

// inGrace reports whether the subscription has ended; the grace period may have ended too.
func (a *Account) inGrace(now time.Time) bool {
	return !a.ExpiresAt().IsZero() && !now.Before(a.ExpiresAt())
}

// Instants returns when the standing may change by time alone, in no order: the ends of the
// subscription and of the grace period, and when the count becomes too old.
func (a *Account) Instants() []time.Time {
	fresh := a.Freshness()
	all := make([]time.Time, 0, 4)
	for _, at := range []time.Time{a.ExpiresAt(), a.LapsesAt(), fresh.FullUntil, fresh.FreeUntil} {
		if !at.IsZero() {
			all = append(all, at)
		}
	}
	return all
}
