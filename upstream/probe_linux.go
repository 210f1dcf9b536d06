package upstream

import "syscall"

// probe finds out, without taking anything from a connection, whether it is stale.
type probe struct {
	raw  syscall.RawConn // nil: the connection cannot be probed
	step func(fd uintptr) (over bool)
	sent bool
	err  error
}

// init prepares for probing a new connection.
func (p *probe) init(c *conn) {
	if sys, ok := c.Conn.(syscall.Conn); ok {
		if raw, err := sys.SyscallConn(); err == nil {
			p.raw, p.step = raw, c.takeStep
		}
	}
}

// roundTrip sends the call, unless the connection is stale, and waits until its answer begins. To
// wait at once saves a read that can find nothing yet. It must have begun before the call is
// written, or it could miss the answer: hence the one wait around all.
func (c *conn) roundTrip() error {
	if c.lastUse.IsZero() || c.raw == nil {
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
