package http1

import "time"

// LazyDeadline is one of a connection. It is set a little later than it is asked for, so that the next
// ones, a little later themselves, need no setting: that costs as much as reading a head.
type LazyDeadline struct{ at time.Time }

// Renew tells when the deadline is, between want and slack later, and whether it must be set. No
// want is no deadline.
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
