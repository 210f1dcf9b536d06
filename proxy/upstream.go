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

// headBytes bounds the head of a request or an answer.
const headBytes = 32 << 10

// errNotSent says that not one byte of the call went upstream.
var errNotSent = errors.New("upstream unreachable, nothing was sent")

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
		ReadBufferSize:      headBytes,
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

// answer is what came back: the head is read, the body may still stream.
type answer struct {
	resp *fasthttp.Response
	body *answerBody // nil: there is none
}

// Do sends one call and reads the head of its answer. It goes out at most once: an idle connection that
// the upstream has closed is found out before the first byte is written, and only a call of which not
// one byte was written is tried again. An error that is not errNotSent leaves the outcome open.
//
// Each step may take the upstream's timeout; by, unless zero, is when the whole must be over, the body
// included.
func (u *Upstream) Do(req *fasthttp.Request, resp *fasthttp.Response, by time.Time) (answer, error) {
	var body *clientBody
	if req.IsBodyStream() { // asked now: fasthttp lets go of a stream that failed, and the call would go out without its body
		body = req.BodyStream().(*clientBody)
	}
	for range 2 {
		a, err := u.attempt(req, resp, by)
		if !errors.Is(err, errNotSent) || errors.Is(err, errDial) || !body.again(req) {
			return a, err
		}
	}
	return u.attempt(req, resp, by)
}

// within is how long the next step may take; at least a millisecond, since none at all means for ever.
func (u *Upstream) within(by time.Time) time.Duration {
	if by.IsZero() {
		return u.timeout
	}
	return max(min(u.timeout, time.Until(by)), time.Millisecond)
}

var errDial = errors.New("cannot connect")

func (u *Upstream) attempt(req *fasthttp.Request, resp *fasthttp.Response, by time.Time) (answer, error) {
	cc, err := u.client.AcquireConn(u.within(by), false)
	for err == nil && isStale(cc.Conn(), cc.LastUseTime()) {
		u.client.CloseConn(cc)
		cc, err = u.client.AcquireConn(u.within(by), false)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w: %w", errNotSent, errDial, err)
	}
	conn := cc.Conn()
	counter := counterOf(conn)
	counter.written = 0
	drop := func(err error) (answer, error) {
		u.client.CloseConn(cc)
		if counter.written == 0 {
			return answer{}, fmt.Errorf("%w: %w", errNotSent, err)
		}
		return answer{}, err
	}
	if err := u.send(conn, req, u.within(by)); err != nil {
		return drop(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(u.within(by))); err != nil {
		return drop(err)
	}
	br := u.client.AcquireReader(conn)
	if err := readHead(br, resp); err != nil {
		u.client.ReleaseReader(br)
		return drop(fmt.Errorf("reading the answer: %w", err))
	}
	done := func(clean bool) {
		clean = clean && !resp.ConnectionClose() && br.Buffered() == 0
		u.client.ReleaseReader(br)
		if clean {
			u.client.ReleaseConn(cc)
		} else {
			u.client.CloseConn(cc)
		}
	}
	if resp.SkipBody = req.Header.IsHead() || !mayHaveBody(resp.StatusCode()); resp.SkipBody {
		done(true)
		return answer{resp: resp}, nil
	}
	length := resp.Header.ContentLength()
	body := &answerBody{stream: newBody(br, length), conn: conn, within: func() time.Duration { return u.within(by) }, done: done, length: length}
	return answer{resp: resp, body: body}, nil
}

// readHead reads the head of an answer, once it is known to have one reading alone.
func readHead(br *bufio.Reader, resp *fasthttp.Response) error {
	if err := checkAnswer(br); err != nil {
		return err
	}
	return resp.Header.Read(br)
}

func mayHaveBody(status int) bool {
	return status != fasthttp.StatusNoContent && status != fasthttp.StatusNotModified
}

// newBody reads a body from br to its end, which length tells as fasthttp has it. A body that ends early
// is io.ErrUnexpectedEOF.
func newBody(br *bufio.Reader, length int) io.Reader {
	switch {
	case length >= 0:
		return &exactly{br: br, left: length}
	case length == -1:
		return &chunks{br: br, data: httputil.NewChunkedReader(br)}
	}
	return br
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

// send writes the request; every write has a deadline of its own, so that a long upload may take long
// while it moves.
func (u *Upstream) send(conn net.Conn, req *fasthttp.Request, timeout time.Duration) error {
	bw := u.client.AcquireWriter(rollingWriter{conn, timeout}) // its buffer is smaller than maxAgain
	defer u.client.ReleaseWriter(bw)
	if err := req.Write(bw); err != nil {
		return err // what is still in the buffer stays there: half a call helps nobody
	}
	return bw.Flush()
}

// answerBody streams the body of an answer and gives the connection back at its end.
type answerBody struct {
	stream io.Reader
	conn   net.Conn
	within func() time.Duration // how long one read may take
	length int                  // as fasthttp has it: -1 chunked, -2 until the connection ends
	whole  bool
	done   func(clean bool)
}

func (b *answerBody) Read(p []byte) (int, error) {
	if err := b.conn.SetReadDeadline(time.Now().Add(b.within())); err != nil {
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
	if b.done != nil {
		b.done(b.whole && b.length != -2)
		b.done = nil
	}
	return nil
}

// rollingWriter is a connection of which every write has a deadline.
type rollingWriter struct {
	net.Conn
	timeout time.Duration
}

func (w rollingWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// countingConn counts what was written, so that a failed call is known to have gone out or not.
type countingConn struct {
	net.Conn
	of      *Upstream
	written int64
}

// Close forgets the connection.
func (c *countingConn) Close() error {
	if c.of != nil {
		c.of.mu.Lock()
		delete(c.of.open, c)
		c.of.mu.Unlock()
	}
	return c.Conn.Close()
}

// SetReadDeadline keeps to an Abort.
func (c *countingConn) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	if c.of != nil && c.of.ended.Load() { // looked at afterwards: an Abort meanwhile is not undone
		err = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
	return err
}

func (c *countingConn) Write(p []byte) (int, error) {
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
