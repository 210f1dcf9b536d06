package proxy

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// skew is how far WeCom's clock is from ours. Customers' messages bear the time of that one, and
// are judged by ours.
type skew struct {
	looked atomic.Int64 // when an answer was looked at last, unix ms
	ahead  atomic.Int64 // ms
}

const (
	lookEvery = 10 * time.Second
	// maxSkew is the difference of clocks from which on the log says so.
	maxSkew = 5 * time.Second
)

// Skew is how far WeCom's clock is ahead of the gateway's, as far as its answers prove: they say
// whole seconds, and when they were written is not known but to the time that the call took.
func (g *Gateway) Skew() time.Duration { return time.Duration(g.skew.ahead.Load()) * time.Millisecond }

// lookAtClock compares the Date of an answer (RFC 9110, section 6.6.1) with our clock, every ten
// seconds. The call came at the time given.
func (g *Gateway) lookAtClock(h *fasthttp.ResponseHeader, came time.Time) {
	last := g.skew.looked.Load()
	if came.UnixMilli()-last < lookEvery.Milliseconds() || !g.skew.looked.CompareAndSwap(last, came.UnixMilli()) {
		return
	}
	written, err := http.ParseTime(string(h.Peek("Date")))
	if err != nil {
		return
	}
	ahead, was := clockAhead(written, came, g.Now()), g.Skew()
	g.skew.ahead.Store(ahead.Milliseconds())
	if ahead.Abs() >= maxSkew && was.Abs() < maxSkew {
		g.Log.Error("WeCom's clock and this machine's differ, so windows open and close at wrong times: set this one by NTP", zap.Duration("ahead", ahead))
	}
}

// clockAhead is how far the clock that showed a whole second, at some moment between two of ours,
// is ahead of ours at least.
func clockAhead(second, began, ended time.Time) time.Duration {
	switch next := second.Add(time.Second); {
	case second.After(ended):
		return second.Sub(ended)
	case next.Before(began):
		return next.Sub(began)
	}
	return 0
}
