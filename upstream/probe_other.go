//go:build !linux

package upstream

import "time"

// probe goes by age on this system.
type probe struct{}

func (*probe) init(*conn) {}

// maxUnprobed is how long an idle connection counts as open: servers keep theirs longer.
const maxUnprobed = 4 * time.Second

// send writes the request, or returns errStale.
func (c *conn) send(r *Request) error {
	if !c.lastUse.IsZero() && time.Since(c.lastUse) > maxUnprobed {
		return errStale
	}
	return c.write(r)
}
