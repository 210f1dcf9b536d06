package store

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Coalescer merges concurrent requests into batches, since a request in a batch costs a fraction of
// one sent alone. A request that finds the Coalescer idle is sent at once. Every request must have
// a deadline.
//
// It serves one Redis. In a Cluster each node needs its own, or requests to one node would wait for
// another.
type Coalescer[Q, A any] struct {
	send func(context.Context, []Q) ([]A, error)

	mu        sync.Mutex
	pending   []*request[Q, A]
	workers   int
	lastSent  time.Time // of the last batch
	contended bool      // the last batch had several requests
}

const (
	maxBatch   = 256                   // requests in a batch
	maxWorkers = 4                     // batches in flight
	slow       = 20 * time.Millisecond // after so long without an answer another batch is sent
)

// request is one question and, once done is closed, its answer or error.
type request[Q, A any] struct {
	ctx      context.Context
	question Q
	answer   A
	err      error
	done     chan struct{}
}

// NewCoalescer sends batches by send, which returns an answer for each question, in order, or one
// error for all. Its context ends when the last caller of the batch gives up.
func NewCoalescer[Q, A any](send func(context.Context, []Q) ([]A, error)) *Coalescer[Q, A] {
	return &Coalescer[Q, A]{send: send}
}

// Do sends a question and waits for the answer, at most until ctx ends. A question whose caller has
// given up may still be sent.
func (b *Coalescer[Q, A]) Do(ctx context.Context, question Q) (answer A, err error) {
	a := &request[Q, A]{ctx: ctx, question: question, done: make(chan struct{})}
	b.mu.Lock()
	b.pending = append(b.pending, a)
	idle := b.workers == 0
	switch {
	case idle: // this goroutine sends: waking another one would cost more
		b.workers++
	case b.workers < maxWorkers && (len(b.pending) >= maxBatch || time.Since(b.lastSent) > slow):
		b.workers++
		go b.work()
	}
	b.mu.Unlock()
	if idle {
		b.flush()
		b.handOver()
	}
	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
	}
	select {
	case <-a.done: // at the same time: the answer may have had an effect
		return a.answer, a.err
	default:
		return answer, ctx.Err()
	}
}

// handOver starts a worker for what has arrived meanwhile, if anything has.
func (b *Coalescer[Q, A]) handOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) == 0 {
		b.workers--
		return
	}
	go b.work()
}

// work sends batches until nothing is pending.
func (b *Coalescer[Q, A]) work() {
	for {
		b.flush()
		b.mu.Lock()
		if len(b.pending) == 0 {
			b.workers--
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
	}
}

// flush sends one batch. If the previous batch had several requests, it yields first so that
// runnable callers can join; without contention that would only wake a thread.
func (b *Coalescer[Q, A]) flush() {
	b.mu.Lock()
	contended := b.contended
	b.mu.Unlock()
	if contended {
		runtime.Gosched()
	}
	b.mu.Lock()
	n := min(len(b.pending), maxBatch)
	b.contended = n > 1
	batch := b.pending[:n:n]
	b.pending, b.lastSent = b.pending[n:], time.Now()
	b.mu.Unlock()
	b.sendBatch(batch)
}

// sendBatch sends requests with the latest of their deadlines.
func (b *Coalescer[Q, A]) sendBatch(batch []*request[Q, A]) {
	questions := make([]Q, 0, len(batch))
	live := batch[:0]
	var longest context.Context
	var until time.Time
	for _, a := range batch {
		if a.ctx.Err() != nil {
			continue // the caller has given up
		}
		questions, live = append(questions, a.question), append(live, a)
		if d, _ := a.ctx.Deadline(); longest == nil || d.After(until) {
			longest, until = a.ctx, d
		}
	}
	if len(live) == 0 {
		return
	}
	answers, err := b.send(longest, questions)
	for i, a := range live {
		if a.err = err; err == nil {
			a.answer = answers[i]
		}
		close(a.done)
	}
}
