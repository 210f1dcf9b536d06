package upstream

import (
	"crypto/tls"
	"net"
	"time"

	"replygate/http1"
)

// conn counts what was written, so that a failed call is known to have gone out or not, and
// gives every write a deadline.
type conn struct {
	net.Conn
	of      *Upstream
	outer   net.Conn      // what a call is written to and its answer read from: this, or TLS over it
	call    *Request      // what is to be sent
	by      time.Time     // of that call
	written int64         // of that call
	timeout time.Duration // of one write
	slack   time.Duration // that a step may take longer
	reads   http1.LazyDeadline
	writes  http1.LazyDeadline

	release func(clean bool) // to the pool if it is clean, else it is closed
	probe
}

// start makes a connection ready for a call.
func (c *conn) begin(o *Request, by time.Time) error {
	c.call, c.by, c.written, c.timeout, c.slack = o, by, 0, c.of.within(by), 0
	if by.IsZero() {
		c.slack = c.of.timeout / 8
	}
	return c.SetReadDeadline(time.Now().Add(c.timeout))
}

// send writes the call; every write has a deadline of its own, so that a long upload may take long
// while it moves. The wait for the answer begins behind it.
func (c *conn) send() error {
	bw := c.of.client.AcquireWriter(c.outer) // its buffer is smaller than MaxUnsent
	defer c.of.client.ReleaseWriter(bw)
	call := c.call
	c.call = nil // an idle connection keeps no body
	if err := call.writeTo(bw); err != nil {
		return err // what is still in the buffer stays there: half a call helps nobody
	}
	if err := bw.Flush(); err != nil {
		return err
	}
	return c.SetReadDeadline(time.Now().Add(c.of.within(c.by)))
}

// Close forgets the connection.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SetReadDeadline keeps to an Abort.
func (c *conn) SetReadDeadline(t time.Time) error {
	at, set := c.reads.Renew(t, c.slack)
	if !set {
		return nil
	}
	err := c.Conn.SetReadDeadline(at)
	if c.of.ended.Load() { // looked at afterwards: an Abort meanwhile is not undone
		err = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
	return err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.timeout > 0 { // zero while it greets: TLS has a timeout of its own
		if at, set := c.writes.Renew(time.Now().Add(c.timeout), c.slack); set {
			if err := c.Conn.SetWriteDeadline(at); err != nil {
				return 0, err
			}
		}
	}
	n, err := c.Conn.Write(p)
	c.written += int64(n)
	return n, err
}

func counterOf(c net.Conn) *conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*conn)
}
