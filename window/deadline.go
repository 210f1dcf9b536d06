package window

import (
	"context"
	"sync/atomic"
	"time"
)

// deadlines gives questions to Redis their deadlines. Questions of the same moment share one: a
// timer for each would wake a thread for each, which in a gateway with little to do costs as much
// as the question.
type deadlines struct {
	timeout time.Duration
	last    atomic.Pointer[deadline]
}

type deadline struct {
	context.Context
	at time.Time
}

// within is a context that ends after the timeout, or up to a quarter of it later; earlier if ctx
// does.
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
	context.AfterFunc(next.Context, cancel) // it ends by itself, and only then
	d.last.Store(next)
	return next, func() {}
}
