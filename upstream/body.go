package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"

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

// chunks reads a chunked body with its trailer, which is dropped.
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

// skipTrailer reads up to the empty line after the last chunk.
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

// Body streams the body of an answer. It must be closed, which gives the connection back.
type Body struct {
	c      *conn
	stream io.Reader
	exact  exactly // the stream, of a known length
	length int     // as fasthttp has it: -1 chunked, -2 until the connection ends
	whole  bool    // it was read to its end
	ends   bool    // the connection ends after the answer
	closed bool
}

// newBody returns the body that follows a head. One that ends early is io.ErrUnexpectedEOF.
func newBody(c *conn, resp *fasthttp.Response) *Body {
	b := &Body{c: c, length: resp.Header.ContentLength(), ends: resp.ConnectionClose()}
	switch {
	case b.length >= 0:
		b.exact = exactly{br: c.br, left: b.length}
		b.stream = &b.exact
	case b.length == -1:
		b.stream = &chunks{br: c.br, data: httputil.NewChunkedReader(c.br)}
	default:
		b.stream = c.br
	}
	return b
}

// Length is what the head of the answer says, as fasthttp has it: -1 chunked, -2 until the
// connection ends.
func (b *Body) Length() int { return b.length }

// Whole reports whether the body was read to the end that its framing says.
func (b *Body) Whole() bool { return b.whole }

// Peek returns the whole body if it is short, without copying it: it is good until the body is
// closed. ok is false for any other.
func (b *Body) Peek(most int) (body []byte, ok bool, err error) {
	if b.length < 0 || b.length > min(most, maxPeek) {
		return nil, false, nil
	}
	if b.c.br.Buffered() < b.length {
		if err := b.c.awaitRead(); err != nil {
			return nil, true, err
		}
	}
	body, err = b.c.br.Peek(b.length)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		_, err = b.c.br.Discard(b.length)
		b.whole = true
	}
	return body, true, err
}

// maxPeek bounds what is taken for a short body.
const maxPeek = 4 << 10

func (b *Body) Read(p []byte) (int, error) {
	if err := b.c.awaitRead(); err != nil {
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
		b.release(b.whole && b.length != -2)
	}
	return nil
}

// release gives the connection back: to the pool if it is clean.
func (b *Body) release(clean bool) {
	b.closed = true
	if clean && !b.ends && b.c.br.Buffered() == 0 {
		b.c.u.pool.put(b.c)
	} else {
		b.c.u.pool.discard(b.c)
	}
}
