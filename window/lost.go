package window

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"replygate/store"
)

// lostReplies holds the reservations that Redis may have counted for this gateway although no
// answer came in time. Nothing was sent with them, so they are taken back before the next one in
// the same window, or by Run: else a slow Redis would use up replies that the customer never got.
type lostReplies struct {
	mu       sync.Mutex
	instants map[string][]int64 // :: key of a window -> instants that reserve.lua was given, unix ms
}

// maxLost bounds the reservations of one window. Beyond the allowed replies Redis counts none.
const maxLost = 64

func (l *lostReplies) add(key string, instants ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.instants) >= maxUnanswered { // of an outage long ago
		clear(l.instants)
	}
	if all := append(l.instants[key], instants...); len(all) <= maxLost {
		put(&l.instants, key, all)
	}
}

// take removes and returns the reservations of a window.
func (l *lostReplies) take(key string) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	instants := l.instants[key]
	delete(l.instants, key)
	return instants
}

// some returns the key of a window that has any.
func (l *lostReplies) some() (key string, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.instants {
		return key, true
	}
	return "", false
}

// noteLost keeps the reservations of keys at now, if err leaves open whether Redis counted them.
func (s *Store) noteLost(err error, now int64, keys ...string) {
	if err == nil || errors.Is(err, store.ErrAway) || store.Classify(err).Has(store.Rejected) {
		return
	}
	for _, key := range keys {
		s.lost.add(key, now)
	}
}

// dropLate replaces the answers that come when their callers have given up, or are about to.
func (s *Store) dropLate(answers []result, all []reservation) {
	for i, r := range all {
		if a := &answers[i]; a.stamp != 0 && time.Until(r.until) < time.Millisecond {
			s.lost.add(r.key, a.stamp)
			*a = result{err: errLate}
		}
	}
}

// takeBack takes the lost reservations of a window back. On an error they are kept.
func (s *Store) takeBack(ctx context.Context, key string) error {
	instants := s.lost.take(key)
	if len(instants) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	args := make([]any, len(instants))
	for i, at := range instants {
		args[i] = at
	}
	if err := takeBackScript.Run(ctx, s.rdb, []string{key}, args...).Err(); err != nil {
		s.lost.add(key, instants...)
		return fmt.Errorf("window: take replies back: %w", err)
	}
	return nil
}

// takeAllBack takes back what it can before ctx ends, or Redis fails.
func (s *Store) takeAllBack(ctx context.Context) {
	for ctx.Err() == nil {
		key, found := s.lost.some()
		if !found || s.takeBack(ctx, key) != nil {
			return
		}
	}
}
