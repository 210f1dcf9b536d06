package http1

import "time"

// LazyDeadline remembers a deadline of a connection. It is set later than needed by some slack, so
// that the next ones, which are a little later themselves, need not be set: that costs as much as
// reading a head. The zero value is no deadline.
type LazyDeadline struct{ at time.Time }

// Renew returns the deadline, which is at want or at most slack later, and whether it must be set
// on the connection. A zero want is no deadline.
func (d *LazyDeadline) Renew(want time.Time, slack time.Duration) (at time.Time, set bool) {
	if want.IsZero() {
		set, d.at = !d.at.IsZero(), want
		return want, set
	}
	if later := d.at.Sub(want); later >= 0 && later <= slack {
		return d.at, false
	}
	d.at = want.Add(slack)
	return d.at, true
}
