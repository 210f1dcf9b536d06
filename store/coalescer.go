package store

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Coalescer puts questions together that are asked at the same time: together each costs a fraction of
// what it costs alone. One that comes while nobody else asks is asked at once. Every question has a
// deadline.
//
// It is for one Redis: in a Cluster each node has one, or the questions of a node would wait for
// those of another.
type Coalescer[Q, A any] struct {
	send func(context.Context, []Q) ([]A, error)

	mu        sync.Mutex
	pending   []*request[Q, A]
	workers   int
	lastSent  time.Time // when questions went out last
	contended bool      // went out then
}

const (
	maxBatch   = 256                   // questions at once
	maxWorkers = 4                     // that wait for answers at a time
	slow       = 20 * time.Millisecond // answers that take longer do not keep others waiting
)

// request is a question that waits for its answer.
type request[Q, A any] struct {
	ctx      context.Context
	question Q
	answer   A
	err      error
	done     chan struct{}
}

// NewCoalescer asks by ask, which returns an answer for each question or an error for all of them.
func NewCoalescer[Q, A any](ask func(context.Context, []Q) ([]A, error)) *Coalescer[Q, A] {
	return &Coalescer[Q, A]{send: ask}
}

// Do asks and waits for the answer, at most until ctx ends. A question that nobody waits for any
// longer may still be asked.
func (b *Coalescer[Q, A]) Do(ctx context.Context, question Q) (answer A, err error) {
	a := &request[Q, A]{ctx: ctx, question: question, done: make(chan struct{})}
	b.mu.Lock()
	b.pending = append(b.pending, a)
	leads := b.workers == 0
	switch {
	case leads: // no goroutine needs to be woken for it
		b.workers++
	case b.workers < maxWorkers && (len(b.pending) >= maxBatch || time.Since(b.lastSent) > slow):
		b.workers++
		go b.work()
	}
	b.mu.Unlock()
	if leads {
		b.flush()
		b.handOver()
	}
	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// handOver leaves what waits to a goroutine, if anything does.
func (b *Coalescer[Q, A]) handOver() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) == 0 {
		b.workers--
		return
	}
	go b.work()
}

// work asks what waits until nothing does.
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

// flush asks what waits. Where several questions came together just now, those are let go first
// who could ask one at once; elsewhere that would only wake a thread.
func (b *Coalescer[Q, A]) flush() {
	b.mu.Lock()
	several := b.contended
	b.mu.Unlock()
	if several {
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

// sendBatch asks for as long as the one who waits longest does.
func (b *Coalescer[Q, A]) sendBatch(batch []*request[Q, A]) {
	questions := make([]Q, 0, len(batch))
	wanted := batch[:0]
	var longest context.Context
	var until time.Time
	for _, a := range batch {
		if a.ctx.Err() != nil {
			continue // nobody waits for it any longer
		}
		questions, wanted = append(questions, a.question), append(wanted, a)
		if d, _ := a.ctx.Deadline(); longest == nil || d.After(until) {
			longest, until = a.ctx, d
		}
	}
	if len(wanted) == 0 {
		return
	}
	answers, err := b.send(longest, questions)
	for i, a := range wanted {
		if a.err = err; err == nil {
			a.answer = answers[i]
		}
		close(a.done)
	}
}
