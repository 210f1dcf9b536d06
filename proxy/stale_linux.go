package proxy

import (
	"net"
	"syscall"
	"time"
)

// isStale tells whether a pooled connection must not be used: the upstream has closed it, or has sent
// bytes that nobody asked for. It looks without taking anything from the connection.
func isStale(conn net.Conn, lastUse time.Time) bool {
	if lastUse.IsZero() {
		return false // just dialled
	}
	sys, ok := counterOf(conn).Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return true
	}
	stale := true
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		stale = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return stale || err != nil
}
