package upstream

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tracked notes that a connection was closed.
type tracked struct {
	net.Conn
	closed atomic.Bool
}

func (c *tracked) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// newTestPool returns a pool of pipes, and all connections that it has dialled.
func newTestPool(t *testing.T) (*pool, *[]*tracked) {
	t.Helper()
	var dialled []*tracked
	u := &Upstream{timeout: time.Second}
	u.pool = newPool(func(ctx context.Context) (*conn, error) {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		raw := &tracked{Conn: near}
		dialled = append(dialled, raw)
		return newConn(ctx, u, raw, nil)
	})
	return u.pool, &dialled
}

// take gets n connections of a pool.
func take(t *testing.T, p *pool, n int) []*conn {
	t.Helper()
	conns := make([]*conn, n)
	for i := range conns {
		c, err := p.get(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	return conns
}

func putAll(p *pool, conns ...*conn) {
	for _, c := range conns {
		p.put(c)
	}
}

func TestPoolReusesTheLastReleased(t *testing.T) {
	t.Parallel()
	p, dialled := newTestPool(t)
	first := take(t, p, 3)
	putAll(p, first...)
	again := take(t, p, 4)
	slices.Reverse(first)
	if !slices.Equal(again[:3], first) {
		t.Error("idle connections are not used in the reverse order of their release")
	}
	if len(*dialled) != 4 {
		t.Errorf("%d connections were dialled, want 4", len(*dialled))
	}
}

func TestPoolLimit(t *testing.T) {
	t.Parallel()
	p, _ := newTestPool(t)
	p.maxConns = 2
	conns := take(t, p, 2)
	if _, err := p.get(time.Second); !errors.Is(err, ErrTooManyConns) {
		t.Fatalf("one more than the limit: %v", err)
	}
	p.put(conns[0])
	if c := take(t, p, 1)[0]; c != conns[0] {
		t.Error("a connection that came back is not used")
	}
	p.discard(conns[1])
	take(t, p, 1) // there is room for another one
	if _, err := p.get(time.Second); !errors.Is(err, ErrTooManyConns) {
		t.Errorf("one more than the limit, after one was closed: %v", err)
	}
}

// Dials that fail leave no trace: the limit counts connections.
func TestPoolLimitAfterFailedDials(t *testing.T) {
	t.Parallel()
	p, _ := newTestPool(t)
	p.maxConns = 1
	dial, refused := p.dial, errors.New("refused")
	p.dial = func(context.Context) (*conn, error) { return nil, refused }
	for range 3 {
		if _, err := p.get(time.Second); !errors.Is(err, refused) {
			t.Fatal(err)
		}
	}
	p.dial = dial
	take(t, p, 1)
}

func TestPoolClosesIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, dialled := newTestPool(t)
		open := func() (open []bool) {
			synctest.Wait()
			for _, c := range *dialled {
				open = append(open, !c.closed.Load())
			}
			return open
		}
		conns := take(t, p, 3)
		p.put(conns[0])
		for _, step := range []struct {
			after time.Duration
			do    func()
			open  []bool
		}{
			{20 * time.Second, func() { p.put(conns[1]) }, []bool{true, true, true}},
			{9 * time.Second, func() {}, []bool{true, true, true}},
			{2 * time.Second, func() {}, []bool{false, true, true}}, // the first one was idle for 31 s
			{10 * time.Second, func() { putAll(p, take(t, p, 1)...) }, []bool{false, true, true}},
			{29 * time.Second, func() {}, []bool{false, true, true}}, // it was used meanwhile
			{2 * time.Second, func() {}, []bool{false, false, true}}, // the third one is in use
		} {
			time.Sleep(step.after)
			step.do()
			if got := open(); !slices.Equal(got, step.open) {
				t.Fatalf("after %v more: open are %v, want %v", step.after, got, step.open)
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.evictor != nil || len(p.open) != 1 {
			t.Errorf("%d connections are open; the evictor runs: %v", len(p.open), p.evictor != nil)
		}
	})
}

func TestPoolCloseIdle(t *testing.T) {
	t.Parallel()
	p, dialled := newTestPool(t)
	conns := take(t, p, 2)
	p.put(conns[0])
	p.closeIdle()
	if !(*dialled)[0].closed.Load() || (*dialled)[1].closed.Load() {
		t.Error("not exactly the idle connection was closed")
	}
	p.put(conns[1])
	if c := take(t, p, 1)[0]; c != conns[1] {
		t.Error("the connection that was in use did not come back")
	}
}

// A dial that takes long ends with the time for it, and with an abort.
func TestPoolDialEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*pool){
		"in time":  func(*pool) {},
		"by abort": (*pool).abort,
	} {
		p, _ := newTestPool(t)
		p.dial = func(ctx context.Context) (*conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		timeout := time.Minute
		if name == "in time" {
			timeout = 10 * time.Millisecond
		}
		result := make(chan error, 1)
		go func() {
			_, err := p.get(timeout)
			result <- err
		}()
		end(p)
		select {
		case err := <-result:
			if err == nil {
				t.Errorf("%s: it has connected", name)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the dial goes on", name)
		}
	}
}

// A connection that opens while the pool is aborted is closed.
func TestPoolAbortedMeanwhile(t *testing.T) {
	t.Parallel()
	p, dialled := newTestPool(t)
	dial := p.dial
	p.dial = func(ctx context.Context) (*conn, error) {
		p.abort()
		return dial(context.WithoutCancel(ctx))
	}
	if _, err := p.get(time.Second); err == nil || !(*dialled)[0].closed.Load() {
		t.Errorf("%v; it is closed: %v", err, (*dialled)[0].closed.Load())
	}
}

// No connection is handed out twice, and there are never more than the limit.
func TestPoolConcurrently(t *testing.T) {
	t.Parallel()
	const limit = 8
	p, _ := newTestPool(t)
	var mu sync.Mutex
	dial, dials := p.dial, 0
	p.maxConns = limit
	p.dial = func(ctx context.Context) (*conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dials++
		return dial(ctx)
	}
	inUse := map[*conn]bool{}
	var all sync.WaitGroup
	for i := range 4 * limit {
		all.Go(func() {
			for j := range 200 {
				c, err := p.get(time.Second)
				if errors.Is(err, ErrTooManyConns) {
					continue
				}
				mu.Lock()
				if err != nil || inUse[c] || len(inUse) >= limit {
					t.Errorf("%v; in use already: %v; %d are", err, inUse[c], len(inUse))
				}
				inUse[c] = true
				mu.Unlock()
				mu.Lock()
				delete(inUse, c)
				mu.Unlock()
				if (i+j)%10 == 0 {
					p.discard(c)
				} else {
					p.put(c)
				}
			}
		})
	}
	all.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) != len(p.idle) || len(p.open) > limit || p.dialing != 0 {
		t.Errorf("%d open, %d idle, %d dialling", len(p.open), len(p.idle), p.dialing)
	}
}
