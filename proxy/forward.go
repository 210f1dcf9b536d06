package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/trace"
	"replygate/upstream"
	"replygate/wecom"
	"replygate/window"
)

// stream forwards a call that no rule reads, as it came: unparsed, of any size.
func (x *apiRequest) stream() {
	if x.bodyRead {
		x.forwardRead()
		return
	}
	if n := x.rc.Request.Header.ContentLength(); n > 0 && n <= min(smallBody, int(x.gate.Config.Limits.StreamedBody)) {
		x.forwardShort()
		return
	}
	x.streamBody(x.rc.RequestBodyStream())
}

// forwardShort is stream for a short body: it comes whole, or is not sent at all.
func (x *apiRequest) forwardShort() {
	body, _, ok := x.readUpTo(smallBody)
	if !ok {
		return
	}
	if err := x.exchange(upstream.Request{Target: x.withQuery(x.path), Body: body}, x.inspectorFor()); err != nil {
		x.unreachable(err)
	}
}

// forwardRead is stream for a call whose body was read to find its corp. The body goes on as it
// came.
func (x *apiRequest) forwardRead() {
	switch {
	case x.more != nil:
		x.streamBody(x.more)
	case len(x.body) > int(x.gate.Config.Limits.StreamedBody):
		x.tooLarge(x.gate.Config.Limits.StreamedBody, nothingSent)
	default:
		if err := x.exchange(upstream.Request{Target: x.withQuery(x.path), Body: x.body}, x.inspectorFor()); err != nil {
			x.unreachable(err)
		}
	}
}

// streamBody forwards a body as it comes.
func (x *apiRequest) streamBody(from io.Reader) {
	length := x.rc.Request.Header.ContentLength()
	limit := x.gate.Config.Limits.StreamedBody
	if length > int(limit) {
		x.tooLarge(limit, nothingSent)
		return
	}
	var body *clientBody
	if from != nil && length != 0 {
		body = &clientBody{stream: from, conn: x.rc.Conn().(*clientConn), began: time.Now(), left: int64(limit), length: length}
	}
	read := x.inspectorFor()
	if read != nil || x.answersCustomer() {
		body.keepWhole()
	}
	o := upstream.Request{Target: x.withQuery(x.path)}
	if body != nil {
		o.Stream = body
	}
	if err := x.exchange(o, read); err != nil {
		x.streamFailed(body, err)
	}
}

// exchange sends a call out and hands the answer on. read, unless nil, sees it first.
func (x *apiRequest) exchange(o upstream.Request, read inspector) error {
	o.Identity = read != nil
	x.out = o
	a, err := x.send()
	switch {
	case err != nil:
		return err
	case read == nil:
		x.pass(a)
	default:
		x.passRead(a, read)
	}
	x.observe()
	return nil
}

// streamFailed answers a call that could not be streamed. It is no failure of WeCom if the client's
// body broke.
func (x *apiRequest) streamFailed(body *clientBody, err error) {
	x.closeAfter = body != nil && !body.ended // the client may still be sending
	if !body.broke() {
		x.unreachable(err)
		return
	}
	sent := "WeCom got the beginning of it, and no whole call"
	if errors.Is(err, upstream.ErrNotSent) {
		sent = nothingSent
	}
	if errors.Is(body.err, errStreamTooLarge) {
		x.tooLarge(x.gate.Config.Limits.StreamedBody, sent)
		return
	}
	x.bodyIncomplete(sent)
}

// reply forwards a judged call of which the body was read, and settles what was reserved for it.
func (x *apiRequest) reply(path, body []byte) {
	if rest := x.decision.Rest; len(rest) > 0 {
		trimmed, err := x.head.Route.Endpoint.TrimBody(body, rest)
		if err != nil {
			panic("BUG: a body that was judged cannot be trimmed: " + err.Error())
		}
		body = trimmed
	}
	read := x.inspectorFor()
	if read == nil {
		read = (*apiRequest).settleReply
	}
	if err := x.exchange(upstream.Request{Target: x.withQuery(path), Body: body}, read); err != nil {
		if errors.Is(err, upstream.ErrNotSent) {
			x.settle(window.Rejected)
		}
		x.unreachable(err)
	}
}

