package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"time"

	"replygate/http1"
)

// writerSize is the size of a connection's writer in bytes. It must be less than MaxUnsent.
const writerSize = 8 << 10

// conn is a pooled connection. It counts the bytes that were written, so that a failed request is
// known to have gone out or not, and gives every read and write a deadline.
type conn struct {
	net.Conn // under TLS, if there is any
	u        *Upstream
	outer    net.Conn      // TLS over this connection, or the connection itself
	br       *bufio.Reader // of outer
	bw       *bufio.Writer // of outer
	lastUse  time.Time     // zero: it was just dialled
	reads    http1.LazyDeadline
	writes   http1.LazyDeadline
	probe

	// Of the request that is sent.
	by      time.Time
	written int64         // bytes
	timeout time.Duration // of one write; zero during the TLS handshake, which has a deadline of its own
	slack   time.Duration // that a deadline may be late
}

// newConn returns the connection over raw, with TLS if it is configured. raw is closed on errors.
func newConn(ctx context.Context, u *Upstream, raw net.Conn, tlsConfig *tls.Config) (*conn, error) {
	c := &conn{Conn: raw, u: u}
	c.probe.init(c)
	c.outer = c
	if tlsConfig != nil {
		t := tls.Client(c, tlsConfig)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		c.outer = t
	}
	c.br, c.bw = bufio.NewReaderSize(c.outer, http1.MaxHead), bufio.NewWriterSize(c.outer, writerSize)
	return c, nil
}

// begin makes the connection ready for a request.
func (c *conn) begin(by time.Time) error {
	c.by, c.written, c.timeout, c.slack = by, 0, c.u.within(by), 0
	if by.IsZero() {
		c.slack = c.u.timeout / 8
	}
	return c.awaitRead()
}

// awaitRead gives the next read its deadline.
func (c *conn) awaitRead() error { return c.SetReadDeadline(time.Now().Add(c.u.within(c.by))) }

// write writes the request. Every write has a deadline of its own, so that a long upload may take
// long while it moves. The wait for the answer begins after it.
func (c *conn) write(r *Request) error {
	if err := r.writeTo(c.bw); err != nil {
		return err // what is still in the buffer stays there: half a request helps nobody
	}
	if err := c.bw.Flush(); err != nil {
		return err
	}
	return c.awaitRead()
}

// SetReadDeadline sets the deadline of reads, unless the one before is late enough.
func (c *conn) SetReadDeadline(t time.Time) error {
	at, set := c.reads.Renew(t, c.slack)
	if !set {
		return nil
	}
	err := c.Conn.SetReadDeadline(at)
	if c.u.pool.aborted.Load() { // read afterwards, so that an abort meanwhile is not undone
		err = c.Conn.SetReadDeadline(past)
	}
	return err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.timeout > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(p)
	c.written += int64(n)
	return n, err
}

// SetWriteDeadline sets the deadline of writes, unless the one before is late enough.
func (c *conn) SetWriteDeadline(t time.Time) error {
	at, set := c.writes.Renew(t, c.slack)
	if !set {
		return nil
	}
	err := c.Conn.SetWriteDeadline(at)
	if c.u.pool.aborted.Load() {
		err = c.Conn.SetWriteDeadline(past)
	}
	return err
}
