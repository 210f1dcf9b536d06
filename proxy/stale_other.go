//go:build !linux

package proxy

import (
	"net"
	"time"
)

// staleness is not known here.
type staleness struct{}

func newStaleness(net.Conn) *staleness { return nil }

// isStale goes by age where a connection cannot be looked into: the upstream keeps idle ones longer.
func isStale(_ *countingConn, lastUse time.Time) bool {
	return !lastUse.IsZero() && time.Since(lastUse) > 4*time.Second
}
