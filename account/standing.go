package account

import "time"

// Standing is how an account stands with WeCom.
type Standing string

// The standings.
const (
	Active Standing = "active" // subscribed, or never lapsing
	Grace  Standing = "grace"  // not renewed, but WeCom does not limit it yet
	Lapsed Standing = "lapsed" // not renewed: only replies
	Free   Standing = "free"   // not subscribed, but below the free allowance, which WeCom does not limit
)

// Standings are all of them.
func Standings() []Standing { return []Standing{Active, Grace, Lapsed, Free} }

// Standing returns the standing at an instant. It flips at the very second, without a restart: an
// account is active before expires_at, and lapsed from expires_at + grace on.
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
