package account

import "time"

// Standing is the state of an account's subscription.
type Standing string

// The standings.
const (
	Active Standing = "active" // subscribed, or never lapsing
	Grace  Standing = "grace"  // expired, but not limited by WeCom yet
	Lapsed Standing = "lapsed" // expired: only replies are allowed
	Free   Standing = "free"   // expired, but not limited since it has fewer contacts than the free allowance
)

// Standings returns all standings.
func Standings() []Standing { return []Standing{Active, Grace, Lapsed, Free} }

// Standing returns the standing at an instant: active before expires_at, in grace until expires_at
// + grace, and lapsed or free from that instant on.
func (a *Account) Standing(now time.Time) Standing {
	switch {
	case a.subscription == nil || now.Before(a.subscription.ExpiresAt):
		return Active
	case now.Before(a.LapsesAt()):
		return Grace
	}
	if free, total, known := a.Contacts(); known && total < free {
		return Free
	}
	return Lapsed
}