// send sends what is to go out and times it. The head of the answer is that of the client's from
// then on.
func (x *apiRequest) send() (*upstream.Body, error) {
	x.gw.yielder.yieldIfBusy()
	began := time.Now()
	x.out.Head, x.out.Host = &x.rc.Request.Header, x.gw.Upstream.Host()
	if x.endWait(); !x.wait.began.IsZero() {
		x.out.Dropped = func() bool { return x.peer() == peerGone }
	}
	sending := x.trace.Begin(trace.Upstream)
	a, err := x.gw.Upstream.Do(&x.out, &x.rc.Response, time.Time{})
	x.endSending(sending, err)
	if errors.Is(err, upstream.ErrDropped) {
		return a, err // WeCom has no part in it
	}
	if !x.upload().broke() {
		x.gw.Metrics.upstream(err == nil, time.Since(began), x.at)
	}
	if err == nil {
		x.gw.lookAtClock(&x.rc.Response.Header, x.at)
	}
	return a, err
}

// unreachable answers for an upstream that gave no whole answer. Log and record name the cause.
func (x *apiRequest) unreachable(err error) {
	var timeout net.Error
	x.forwarded = !errors.Is(err, upstream.ErrNotSent)
	switch {
	case errors.Is(err, upstream.ErrDropped):
		x.drop()
		return
	case !x.forwarded:
		x.errorKind = upstreamUnreachable
		x.fail(fasthttp.StatusBadGateway, wecom.CodeUnreachable, "WeCom cannot be reached from the gateway; "+nothingSent)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, fasthttp.ErrTimeout):
		x.errorKind = upstreamTimeout
		x.fail(fasthttp.StatusGatewayTimeout, wecom.CodeNoAnswer, "WeCom did not answer in time; the outcome is unknown, it may have taken the call")
	default:
		x.errorKind = upstreamBrokeOff
		x.fail(fasthttp.StatusBadGateway, wecom.CodeUnreachable, "WeCom's answer broke off; the outcome is unknown, it may have taken the call")
	}
	x.cause = connectionError(err)
	x.gw.Log.Warn("WeCom gave no whole answer to a call: check upstream in the configuration, and the network",
		zap.String("reason", x.errorKind), zap.String("cause", x.cause), errorText(err))
}

// pass hands the answer on: a small one whole, so that a broken one becomes a clean 502, others as
// a stream.
func (x *apiRequest) pass(a *upstream.Body) {
	if a == nil {
		x.passHead()
		if h := &x.rc.Response.Header; x.rc.IsHead() && h.ContentLength() >= 0 {
			h.SetContentLength(h.ContentLength()) // else fasthttp writes that of no body
		}
		return
	}
	if short, ok, err := a.Peek(smallAnswer); ok {
		x.passShort(a, short, err)
		return
	}
	s, err := fill(a, min(a.Length(), smallAnswer), smallAnswer)
	switch {
	case err != nil:
		a.Close()
		x.unreachable(err)
	case s.whole && len(s.pieces) == 1:
		x.passHead()
		x.rc.Response.SetBodyRaw(s.pieces[0])
		a.Close()
	default:
		x.passHead()
		x.streamAnswer(s, a)
	}
}

// streamAnswer has an answer follow its head, after what was read of it already.
func (x *apiRequest) streamAnswer(begin *buffered, a *upstream.Body) {
	body := &streamedAnswer{Reader: io.MultiReader(begin.Reader(), a), answer: a}
	if a.Length() < 0 && !x.rc.Request.Header.IsHTTP11() {
		x.untilClose = body
		return
	}
	x.rc.Response.SetBodyStream(body, max(a.Length(), -1))
}

// sendUntilClose sends an answer of unknown length to an HTTP/1.0 client, which knows no chunks:
// the end of the connection is the end of the body (RFC 9112, 6.3). The server library would send
// chunks, so the connection is taken from it. It has nothing else to send there: it flushes each
// answer.
func (x *apiRequest) sendUntilClose() {
	body, resp, conn := x.untilClose, &x.rc.Response, x.rc.Conn()
	defer body.Close()
	x.rc.HijackSetNoResponse(true)
	x.rc.Hijack(func(net.Conn) {}) // the library closes the connection
	resp.Header.SetContentLength(-2)
	_, err := conn.Write(resp.Header.Header())
	if err == nil {
		_, err = io.Copy(conn, body)
	}
	if c, ok := conn.(*clientConn); ok && err != nil {
		c.reset()
	}
}

// passShort hands a short answer on, or says that it broke off.
func (x *apiRequest) passShort(a *upstream.Body, body []byte, err error) {
	if err != nil {
		a.Close()
		x.unreachable(err)
		return
	}
	x.passHead()
	x.rc.Response.SetBody(body)
	a.Close()
}

var errTooLong = errors.New("the answer is longer than limits.read_answer")

