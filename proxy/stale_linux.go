package proxy

import (
	"net"
	"syscall"
	"time"
)

// staleness looks whether a connection is good without taking anything from it. It is kept with its connection,
// since it is asked before every call.
type staleness struct {
	raw   syscall.RawConn // nil: there is no looking
	look  func(fd uintptr)
	stale bool
}

func newStaleness(c net.Conn) *staleness {
	s := &staleness{}
	if sys, ok := c.(syscall.Conn); ok {
		if raw, err := sys.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.look = func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		s.stale = err != syscall.EAGAIN && err != syscall.EINTR
	}
	return s
}

// isStale tells whether a pooled connection must not be used: the upstream has closed it, or has sent
// bytes that nobody asked for.
func isStale(c *countingConn, lastUse time.Time) bool {
	if lastUse.IsZero() || c.staleness == nil || c.staleness.raw == nil {
		return false // just dialled
	}
	c.staleness.stale = true
	err := c.staleness.raw.Control(c.staleness.look)
	return c.staleness.stale || err != nil
}
