package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/http1"
)

// Upstream is WeCom as the gateway reaches it: one host, a pool of connections, one attempt a call.
type Upstream struct {
	client  *fasthttp.HostClient
	host    string // for the Host header
	timeout time.Duration

	mu    sync.Mutex
	open  map[*countingConn]struct{}
	ended atomic.Bool
}

// errNotSent says that not one byte of the call went upstream.
var errNotSent = errors.New("upstream unreachable, nothing was sent")

// errDropped says that the call was not sent since nobody wanted it any longer. It is errNotSent,
// too.
var errDropped = fmt.Errorf("dropped: %w", errNotSent)

// NewUpstream prepares for the host of the configuration; it does not connect yet.
func NewUpstream(c config.Upstream) (*Upstream, error) {
	parsed, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream.url: %w", err)
	}
	port := parsed.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	}
	u := &Upstream{host: parsed.Host, timeout: c.Timeout, open: map[*countingConn]struct{}{}}
	connect, err := newDial(c.Proxy, min(c.Timeout, 10*time.Second))
	if err != nil {
		return nil, err
	}
	client := &fasthttp.HostClient{
		Addr:                net.JoinHostPort(parsed.Hostname(), port),
		IsTLS:               parsed.Scheme == "https",
		MaxConns:            4096,
		MaxIdleConnDuration: 30 * time.Second,
		ReadBufferSize:      http1.MaxHead,
		WriteBufferSize:     8 << 10,
		DialTimeout: func(addr string, timeout time.Duration) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			c, err := connect(ctx, addr)
			if err != nil {
				return nil, err
			}
			return u.watch(c)
		},
	}
	u.client = client
	if client.IsTLS {
		pool, err := config.CertPool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("upstream.ca_file: %w", err)
		}
		client.TLSConfig = &tls.Config{ServerName: parsed.Hostname(), MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	return u, nil
}

// watch counts what goes out on a new connection, and remembers it until it is closed.
func (u *Upstream) watch(c net.Conn) (net.Conn, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended.Load() {
		c.Close()
		return nil, os.ErrDeadlineExceeded
	}
	conn := &countingConn{Conn: c, of: u}
	conn.look()
	u.open[conn] = struct{}{}
	return conn, nil
}

// Abort ends every wait for an answer at once, as a timeout: the gateway stops.
func (u *Upstream) Abort() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended.Store(true)
	for conn := range u.open {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
}

// Close drops the idle connections.
func (u *Upstream) Close() { u.client.CloseIdleConnections() }

// answer is what came back: its head is read, the body may still stream.
type answer struct {
	body *answerBody // nil: there is none
}

// Do sends one call and reads the head of its answer into resp. It goes out at most once: an idle
// connection that the upstream has closed is found out before the first byte is written, and only a
// call of which not one byte was written is tried again. An error that is not errNotSent leaves the
// outcome open.
//
// Each step may take the upstream's timeout, or an eighth longer; by, unless zero, is when the
// whole must be over, the body included.
func (u *Upstream) Do(o *outgoing, resp *fasthttp.Response, by time.Time) (answer, error) {
	for range 2 {
		a, err := u.attempt(o, resp, by)
		if !errors.Is(err, errNotSent) || errors.Is(err, errDial) || errors.Is(err, errDropped) || !o.stream.again() {
			return a, err
		}
	}
	return u.attempt(o, resp, by)
}

// within is how long the next step may take; at least a millisecond, since none at all means for
// ever.
func (u *Upstream) within(by time.Time) time.Duration {
	if by.IsZero() {
		return u.timeout
	}
	return max(min(u.timeout, time.Until(by)), time.Millisecond)
}

var errDial = errors.New("cannot connect")

func (u *Upstream) attempt(o *outgoing, resp *fasthttp.Response, by time.Time) (answer, error) {
	for {
		cc, err := u.client.AcquireConn(u.within(by), false)
		if err != nil {
			return answer{}, fmt.Errorf("%w: %w: %w", errNotSent, errDial, err)
		}
		conn := counterOf(cc.Conn())
		if conn.giveBack == nil { // made once: the pool knows a connection by what it is wrapped in
			conn.outer = cc.Conn()
			conn.giveBack = func(clean bool) {
				if clean {
					u.client.ReleaseConn(cc)
				} else {
					u.client.CloseConn(cc)
				}
			}
		}
		a, err := u.exchange(conn, cc.LastUseTime(), o, resp, by)
		if !errors.Is(err, errStale) {
			return a, err
		}
	}
}

