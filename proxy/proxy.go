// Package proxy is the two HTTP faces between bots and WeCom: it reads a call of a bot, has it
// judged, and forwards it or answers it; and it reads a callback of WeCom, records it, and forwards
// it to the bot.
//
// It does not judge (package policy), does not know what a path means (package wecom), and keeps no
// state of its own (packages window and account).
package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/account"
	"replygate/calls"
	"replygate/contacts"
	"replygate/gate"
	"replygate/http1"
	"replygate/record"
	"replygate/trace"
	"replygate/upstream"
	"replygate/wecom"
	"replygate/window"
)

const (
	headTimeout  = 15 * time.Second // for a request's head
	bodyTimeout  = 30 * time.Second // for a judged body, whole
	idleTimeout  = 75 * time.Second
	writeTimeout = 30 * time.Second // for one write to the client
	clientSlack  = 2 * time.Second  // that any of them may take longer
	smallAnswer  = 64 << 10         // an answer up to this size is read whole before it goes on
)

// Gateway serves the api and the callback listener.
type Gateway struct {
	Tokens    *account.Tokens
	Windows   *window.Store
	Upstream  *upstream.Upstream
	Bypass    *Bypass
	Contacts  *contacts.Observer // nil: what tells of contacts is not looked at
	Metrics   *Metrics
	Access    *record.Log // one record a request
	Decisions *record.Log // one record a judged call that goes on
	Refusals  *record.Log // one record a judged call that does not
	Log       *record.RateLimited
	Calls     *calls.Counters // of all calls, for rehearsals; nil: they are not counted
	Traces    *trace.Tracer   // nil: no call is traced
	Now       func() time.Time
	Draining  func() bool // the gateway stops: connections end after their answers

	// Observer looks at replies after their answers. nil: nobody does.
	Observer *Observer
	// Pulled is called for each call of kf/sync_msg by a bot of a known corp that WeCom answered, or
	// limited. free: it had the token of a callback. nil: nobody asks.
	Pulled func(corp string, at time.Time, free, limited bool)

	// RedisAnswers reports whether Redis answered the last command, without sending one. nil: it
	// always does.
	RedisAnswers func() bool

	current      atomic.Pointer[Settings]
	yielder      yielder
	skew         skew
	unattributed lastDay // calls that were attributed only because one account is configured
	waiters      waiters
	callers      callerCache // of calls that are only counted
}

// Settings are what a configuration says that a running gateway can change. A request keeps to
// those that were in force when it came.
type Settings struct {
	Gate      gate.Gate
	Receivers Receivers
}

// Use puts settings in force for requests from now on; it must be called before the first. Idle
// connections to the bots of those before are dropped.
func (g *Gateway) Use(s *Settings) {
	g.yielder.adjust(runtime.GOMAXPROCS(0))
	if old := g.current.Swap(s); old != nil {
		old.Receivers.Close()
	}
}

// Current returns the settings in force.
func (g *Gateway) Current() *Settings { return g.current.Load() }

// APIServer returns the server of the api listener.
func (g *Gateway) APIServer() *fasthttp.Server {
	return g.server(g.ServeAPI, g.serveLibraryError, bodyTimeout, int(g.Current().Gate.Config.Limits.StreamedBody))
}

// CallbackServer returns the server of the callback listener.
func (g *Gateway) CallbackServer() *fasthttp.Server {
	return g.server(g.ServeCallback, g.serveCallbackError, callbackTime, callbackBody)
}

// server has bounds on everything that a client sends.
func (g *Gateway) server(handler fasthttp.RequestHandler, onError func(*fasthttp.RequestCtx, error), bodyTime time.Duration, maxBody int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:      handler,
		ErrorHandler: onError,
		HeaderReceived: func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
			if !h.IsHTTP11() {
				h.Del("Expect") // HTTP/1.0 has no interim answers (RFC 9110, 10.1.1)
			}
			return fasthttp.RequestConfig{ReadTimeout: bodyTime}
		},
		ConnState:                    g.watchLines,
		ReadTimeout:                  headTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               http1.MaxHead,
		MaxRequestBodySize:           maxBody,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		NoDefaultDate:                true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		Concurrency:                  2 * maxConns, // the listener is the bound: a worker ends after its connection
		ReduceMemoryUsage:            true,
		LazyRequestTime:              true,
		Logger:                       discard{},
	}
}

