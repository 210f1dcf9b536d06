package window

import (
	"context"
	"sync/atomic"
	"time"
)

// deadlines creates contexts with a timeout. Requests of the same moment share one: a timer of its
// own would wake a thread for each, which in an idle gateway costs as much as the request.
type deadlines struct {
	timeout time.Duration
	last    atomic.Pointer[deadline]
}

type deadline struct {
	context.Context
	at time.Time
}

// within returns a context that ends after the timeout, or up to a quarter of it later. If ctx can
// end by itself, the context is a child of ctx with exactly the timeout.
func (d *deadlines) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, earlier := ctx.Deadline(); earlier || ctx.Done() != nil {
		return context.WithTimeout(ctx, d.timeout)
	}
	now := time.Now()
	if shared := d.last.Load(); shared != nil && shared.at.Sub(now) >= d.timeout {
		return shared, func() {}
	}
	next := &deadline{at: now.Add(d.timeout + d.timeout/4)}
	var cancel context.CancelFunc
	next.Context, cancel = context.WithDeadline(context.Background(), next.at)
	context.AfterFunc(next.Context, cancel) // releases the timer when it fires, and never earlier
	d.last.Store(next)
	return next, func() {}
}
