//go:build !linux

package proxy

import "time"

// sight is not to be had here.
type sight struct{}

func (c *countingConn) look() {}

// turn sends a call, unless the connection is stale. It goes by age: the upstream keeps idle ones
// longer.
func (c *countingConn) turn(lastUse time.Time) error {
	if !lastUse.IsZero() && time.Since(lastUse) > 4*time.Second {
		return errStale
	}
	return c.send()
}
