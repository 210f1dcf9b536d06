package proxy

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"replygate/record"
)

// The record's cause and the answer agree on why a bot failed: a name that is not found in time is
// no bot that is slow.
func TestBotFailed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err         error
		cause, kind string
		status      int
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, "dns", botUnreachable, 502},
		{os.ErrDeadlineExceeded, timedOut, botTimeout, 504},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, timedOut, botTimeout, 504},
		{net.ErrClosed, "malformed_answer", botUnreachable, 502},
	} {
		d := &callbackRequest{to: &receiver{}}
		d.gw = &Gateway{Now: time.Now, Log: record.RateLimit(zap.NewNop(), time.Now)}
		d.rc = &fasthttp.RequestCtx{}
		d.botFailed(test.err)
		if got := d.rc.Response.StatusCode(); d.botError != test.cause || d.errorKind != test.kind || got != test.status {
			t.Errorf("%v: %s, %s, HTTP %d, want %s, %s, %d", test.err, d.botError, d.errorKind, got, test.cause, test.kind, test.status)
		}
	}
}
