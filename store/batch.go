package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Batch sends commands that come at the same time in one pipeline: each costs a fraction of what it costs alone. A
// command that comes while nobody else asks goes out at once.
//
// It is for a single Redis: in a Cluster the commands of one node would wait for those of another.
type Batch struct {
	rdb     redis.UniversalClient
	timeout time.Duration

	mu      sync.Mutex
	waiting []*ask
	workers int
	sent    time.Time // when the last pipeline went out
}

// Sender sends a command, alone or in a pipeline.
type Sender interface {
	redis.Scripter
	Do(ctx context.Context, args ...any) *redis.Cmd
}

const (
	maxBatch   = 256                   // commands of one pipeline
	maxWorkers = 4                     // pipelines at a time
	slow       = 20 * time.Millisecond // a pipeline that takes longer does not keep others waiting
)

// ask is a command that waits for its answer.
type ask struct {
	ctx  context.Context
	send func(Sender) *redis.Cmd
	cmd  *redis.Cmd
	done chan struct{}
}

// NewBatch sends commands to rdb.
func NewBatch(rdb redis.UniversalClient, timeout time.Duration) *Batch {
	return &Batch{rdb: rdb, timeout: timeout}
}

// Do sends a command and waits for its answer, at most until ctx ends. What send builds must not be changed
// afterwards: a command that nobody waits for any longer may still be sent.
func (b *Batch) Do(ctx context.Context, send func(Sender) *redis.Cmd) (any, error) {
	b.mu.Lock()
	if b.workers == 0 { // nobody else asks: no goroutine needs to be woken for it
		b.workers++
		b.sent = time.Now()
		b.mu.Unlock()
		cmd := send(b.rdb)
		b.next()
		return cmd.Result()
	}
	a := &ask{ctx: ctx, send: send, done: make(chan struct{})}
	b.waiting = append(b.waiting, a)
	if b.workers < maxWorkers && (len(b.waiting) >= maxBatch || time.Since(b.sent) > slow) {
		b.workers++
		go b.work()
	}
	b.mu.Unlock()
	select {
	case <-a.done:
		return a.cmd.Result()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// next leaves what waits to a goroutine, if anything does.
func (b *Batch) next() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.workers--
		return
	}
	go b.work()
}

// work sends what waits until nothing does.
func (b *Batch) work() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), maxBatch)
		if n == 0 {
			b.workers--
			b.mu.Unlock()
			return
		}
		batch := b.waiting[:n:n]
		b.waiting, b.sent = b.waiting[n:], time.Now()
		b.mu.Unlock()
		b.send(batch)
	}
}

func (b *Batch) send(batch []*ask) {
	ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
	defer cancel()
	p := b.rdb.Pipeline()
	for _, a := range batch {
		if a.ctx.Err() == nil { // else nobody waits for it any longer
			a.cmd = a.send(p)
		}
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for _, a := range batch {
		if a.cmd != nil {
			close(a.done)
		}
	}
}
