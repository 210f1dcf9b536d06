package upstream

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxConns bounds the connections to one server, in use and idle.
	maxConns = 4096

	// maxIdle is how long a connection may stay idle before it is closed.
	maxIdle = 30 * time.Second
)

// pool keeps the connections to one server. The one that was released last is used next, so that
// connections beyond the need stay idle and are closed.
type pool struct {
	dial     func(context.Context) (*conn, error)
	maxConns int
	maxIdle  time.Duration

	ctx     context.Context // of every dial; ends with abort
	cancel  context.CancelFunc
	aborted atomic.Bool

	// mu guards what follows.
	mu      sync.Mutex
	open    map[*conn]struct{} // in use and idle
	dialing int
	idle    []*conn     // in the order of their release
	evictor *time.Timer // runs as long as there may be idle connections
}

func newPool(dial func(context.Context) (*conn, error)) *pool {
	p := &pool{dial: dial, maxConns: maxConns, maxIdle: maxIdle, open: map[*conn]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// get returns an idle connection, or dials one within timeout.
func (p *pool) get(timeout time.Duration) (*conn, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		c := p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return c, nil
	}
	if len(p.open)+p.dialing >= p.maxConns {
		p.mu.Unlock()
		return nil, ErrTooManyConns
	}
	p.dialing++
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	c, err := p.dial(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	switch {
	case p.aborted.Load():
		if err == nil {
			_ = c.outer.Close()
		}
		return nil, os.ErrDeadlineExceeded
	case err != nil:
		return nil, err
	}
	p.open[c] = struct{}{}
	return c, nil
}

// put takes a connection back that has nothing left to read or write.
func (p *pool) put(c *conn) {
	c.lastUse = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
	if p.evictor == nil {
		p.evictor = time.AfterFunc(p.maxIdle, p.evict)
	}
}

// discard closes a connection that was taken from the pool.
func (p *pool) discard(c *conn) {
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
	_ = c.outer.Close()
}

// evict closes the connections that have been idle for maxIdle, and runs again when the next one
// will have been.
func (p *pool) evict() {
	p.mu.Lock()
	now, n := time.Now(), 0
	for n < len(p.idle) && now.Sub(p.idle[n].lastUse) >= p.maxIdle {
		n++
	}
	old := p.takeIdle(n)
	p.evictor = nil
	if len(p.idle) > 0 {
		p.evictor = time.AfterFunc(p.maxIdle-now.Sub(p.idle[0].lastUse), p.evict)
	}
	p.mu.Unlock()
	closeAll(old)
}

// closeIdle closes the idle connections. Those in use come back to the pool.
func (p *pool) closeIdle() {
	p.mu.Lock()
	old := p.takeIdle(len(p.idle))
	if p.evictor != nil {
		p.evictor.Stop()
		p.evictor = nil
	}
	p.mu.Unlock()
	closeAll(old)
}

// takeIdle removes the n connections that have been idle longest. The caller must hold mu.
func (p *pool) takeIdle(n int) []*conn {
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	for _, c := range old {
		delete(p.open, c)
	}
	return old
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.outer.Close()
	}
}

// abort ends every dial, read and write, now and later, as if its deadline had passed.
func (p *pool) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aborted.Store(true)
	p.cancel()
	for c := range p.open {
		_ = c.Conn.SetDeadline(past)
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)