// passRead hands the answer on, and lets read see it first. One over limits.read_answer goes on
// unread.
func (x *apiRequest) passRead(a *upstream.Body, read inspector) {
	if a == nil { // HEAD, 204, 304: there is nothing to see
		x.pass(a)
		return
	}
	if short, ok, err := a.Peek(int(x.gate.Config.Limits.ReadAnswer)); ok {
		if x.passShort(a, short, err); err == nil {
			x.shortAnswer.hold(x.rc.Response.Body())
			x.inspect(read, &x.shortAnswer)
		}
		return
	}
	s, err := fill(a, a.Length(), int(x.gate.Config.Limits.ReadAnswer))
	if err != nil {
		a.Close()
		x.unreachable(err)
		return
	}
	x.passHead()
	resp := &x.rc.Response
	if !s.whole {
		read(x, nil, errTooLong)
		x.streamAnswer(s, a)
		return
	}
	a.Close()
	if len(s.pieces) == 1 {
		resp.SetBodyRaw(s.pieces[0])
	} else {
		resp.SetBodyStream(s.Reader(), s.size)
	}
	x.inspect(read, s.Reader())
}

// inspect has read see an answer without its Content-Encoding.
func (x *apiRequest) inspect(read inspector, answer io.Reader) {
	plain, err := inflated(answer, string(x.rc.Response.Header.ContentEncoding()))
	read(x, plain, err)
}

// streamedAnswer is an answer that streams after the handler is done.
type streamedAnswer struct {
	io.Reader
	answer *upstream.Body
}

func (s *streamedAnswer) Close() error {
	return s.answer.Close()
}

var errStreamTooLarge = errors.New("the body is larger than limits.streamed_body")

// clientBody streams a client's body within a bound, and no slower than minRate. It keeps its
// beginning, for a call of which nothing was written, and for an answer that needs it.
type clientBody struct {
	stream io.Reader
	conn   *clientConn
	began  time.Time
	length int   // as fasthttp has it: -1 chunked
	read   int64 // from the client
	left   int64
	ended  bool   // read to its end
	err    error  // what broke it, io.EOF aside
	keeps  int    // how much of the beginning is kept
	kept   []byte // the beginning, up to a read beyond what it keeps
	replay []byte // of the beginning, what is to be given out once more
}

const (
	// maxWhole bounds the body of a call that must be known to understand the answer.
	maxWhole = 64 << 10
)

// keepWhole has the body kept for later, if it is not longer than maxWhole.
func (b *clientBody) keepWhole() {
	if b != nil {
		b.keeps = maxWhole
	}
}

// whole returns the body, once it was read; nil if it is longer than maxWhole.
func (b *clientBody) whole() []byte {
	if int64(len(b.kept)) < b.read {
		return nil
	}
	return b.kept
}

// upload is the client's body that streams, nil if none does.
func (x *apiRequest) upload() *clientBody {
	b, _ := x.out.Stream.(*clientBody)
	return b
}

// broke reports whether the client's body broke off: then a failed call is not a failure of WeCom.
func (b *clientBody) broke() bool { return b != nil && b.err != nil }

// Len is the length that the client announced.
func (b *clientBody) Len() int { return b.length }

// Rewind starts the body from its beginning, and reports whether it can.
func (b *clientBody) Rewind() bool {
	if b.broke() || int64(len(b.kept)) < b.read {
		return false
	}
	b.replay = b.kept
	return true
}

// minRate is how many bytes a second a streamed body must bring on average, after its first
// bodyTimeout.
const minRate = 4 << 10

func (b *clientBody) Read(p []byte) (int, error) {
	if len(b.replay) > 0 {
		n := copy(p, b.replay)
		b.replay = b.replay[n:]
		return n, nil
	}
	if b.ended {
		return 0, io.EOF
	}
	due := b.began.Add(bodyTimeout + time.Duration(b.read)*time.Second/minRate)
	if err := b.conn.SetReadDeadline(due); err != nil {
		return 0, err
	}
	n, err := b.stream.Read(p)
	b.read += int64(n)
	if int64(len(b.kept)) == b.read-int64(n) && len(b.kept)+n <= max(b.keeps, upstream.MaxUnsent) {
		b.kept = append(b.kept, p[:n]...)
	}
	if err == io.EOF && b.read < int64(b.length) { // the server library does not tell of a body that ends early
		err = io.ErrUnexpectedEOF
	}
	if b.left -= int64(n); b.left < 0 {
		err = errStreamTooLarge
	}
	if err == io.EOF {
		b.ended = true
	} else if err != nil {
		b.err = err
	}
	return n, err
}