// errStale says that a pooled connection must not be used: the upstream has closed it, or has sent
// bytes that nobody asked for.
var errStale = errors.New("the upstream closed the connection meanwhile")

// apiRequest sends a request over a connection that was used before at lastUse, unless that is zero,
// and reads the head of its answer.
func (u *Upstream) exchange(conn *countingConn, lastUse time.Time, o *outgoing, resp *fasthttp.Response, by time.Time) (answer, error) {
	if o.dropped != nil && o.dropped() {
		conn.giveBack(true)
		return answer{}, errDropped
	}
	err := conn.begin(o, by)
	if err == nil {
		err = conn.turn(lastUse)
	}
	var body *answerBody
	if err == nil {
		body, err = u.readAnswer(conn.outer, resp, by)
	}
	if err != nil {
		conn.giveBack(false)
		if conn.written == 0 {
			err = fmt.Errorf("%w: %w", errNotSent, err)
		}
		return answer{}, err
	}
	if resp.SkipBody = o.head.IsHead() || !mayHaveBody(resp.StatusCode()); resp.SkipBody {
		body.release(true)
		return answer{}, nil
	}
	return answer{body: body}, nil
}

// readAnswer reads the head of an answer.
func (u *Upstream) readAnswer(conn net.Conn, resp *fasthttp.Response, by time.Time) (*answerBody, error) {
	br := u.client.AcquireReader(conn)
	if err := readHead(br, resp); err != nil {
		u.client.ReleaseReader(br)
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	body := &answerBody{u: u, conn: conn, br: br, by: by, length: resp.Header.ContentLength(), ends: resp.ConnectionClose()}
	body.open()
	return body, nil
}

// readHead reads the head of an answer, once it is known to have one reading alone.
func readHead(br *bufio.Reader, resp *fasthttp.Response) error {
	if err := http1.CheckResponse(br); err != nil {
		return err
	}
	return resp.Header.Read(br)
}

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

// answerBody streams the body of an answer and gives the connection back at its end.
type answerBody struct {
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

// open begins the body, of which length tells the end. One that ends early is io.ErrUnexpectedEOF.
func (b *answerBody) open() {
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

// peek returns the whole body if it is short, without copying it: it is good until the body is
// closed. ok is false for any other.
func (b *answerBody) peek(most int) (body []byte, ok bool, err error) {
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

func (b *answerBody) Read(p []byte) (int, error) {
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
func (b *answerBody) Close() error {
	if !b.closed {
		b.release(b.whole && b.length != -2)
	}
	return nil
}

// release gives the connection back, to the pool if it is clean.
func (b *answerBody) release(clean bool) {
	b.closed = true
	clean = clean && !b.ends && b.br.Buffered() == 0
	b.u.client.ReleaseReader(b.br)
	counterOf(b.conn).giveBack(clean)
}

// countingConn counts what was written, so that a failed call is known to have gone out or not, and
// gives every write a deadline.
type countingConn struct {
	net.Conn
	of      *Upstream
	outer   net.Conn      // what a call is written to and its answer read from: this, or TLS over it
	call    *outgoing     // what is to be sent
	by      time.Time     // of that call
	written int64         // of that call
	timeout time.Duration // of one write
	slack   time.Duration // that a step may take longer
	reads   http1.LazyDeadline
	writes  http1.LazyDeadline

	giveBack func(clean bool) // to the pool if it is clean, else it is closed
	sight
}

// start makes a connection ready for a call.
func (c *countingConn) begin(o *outgoing, by time.Time) error {
	c.call, c.by, c.written, c.timeout, c.slack = o, by, 0, c.of.within(by), 0
	if by.IsZero() {
		c.slack = c.of.timeout / 8
	}
	return c.SetReadDeadline(time.Now().Add(c.timeout))
}

// send writes the call; every write has a deadline of its own, so that a long upload may take long
// while it moves. The wait for the answer begins behind it.
func (c *countingConn) send() error {
	bw := c.of.client.AcquireWriter(c.outer) // its buffer is smaller than maxAgain
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
func (c *countingConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SetReadDeadline keeps to an Abort.
func (c *countingConn) SetReadDeadline(t time.Time) error {
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

func (c *countingConn) Write(p []byte) (int, error) {
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

func counterOf(conn net.Conn) *countingConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return conn.(*countingConn)
}
