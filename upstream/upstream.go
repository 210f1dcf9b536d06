// Package upstream sends requests to one HTTP/1.1 server, WeCom or a bot, over a pool of connections,
// directly or through a proxy, and streams the answers.
//
// It sends a request at most once, follows no redirect, and does not know what a request means.
package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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
	open  map[*conn]struct{}
	ended atomic.Bool
}

// ErrNotSent says that not one byte of the call went upstream.
var ErrNotSent = errors.New("upstream unreachable, nothing was sent")

// ErrDropped says that the call was not sent since nobody wanted it any longer. It is ErrNotSent,
// too.
var ErrDropped = fmt.Errorf("dropped: %w", ErrNotSent)

// Host is the host of the configuration, for the Host header.
func (u *Upstream) Host() string { return u.host }

// New prepares for the host of the configuration; it does not connect yet.
func New(c config.Upstream) (*Upstream, error) {
	parsed, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream.url: %w", err)
	}
	port := parsed.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	}
	u := &Upstream{host: parsed.Host, timeout: c.Timeout, open: map[*conn]struct{}{}}
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
	conn := &conn{Conn: c, of: u}
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
type Response struct {
	Body *Body // nil: there is none
}

// Close gives the connection back.
func (a Response) Close() { _ = a.Body.Close() }

// Do sends one call and reads the head of its answer into resp. It goes out at most once: an idle
// connection that the upstream has closed is found out before the first byte is written, and only a
// call of which not one byte was written is tried again. An error that is not ErrNotSent leaves the
// outcome open.
//
// Each step may take the upstream's timeout, or an eighth longer; by, unless zero, is when the
// whole must be over, the body included.
func (u *Upstream) Do(o *Request, resp *fasthttp.Response, by time.Time) (Response, error) {
	for range 2 {
		a, err := u.attempt(o, resp, by)
		if !errors.Is(err, ErrNotSent) || errors.Is(err, errDial) || errors.Is(err, ErrDropped) || !o.rewind() {
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

func (u *Upstream) attempt(o *Request, resp *fasthttp.Response, by time.Time) (Response, error) {
	for {
		cc, err := u.client.AcquireConn(u.within(by), false)
		if err != nil {
			return Response{}, fmt.Errorf("%w: %w: %w", ErrNotSent, errDial, err)
		}
		conn := counterOf(cc.Conn())
		if conn.release == nil { // made once: the pool knows a connection by what it is wrapped in
			conn.outer = cc.Conn()
			conn.release = func(clean bool) {
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

// exchange sends a request over a connection that was used before at lastUse, unless that is zero,
// and reads the head of its answer.
func (u *Upstream) exchange(conn *conn, lastUse time.Time, o *Request, resp *fasthttp.Response, by time.Time) (Response, error) {
	if o.Dropped != nil && o.Dropped() {
		conn.release(true)
		return Response{}, ErrDropped
	}
	err := conn.begin(o, by)
	if err == nil {
		err = conn.roundTrip(lastUse)
	}
	var body *Body
	if err == nil {
		body, err = u.readAnswer(conn.outer, resp, by)
	}
	if err != nil {
		conn.release(false)
		if conn.written == 0 {
			err = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return Response{}, err
	}
	if resp.SkipBody = o.Head.IsHead() || !mayHaveBody(resp.StatusCode()); resp.SkipBody {
		body.giveUp(true)
		return Response{}, nil
	}
	return Response{Body: body}, nil
}

// readAnswer reads the head of an answer.
func (u *Upstream) readAnswer(conn net.Conn, resp *fasthttp.Response, by time.Time) (*Body, error) {
	br := u.client.AcquireReader(conn)
	if err := readHead(br, resp); err != nil {
		u.client.ReleaseReader(br)
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	body := &Body{u: u, conn: conn, br: br, by: by, length: resp.Header.ContentLength(), ends: resp.ConnectionClose()}
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
