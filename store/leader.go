package store

import (
	"context"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

// Leader runs work in one process at a time, by a lock in Redis.
//
// The lock keeps processes from doing the same work twice, not from doing it at the same time
// after a failover of Redis: such work must bear being repeated.
type Leader struct {
	locks *redislock.Client
	key   string
	term  time.Duration
}

// NewLeader returns a leader for the lock at key. The lock of a process that ended without giving
// it back is free after term.
func NewLeader(rdb redis.UniversalClient, key string, term time.Duration) *Leader {
	return &Leader{locks: redislock.New(rdb), key: key, term: term}
}

// Run calls work whenever this process gets the lock, until ctx ends. Each call's context ends
// with ctx, and before the lock can be another process's. If work returns while it holds the lock,
// the lock is released, and tried for again after a term.
func (l *Leader) Run(ctx context.Context, work func(ctx context.Context)) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if !l.lead(ctx, work) {
			pause.Reset(l.term / 3)
			continue
		}
		pause.Reset(l.term)
	}
}

// lead tries for the lock once and runs work while it holds it. It reports whether work ran.
func (l *Leader) lead(ctx context.Context, work func(ctx context.Context)) bool {
	asked := time.Now()
	asking, done := context.WithTimeout(ctx, l.term/3)
	lock, err := l.locks.Obtain(asking, l.key, l.term, nil)
	done()
	if err != nil {
		return false // another process holds it, or Redis cannot be asked
	}
	leading, resign := context.WithCancel(ctx)
	refreshed := make(chan struct{})
	go func() {
		defer close(refreshed)
		l.refresh(leading, lock, asked)
		resign()
	}()
	work(leading)
	resign()
	<-refreshed
	// Release even at shutdown, so that the next leader need not wait for the term to end.
	releasing, done := context.WithTimeout(context.WithoutCancel(ctx), l.term/3)
	defer done()
	_ = lock.Release(releasing)
	return true
}

// refresh keeps the lock until ctx ends, another process holds it, or it could expire in Redis
// before the next attempt: it was last set or refreshed by a command sent at asked.
func (l *Leader) refresh(ctx context.Context, lock *redislock.Lock, asked time.Time) {
	tick := time.NewTicker(l.term / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		asking, done := context.WithTimeout(ctx, l.term/4)
		err := lock.Refresh(asking, l.term, nil)
		done()
		switch {
		case err == nil:
			asked = now
		case err == redislock.ErrNotObtained, time.Since(asked) > l.term/2:
			return
		}
	}
}
