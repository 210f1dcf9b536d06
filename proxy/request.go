package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/gate"
	"replygate/http1"
	"replygate/trace"
	"replygate/wecom"
)

// maxTarget bounds the request target.
const maxTarget = 16 << 10

// smallBody is up to what length a judged body gets its memory at once.
const smallBody = 16 << 10

// request is the part that API calls and callbacks share: one request and its answer.
type request struct {
	gw         *Gateway
	settings   *Settings  // in force when it came
	gate       *gate.Gate // of settings
	rc         *fasthttp.RequestCtx
	ctx        context.Context // not the request's: fasthttp uses that again
	at         time.Time       // when it came
	target     []byte          // as sent, without a prefix that names a corp
	path       []byte          // of it
	query      []byte          // as sent
	id         string          // of the decision, or of an answer of the gateway's own; "" for any other request
	errorKind  string          // why the gateway answered by itself without a decision
	errcode    int             // of that answer
	trace      *trace.Call     // nil: it is not sampled
	space      []byte          // for a short body, kept for other requests
	closeAfter bool            // the connection ends after the answer: what follows on it cannot be trusted
}

// start makes v that of another request.
func (v *request) start(g *Gateway, rc *fasthttp.RequestCtx) {
	at := g.Now()
	g.yielder.arrive(at)
	*v = request{gw: g, rc: rc, ctx: context.Background(), at: at, space: v.space}
	v.use(g.Current())
}

// use has the request served by settings.
func (v *request) use(s *Settings) { v.settings, v.gate = s, &s.Gate }

// remote is the caller's address, that of its connection.
func (v *request) remote() netip.Addr {
	addr, _ := netip.AddrFromSlice(v.rc.RemoteIP())
	return addr.Unmap()
}

// readTarget reads path and query of a head that has one reading.
func (v *request) readTarget() bool {
	target := v.rc.Request.Header.RequestURI()
	if len(target) > maxTarget {
		v.errorKind, v.closeAfter = targetTooLong, true
		v.fail(fasthttp.StatusRequestURITooLong, wecom.CodeTargetTooLong, fmt.Sprintf("the URL is longer than %d KiB", maxTarget>>10))
		return false
	}
	err := http1.CheckRequest(&v.rc.Request.Header)
	if c, ok := v.rc.Conn().(*clientConn); ok && err == nil && c.line.Ambiguous() {
		err = errors.New("the request line does not end in CR LF")
	}
	if err != nil {
		v.errorKind, v.closeAfter = malformedHead, true // where the next request begins is unknown
		v.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, err.Error()+"; nothing was sent")
		return false
	}
	v.target = target
	v.path, v.query, _ = bytes.Cut(target, []byte{'?'})
	return true
}

// readBody reads a body whole, within a bound of size; that of time began with the end of the head.
// It answers by itself, and returns false, if the body is longer or breaks off.
func (v *request) readBody(limit config.Size) ([]byte, bool) {
	body, more, ok := v.readUpTo(limit)
	if more != nil {
		v.tooLarge(limit, nothingSent)
		return nil, false
	}
	return body, ok
}

// readUpTo is readBody for a body that may be longer: then more is all of it, as it comes. The body
// is good until the request is answered.
func (v *request) readUpTo(limit config.Size) (body []byte, more io.Reader, ok bool) {
	stream, length := v.rc.RequestBodyStream(), v.rc.Request.Header.ContentLength()
	reading := v.trace.Begin(trace.Read)
	defer func() { v.endReading(reading, ok) }()
	switch {
	case stream == nil:
		return v.rc.Request.Body(), nil, true
	case length > int(limit):
		return nil, stream, true
	case length >= 0 && length <= smallBody: // a longer one gets memory as it comes: any client can announce one
		v.space = slices.Grow(v.space[:0], length)[:length]
		if _, err := io.ReadFull(stream, v.space); err != nil {
			v.bodyIncomplete(nothingSent)
			return nil, nil, false
		}
		return v.space, nil, true
	}
	body, err := io.ReadAll(io.LimitReader(stream, int64(limit)+1))
	switch {
	case len(body) > int(limit):
		return nil, io.MultiReader(bytes.NewReader(body), stream), true
	case err != nil || len(body) < length: // the server library does not tell of a body that ends early
		v.bodyIncomplete(nothingSent)
		return nil, nil, false
	}
	return body, nil, true
}

// closeConnection makes the connection end after the answer, if it must.
func (v *request) closeConnection() {
	if !v.closeAfter && !v.gw.Draining() {
		return
	}
	v.rc.SetConnectionClose()
	if c, ok := v.rc.Conn().(*clientConn); ok {
		c.drains = v.closeAfter
	}
}

// tooLarge answers for a body over its limit; sent says what of it went to WeCom.
func (v *request) tooLarge(limit config.Size, sent string) {
	v.errorKind, v.closeAfter = bodyTooLarge, true
	v.fail(fasthttp.StatusRequestEntityTooLarge, wecom.CodeTooLarge, "the body is larger than the "+limit.String()+" that the gateway takes for this call; "+sent)
}

// WeCom's own headers of an error.
var (
	headerCode = []byte("Error-Code")
	headerMsg  = []byte("Error-Msg")
)

// answer writes an answer of the gateway's own, in WeCom's shape. Its headers can hold only ASCII:
// of another text they say the reason.
func (v *request) answer(status int, r wecom.Refusal) {
	resp := &v.rc.Response
	resp.Reset()
	resp.SetStatusCode(status)
	resp.Header.SetContentType("application/json; charset=UTF-8")
	var space [1 << 10]byte
	resp.Header.SetCanonical(headerCode, strconv.AppendInt(space[:0], int64(r.Errcode), 10))
	resp.Header.SetCanonical(headerMsg, append(space[:0], headerText(r.Errmsg, r.Reason)...))
	resp.SetBody(r.AppendJSON(space[:0]))
}

// headerText returns a text that a header may hold: instead, if the text is in another script.
func headerText(s, instead string) string {
	if fitsHeader(s) {
		return s
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		s = instead
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func fitsHeader(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// passHead takes from the head of an answer, which is the client's now, what belongs to another
// connection.
func (v *request) passHead() {
	h := &v.rc.Response.Header
	http1.DropHopByHop(h)
	h.ResetConnectionClose()
	h.SetProtocol(http11)
}

var http11 = []byte("HTTP/1.1")

// withQuery is the request target of path and query, an empty query kept as it came.
func (v *request) withQuery(path []byte) []byte {
	target := v.target
	if bytes.HasPrefix(target, path) && len(path) == len(v.path) {
		return target // as it came
	}
	if len(v.query) == 0 && !bytes.HasSuffix(target, []byte{'?'}) {
		return path
	}
	target = make([]byte, 0, len(path)+1+len(v.query))
	return append(append(append(target, path...), '?'), v.query...)
}
