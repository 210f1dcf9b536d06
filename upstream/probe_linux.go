package upstream

import (
	"syscall"
	"time"
)

// probe is how a connection is looked at, without taking anything from it. It is kept with its
// connection, since it is asked for before every call.
type probe struct {
	raw  syscall.RawConn // nil: there is no looking
	step func(fd uintptr) (over bool)
	sent bool
	err  error
}

// look prepares for turns on a new connection.
func (c *conn) look() {
	if sys, ok := c.Conn.(syscall.Conn); ok {
		if raw, err := sys.SyscallConn(); err == nil {
			c.raw, c.step = raw, c.takeStep
		}
	}
}

// turn sends a call, unless the connection is stale, and waits until its answer begins. To wait at
// once saves a read that can find nothing yet. It must have begun before the call is written, or it
// could miss the answer: hence the one wait around all.
func (c *conn) roundTrip(lastUse time.Time) error {
	if lastUse.IsZero() || c.raw == nil { // just dialled: TLS may still have to greet, which reads
		return c.send()
	}
	c.sent, c.err = false, nil
	err := c.raw.Read(c.step)
	if c.err != nil {
		return c.err
	}
	return err
}

// takeStep looks at the connection and sends the call; asked again, there is something to read.
func (c *conn) takeStep(fd uintptr) (over bool) {
	if c.sent {
		return true
	}
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if err != syscall.EAGAIN && err != syscall.EINTR {
		c.err = errStale
		return true
	}
	c.sent, c.err = true, c.send()
	return c.err != nil
}
