package upstream

import (
	"cmp"
	"syscall"
)

// probe looks whether an idle connection is stale, without taking anything from it: the server has
// closed it, or has sent bytes that nobody asked for. Its functions are made once, since a closure
// for each request would be garbage.
type probe struct {
	raw   syscall.RawConn // nil: the connection cannot be probed
	look  func(fd uintptr)
	stale bool // what look has found

	step    func(fd uintptr) (done bool)
	pending *Request // that step has to write
	err     error    // of step
}

// init prepares for probing a new connection.
func (p *probe) init(c *conn) {
	if sys, ok := c.Conn.(syscall.Conn); ok {
		if raw, err := sys.SyscallConn(); err == nil {
			p.raw, p.step = raw, c.writeStep
			p.look = func(fd uintptr) { p.stale = readable(fd) }
		}
	}
}

// send writes the request, or returns errStale. A connection that was just dialled is not probed:
// a server may have sent session tickets of TLS already, which the first read takes.
func (c *conn) send(r *Request) error {
	switch {
	case c.lastUse.IsZero() || c.raw == nil:
		return c.write(r)
	case r.Stream == nil:
		return c.writeAndWait(r)
	case c.isStale():
		return errStale
	}
	return c.write(r)
}

func (c *conn) isStale() bool { return c.raw.Control(c.look) != nil || c.stale }

// writeAndWait probes the connection, writes the request and waits until the answer begins, in one
// step of the runtime's poller. That saves the read that would follow the write and find nothing
// (decision 14). It holds the descriptor's lock for reading, so the body must be in memory.
func (c *conn) writeAndWait(r *Request) error {
	c.pending, c.err = r, nil
	err := c.raw.Read(c.step)
	return cmp.Or(c.err, err)
}

// writeStep is called once to probe and write, and again when there is something to read.
func (c *conn) writeStep(fd uintptr) (done bool) {
	r := c.pending
	if r == nil {
		return true
	}
	c.pending = nil
	if c.err = errStale; !readable(fd) {
		c.err = c.write(r)
	}
	return c.err != nil
}

// readable reports whether there is a byte, an end or an error to read.
func readable(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN && err != syscall.EINTR
}
