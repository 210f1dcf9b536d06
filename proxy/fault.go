package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/http1"
	"replygate/record"
	"replygate/upstream"
	"replygate/wecom"
)

// Why the gateway answers a request by itself without a decision of the rules: the reason of such
// an answer, and the fault of its records.
const (
	malformedRequest    = "malformed_request" // the server library cannot read it
	malformedHead       = "malformed_head"    // its head can be read in more than one way
	malformedBody       = "malformed_body"    // its chunks are none
	headTooLarge        = "head_too_large"
	targetTooLong       = "target_too_long"
	bodyTooLarge        = "body_too_large"
	clientAborted       = "client_aborted"
	clientSlow          = "client_too_slow"
	unknownPath         = "unknown_path" // below /corp/ or /replygate/
	methodNotAllowed    = "method_not_allowed"
	malformedPreflight  = "malformed_preflight"
	upstreamUnreachable = "upstream_unreachable"
	upstreamTimeout     = "upstream_timeout"
	upstreamBrokeOff    = "upstream_broke_off"
	unknownCallback     = "unknown_callback"
	unverifiedCallback  = "unverified_callback"
	botUnreachable      = "bot_unreachable"
	botTimeout          = "bot_timeout"
	gatewayFailed       = "gateway_failed" // a panic
)

// verdictError is the verdict of an answer of the gateway's own that no rule decided.
const verdictError = "error"

// FailureRecord is the line in the decision log that the id of such an answer finds. It is no
// decision, and is never judged once more.
type FailureRecord struct {
	ID         string
	At         time.Time
	CorpID     string
	Account    string
	Endpoint   string
	Capability wecom.Capability
	Reason     string
	Cause      string // why WeCom or a bot gave no whole answer, or what of a callback did not fit
	Forwarded  bool   // WeCom may have taken the call
	Errcode    int
	Client     string     // what the caller is; "" if no clients are configured
	Remote     netip.Addr // of the caller
	TraceID    string     // of a call that is sampled
}

// fail answers a request that was not judged, or whose judgement could not be carried out.
func (v *request) fail(status, errcode int, errmsg string) {
	if v.id == "" {
		v.id = record.NewID(v.gw.Now())
	}
	v.errcode = errcode
	v.answer(status, wecom.Refusal{Errcode: errcode, Errmsg: errmsg + "; id=" + v.id, Verdict: verdictError, Reason: v.errorKind, DecisionID: v.id})
	markDecision(&v.rc.Response.Header, verdictError, "", v.errorKind, v.id)
}

// failure is the record of an answer by fail.
func (v *request) failure(corp, endpoint string) *FailureRecord {
	return &FailureRecord{ID: v.id, At: v.at, CorpID: corp, Endpoint: endpoint, Reason: v.errorKind, Errcode: v.errcode, Remote: v.remote()}
}

// whyEnded tells why nothing more comes from the client, "" if something may.
func (v *request) whyEnded() string {
	conn, ok := v.rc.Conn().(*clientConn)
	if !ok || conn.failed == nil {
		return ""
	}
	var late net.Error
	if errors.As(conn.failed, &late) && late.Timeout() {
		return clientSlow
	}
	return clientAborted
}

// unreadable answers a request that the server library could not read.
func (v *request) unreadable(err error) {
	v.closeAfter = true
	var small *fasthttp.ErrSmallBuffer
	switch ended := v.whyEnded(); {
	case errors.As(err, &small):
		v.errorKind = headTooLarge
		v.fail(fasthttp.StatusRequestHeaderFieldsTooLarge, wecom.CodeHeadTooLarge, fmt.Sprintf("the head of the request is larger than %d KiB; %s", http1.MaxHead>>10, nothingSent))
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		v.errorKind = bodyTooLarge
		v.fail(fasthttp.StatusRequestEntityTooLarge, wecom.CodeTooLarge, "the body is larger than the gateway takes; "+nothingSent)
	case ended == clientSlow:
		v.errorKind = clientSlow
		v.fail(fasthttp.StatusRequestTimeout, wecom.CodeClientTimeout, "the request did not arrive in time; "+nothingSent)
	case ended == clientAborted:
		v.errorKind = clientAborted
		v.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, "the connection ended before the request was whole; "+nothingSent)
	default:
		v.errorKind = malformedRequest
		v.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, "the request is not well-formed HTTP; "+nothingSent)
	}
}

const nothingSent = "nothing was sent"

// bodyIncomplete answers for a body that did not arrive whole; sent says what of it went to WeCom.
func (v *request) bodyIncomplete(sent string) {
	why := "the chunks of the body are malformed"
	switch v.errorKind, v.closeAfter = v.whyEnded(), true; v.errorKind {
	case clientAborted:
		why = "the connection ended before the body was whole"
	case clientSlow:
		why = "the body did not arrive in time"
	default:
		v.errorKind = malformedBody
	}
	v.fail(fasthttp.StatusBadRequest, wecom.CodeAmbiguous, why+"; "+sent)
}

// timedOut is what connectionError calls a server that was too slow.
const timedOut = "timeout"

// connectionError names why a server gave no whole answer, by a closed list of words.
func connectionError(err error) string {
	var dns *net.DNSError
	var late interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return timedOut
	case errors.Is(err, upstream.ErrTooManyConns):
		return "too_many_connections"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused"
	case isTLS(err):
		return "tls"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no_route"
	case errors.Is(err, errTooLong):
		return "answer_too_long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection_closed"
	}
	return "malformed_answer"
}

// maxErrorText bounds the text of an error in the log: one of a malformed answer quotes it.
const maxErrorText = 300

// errorText is zap.Error within maxErrorText.
func errorText(err error) zap.Field {
	text := err.Error()
	return zap.String("error", text[:min(len(text), maxErrorText)])
}

// isTLS reports whether TLS could not be agreed on: a certificate, an alert, or a server without
// it.
func isTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	var alert *net.OpError // package tls exports no type for the alerts of a connection
	return errors.As(err, &certificate) || errors.As(err, &unknown) || errors.As(err, &plain) ||
		errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
}
