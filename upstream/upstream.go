// Package upstream sends requests to one HTTP/1.1 server, WeCom or a bot, over a pool of
// connections, directly or through an HTTP proxy, and streams the answers.
//
// It sends a request at most once, does not follow redirects, and does not know what a request
// means.
package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/http1"
)

// Upstream is one server with a pool of connections to it. Its methods may be called concurrently.
type Upstream struct {
	host    string // for the Host header
	timeout time.Duration
	pool    *pool
}

var (
	// ErrNotSent reports that not one byte of the request was sent.
	ErrNotSent = errors.New("upstream unreachable, nothing was sent")

	// ErrDropped reports that Request.Dropped returned true. It is an ErrNotSent, too.
	ErrDropped = fmt.Errorf("dropped: %w", ErrNotSent)

	// ErrTooManyConns reports that all connections that the pool may have are in use. Do returns it
	// as an ErrNotSent.
	ErrTooManyConns = errors.New("all connections that the pool may have are in use")

	// errDial is an ErrNotSent of a request for which there is no connection.
	errDial = errors.New("cannot connect")

	// errStale reports that the server has closed a pooled connection, or has sent bytes that
	// nobody asked for. Another one is taken.
	errStale = errors.New("the upstream closed the connection meanwhile")
)

// maxConnect bounds the time that a connection takes to open, TLS and a proxy included.
const maxConnect = 10 * time.Second

// New returns the upstream of a configuration, which was checked. It does not connect yet.
func New(c config.Upstream) (*Upstream, error) {
	parsed, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream.url: %w", err)
	}
	port := parsed.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	}
	address := net.JoinHostPort(parsed.Hostname(), port)
	connect, err := newDial(c.Proxy)
	if err != nil {
		return nil, err
	}
	var tlsConfig *tls.Config
	if parsed.Scheme == "https" {
		roots, err := config.CertPool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("upstream.ca_file: %w", err)
		}
		tlsConfig = &tls.Config{
			ServerName: parsed.Hostname(), MinVersion: tls.VersionTLS12, RootCAs: roots,
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		}
	}
	u := &Upstream{host: parsed.Host, timeout: c.Timeout}
	u.pool = newPool(func(ctx context.Context) (*conn, error) {
		raw, err := connect(ctx, address)
		if err != nil {
			return nil, err
		}
		return newConn(ctx, u, raw, tlsConfig)
	})
	return u, nil
}

// Host is the host of the configuration, for the Host header.
func (u *Upstream) Host() string { return u.host }

// Abort ends every wait for the server at once, now and later, as a timeout: the gateway stops.
func (u *Upstream) Abort() { u.pool.abort() }

// Close closes the idle connections. Requests may still be sent.
func (u *Upstream) Close() { u.pool.closeIdle() }

// maxTries is how often a request is tried of which not one byte could be written.
const maxTries = 3

// Do sends one request and reads the head of the answer into resp. The body is nil if the answer
// has none; else the caller must close it.
//
// A request is sent at most once: a pooled connection that the server has closed is found before
// the first byte is written, and only a request of which not one byte was written is tried again.
// After an error that is not ErrNotSent, the server may have taken the request.
//
// Each step (connecting, each write, each wait for bytes of the answer) may take the upstream's
// timeout, or an eighth longer. by, unless zero, is when all of it must be over, the body included.
func (u *Upstream) Do(r *Request, resp *fasthttp.Response, by time.Time) (*Body, error) {
	for try := 1; ; try++ {
		body, err := u.attempt(r, resp, by)
		again := errors.Is(err, ErrNotSent) && !errors.Is(err, errDial) && !errors.Is(err, ErrDropped)
		if !again || try == maxTries || !r.rewind() {
			return body, err
		}
	}
}

// within is how long the next step may take. It is at least a millisecond: zero would mean no
// limit.
func (u *Upstream) within(by time.Time) time.Duration {
	if by.IsZero() {
		return u.timeout
	}
	return max(min(u.timeout, time.Until(by)), time.Millisecond)
}

// attempt sends the request over the first connection of the pool that is not stale.
func (u *Upstream) attempt(r *Request, resp *fasthttp.Response, by time.Time) (*Body, error) {
	for {
		c, err := u.pool.get(min(u.within(by), maxConnect))
		if err != nil {
			return nil, fmt.Errorf("%w: %w: %w", ErrNotSent, errDial, err)
		}
		body, err := u.exchange(c, r, resp, by)
		if !errors.Is(err, errStale) {
			return body, err
		}
	}
}

// exchange sends the request over c and reads the head of the answer. It gives c back, unless the
// body will.
func (u *Upstream) exchange(c *conn, r *Request, resp *fasthttp.Response, by time.Time) (*Body, error) {
	if r.Dropped != nil && r.Dropped() {
		u.pool.put(c)
		return nil, ErrDropped
	}
	err := c.begin(by)
	if err == nil {
		err = c.send(r)
	}
	if err == nil {
		err = readHead(c.br, resp)
	}
	if err != nil {
		sent := c.written > 0 // before discard, which tells TLS of the end
		u.pool.discard(c)
		if !sent {
			err = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return nil, err
	}
	body := newBody(c, resp)
	if resp.SkipBody = r.Head.IsHead() || !mayHaveBody(resp.StatusCode()); resp.SkipBody {
		body.release(true)
		return nil, nil
	}
	return body, nil
}

// readHead reads the head of an answer, after a check that it has one reading alone.
func readHead(br *bufio.Reader, resp *fasthttp.Response) error {
	err := http1.CheckResponse(br)
	if err == nil {
		err = resp.Header.Read(br)
	}
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}
