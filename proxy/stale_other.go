//go:build !linux

package proxy

import (
	"net"
	"time"
)

// isStale goes by age where a connection cannot be looked into: the upstream keeps idle ones longer.
func isStale(_ net.Conn, lastUse time.Time) bool {
	return !lastUse.IsZero() && time.Since(lastUse) > 4*time.Second
}
