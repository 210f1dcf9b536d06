package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http/httputil"
	"time"

	"github.com/valyala/fasthttp"
)

func mayHaveBody(status int) bool {
	return status != fasthttp.StatusNoContent && status != fasthttp.StatusNotModified
}

// exactly reads a body of known length.
type exactly struct {
	br   *bufio.Reader
	left int
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.br.Read(p[:min(len(p), e.left)])
	e.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunks reads a chunked body with the trailer behind it, which is dropped.
type chunks struct {
	br   *bufio.Reader
	data io.Reader
	end  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	n, err := c.data.Read(p)
	if err == io.EOF {
		err = c.skipTrailer()
	}
	c.end = err
	return n, err
}

// skipTrailer reads up to the empty line behind the last chunk.
func (c *chunks) skipTrailer() error {
	for range 64 {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return io.EOF
		}
	}
	return errors.New("the trailer has no end")
}

// Body streams the body of an answer and gives the connection back at its end.
type Body struct {
	u      *Upstream
	conn   net.Conn
	br     *bufio.Reader
	by     time.Time
	stream io.Reader
	exact  exactly // the stream, of a known length
	length int     // as fasthttp has it: -1 chunked, -2 until the connection ends
	whole  bool    // it was read to its end
	ends   bool    // the connection ends behind the answer
	closed bool
}

// Length is what the head of the answer says, as fasthttp has it: -1 chunked, -2 until the
// connection ends.
func (b *Body) Length() int { return b.length }

// Whole tells whether the body was read to the end that its framing says.
func (b *Body) Whole() bool { return b.whole }

// open begins the body, of which length tells the end. One that ends early is io.ErrUnexpectedEOF.
func (b *Body) open() {
	switch {
	case b.length >= 0:
		b.exact = exactly{br: b.br, left: b.length}
		b.stream = &b.exact
	case b.length == -1:
		b.stream = &chunks{br: b.br, data: httputil.NewChunkedReader(b.br)}
	default:
		b.stream = b.br
	}
}

// Peek returns the whole body if it is short, without copying it: it is good until the body is
// closed. ok is false for any other.
func (b *Body) Peek(most int) (body []byte, ok bool, err error) {
	if b.length < 0 || b.length > min(most, maxPeek) {
		return nil, false, nil
	}
	if b.br.Buffered() < b.length {
		if err := b.conn.SetReadDeadline(time.Now().Add(b.u.within(b.by))); err != nil {
			return nil, true, err
		}
	}
	body, err = b.br.Peek(b.length)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		_, err = b.br.Discard(b.length)
		b.whole = true
	}
	return body, true, err
}

// maxPeek bounds what is taken for a short body.
const maxPeek = 4 << 10

func (b *Body) Read(p []byte) (int, error) {
	if err := b.conn.SetReadDeadline(time.Now().Add(b.u.within(b.by))); err != nil {
		return 0, err
	}
	n, err := b.stream.Read(p)
	if err == io.EOF {
		b.whole = true
	}
	return n, err
}

// Close gives the connection back: to the pool if the body was read whole.
func (b *Body) Close() error {
	if !b.closed {
		b.giveUp(b.whole && b.length != -2)
	}
	return nil
}

// giveUp gives the connection back, to the pool if it is clean.
func (b *Body) giveUp(clean bool) {
	b.closed = true
	clean = clean && !b.ends && b.br.Buffered() == 0
	b.u.client.ReleaseReader(b.br)
	counterOf(b.conn).release(clean)
}