// clientConn is a client's connection: every write has a deadline, and the ends of request lines
// are noted.
type clientConn struct {
	net.Conn
	listener *listener // that counts it; nil: none does
	closed   atomic.Bool
	line     http1.RequestLineScanner
	failed   error     // of a read: why nothing more comes
	readBy   time.Time // the pending deadline of reads, which the next Read applies
	drains   bool      // Close reads what the client still sends, so that no reset takes the answer from it
	reads    http1.LazyDeadline
	writes   http1.LazyDeadline
}

// watchLines marks on a connection where its requests begin and end.
func (g *Gateway) watchLines(c net.Conn, state fasthttp.ConnState) {
	conn, ok := c.(*clientConn)
	switch {
	case !ok:
	case state == fasthttp.StateActive:
		conn.line.RequestBegan()
	case state == fasthttp.StateIdle:
		conn.line.RequestEnded()
		g.yielder.yieldIfBusy()
	}
}

// SetReadDeadline is for the next read; most deadlines of the server library are over before there
// is one.
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return nil
}

func (c *clientConn) Read(p []byte) (int, error) {
	if at, set := c.reads.Renew(c.readBy, clientSlack); set {
		if err := c.Conn.SetReadDeadline(at); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.line.Read(p[:n])
	if err != nil {
		c.failed = err
	}
	return n, err
}

// reset ends the connection so that the client sees it break off: an ordinary end, also that of
// TLS, would pass for the end of the answer.
func (c *clientConn) reset() {
	conn := c.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Bounds on what is read of a client whose request was answered before all of it came.
const (
	drainTime  = 5 * time.Second
	drainBytes = 64 << 20
)

// Close drains the connection first if the client may still be sending: bytes that nobody read
// would reset it, and the answer could be lost on its way.
func (c *clientConn) Close() error {
	defer c.uncount()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.drains && half.CloseWrite() == nil {
		if c.Conn.SetReadDeadline(time.Now().Add(drainTime)) == nil {
			_, _ = io.CopyN(io.Discard, c.Conn, drainBytes)
		}
	}
	return c.Conn.Close()
}

// uncount tells the listener that the connection is closed.
func (c *clientConn) uncount() {
	if c.listener != nil && !c.closed.Swap(true) {
		c.listener.open.Add(-1)
	}
}

func (c *clientConn) Write(p []byte) (int, error) {
	if at, set := c.writes.Renew(time.Now().Add(writeTimeout), clientSlack); set {
		if err := c.Conn.SetWriteDeadline(at); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// discard takes fasthttp's own log lines, which quote requests; the access record says what
// matters.
type discard struct{}

func (discard) Printf(string, ...any) {}

// ServeAPI carries one call of a bot.
func (g *Gateway) ServeAPI(rc *fasthttp.RequestCtx) {
	x := exchanges.Get().(*apiRequest)
	x.start(g, rc)
	x.startTrace()
	defer func() {
		x.finish()
		if x.untilClose != nil {
			x.sendUntilClose()
		}
		*x = apiRequest{request: request{space: x.space}}
		exchanges.Put(x)
	}()
	defer func() {
		if p := recover(); p != nil {
			g.Log.Panicked("BUG: a request panicked", p)
			x.errorKind, x.forwarded = gatewayFailed, true
			x.fail(fasthttp.StatusInternalServerError, wecom.CodeServerFault, "the gateway failed on this call; whether it was sent is unknown")
		}
	}()
	x.serve()
}

// exchanges are kept for other calls: nothing of one outlives its handler.
var exchanges = sync.Pool{New: func() any { return new(apiRequest) }}

// serveLibraryError answers, in WeCom's shape, what the server library of the api listener itself
// refuses.
func (g *Gateway) serveLibraryError(rc *fasthttp.RequestCtx, err error) {
	x := &apiRequest{}
	x.start(g, rc)
	x.unreadable(err)
	x.finish()
}
