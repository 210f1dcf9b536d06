package window

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Answer is the state of a window for one reply.
type Answer struct {
	State State
	Last  time.Time // the customer's last message; zero if unknown
	Left  int       // replies left after this one; -1 if unknown or not counted
	stamp int64     // the reservation's stamp, unix ms; 0 = none
}

// Closes returns when the window closes by itself, the zero time if none is on record.
func (a Answer) Closes(length time.Duration) time.Time {
	if a.Last.IsZero() {
		return time.Time{}
	}
	return a.Last.Add(length)
}

// Reserved reports whether a reply is counted, so that Settle must be called.
func (a Answer) Reserved() bool { return a.stamp != 0 }

// Reserve looks up the window of k and counts one reply in it, in one atomic step. A failure of
// Redis is a State. An answer that is Reserved must be passed to Settle.
func (s *Store) Reserve(ctx context.Context, k Key) Answer {
	now := s.Now().UnixMilli()
	var space [192]byte
	encoded := k.appendRedisKey(space[:0], s.Prefix)
	if s.Replies == 0 {
		if last, fresh := s.cache.open(encoded, now, s.Length); fresh {
			return Answer{State: Open, Last: time.UnixMilli(last), Left: -1}
		}
	}
	key := string(encoded)
	ctx, cancel := s.deadlines.within(ctx)
	defer cancel()
	r, err := s.reserver.Do(ctx, key)
	if err = errors.Join(err, r.err); err != nil {
		s.warnBroken(k, err, now)
		return s.cachedAnswer(key, now)
	}
	a := r.Answer
	if a.State == Closed { // no record, or one that has closed and not expired yet
		s.cache.forget(key)
		return s.downgrade(s.missingRecord(s.history(ctx, s.ofMessages(k))).withLast(a.Last))
	}
	s.updateCache(key, a, now)
	if a.State == Exhausted {
		a = s.confirmExhausted(ctx, s.history(ctx, s.ofMessages(k)), key, a)
	}
	return s.downgrade(a)
}

// Peek returns the answers for windows without counting a reply. It takes one round trip, or two if
// some windows are not open.
func (s *Store) Peek(ctx context.Context, keys ...Key) []Answer {
	now := s.Now().UnixMilli()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(keys))*time.Millisecond)
	defer cancel()
	redisKeys := make([]string, len(keys))
	for i, k := range keys {
		redisKeys[i] = k.redisKey(s.Prefix)
	}
	found := s.readAll(ctx, redisKeys, now)
	histories := s.historiesOf(ctx, keys, found)
	answers := make([]Answer, len(keys))
	for i, a := range found {
		switch {
		case a.err != nil:
			s.warnBroken(keys[i], a.err, now)
			answers[i] = s.cachedAnswer(redisKeys[i], now)
			continue
		case a.State == Closed:
			s.cache.forget(redisKeys[i])
			answers[i] = s.missingRecord(histories[s.ofMessages(keys[i])]).withLast(a.Last)
		default:
			s.updateCache(redisKeys[i], a.Answer, now)
			if answers[i] = a.Answer; a.State == Exhausted {
				answers[i] = s.confirmExhausted(ctx, histories[s.ofMessages(keys[i])], redisKeys[i], a.Answer)
			}
		}
		answers[i] = s.downgrade(answers[i])
	}
	return answers
}

// historiesOf reads the histories on which answers about windows depend.
func (s *Store) historiesOf(ctx context.Context, keys []Key, found []result) map[scope]history {
	all := map[scope]history{}
	var scopes []scope
	for i, a := range found {
		if a.err != nil || a.State != Closed && a.State != Exhausted {
			continue
		}
		sc := s.ofMessages(keys[i])
		if _, there := all[sc]; !there {
			all[sc] = history{}
			scopes = append(scopes, sc)
		}
	}
	if len(scopes) == 0 {
		return nil
	}
	for i, h := range s.histories(ctx, scopes...) {
		all[scopes[i]] = h
	}
	return all
}

// updateCache stores an open window, and removes any other.
func (s *Store) updateCache(key string, a Answer, now int64) {
	if a.State == Open || a.State == Exhausted {
		s.cache.put(key, a.Last.UnixMilli(), now)
		return
	}
	s.cache.forget(key)
}

// cachedAnswer is the answer while Redis fails.
func (s *Store) cachedAnswer(key string, now int64) Answer {
	if last, found := s.cache.find(key, now, s.Length); found {
		return Answer{State: Cached, Last: time.UnixMilli(last), Left: -1}
	}
	return Answer{State: Unavailable, Left: -1}
}

// missingRecord is the answer for a customer without a record: Closed only if the history is
// complete.
func (s *Store) missingRecord(h history) Answer {
	switch {
	case h.err != nil:
		return Answer{State: Unavailable, Left: -1}
	case !s.proves(h):
		return Answer{State: Incomplete, Left: -1}
	}
	return Answer{State: Closed}
}

// confirmExhausted downgrades Exhausted to Incomplete if some of the counted replies are older than
// a gap: the customer may have written since, and those replies would not count.
func (s *Store) confirmExhausted(ctx context.Context, h history, key string, a Answer) Answer {
	err := h.err
	if err == nil && !h.since.After(a.Last) {
		return a
	}
	var w Window
	if err == nil {
		w, err = s.read(ctx, key)
	}
	switch {
	case err != nil:
		return Answer{State: Unavailable, Last: a.Last, Left: -1}
	case w.sentFrom(counts(h.since.UnixMilli())) >= s.Replies:
		return a
	}
	return Answer{State: Incomplete, Last: a.Last, Left: -1}
}

// withLast returns the answer with the customer's last message on record, zero if there is none.
func (a Answer) withLast(last time.Time) Answer {
	a.Last = last
	return a
}

// answer is the window's answer for a reply that is not counted.
func (w Window) answer(now int64, length time.Duration, replies int) Answer {
	a := Answer{State: w.Judge(now, length, replies), Left: w.Left(replies)}
	if w.Last > 0 {
		a.Last = time.UnixMilli(w.Last)
	}
	return a
}

// Outcome is WeCom's answer to a reply.
type Outcome uint8

// The outcomes of a reply.
const (
	Sent           Outcome = iota // accepted, or perhaps accepted: the reply counts
	Rejected                      // certainly not accepted: the reservation is released
	QuotaExhausted                // 95001: all replies count as used
	WindowClosed                  // 95002: not accepted, and the window is shut
)

// Settle applies WeCom's answer to a reply of k that Reserve answered with a.
func (s *Store) Settle(ctx context.Context, k Key, a Answer, o Outcome) error {
	key := k.redisKey(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	last, stamp := a.Last.UnixMilli(), a.stamp
	if o == QuotaExhausted && stamp == 0 { // the reply was sent without a reservation
		stamp = stampTime(s.Now().UnixMilli(), s.health.RedisTime(s.nodeOf(ctx, key), time.Now()))
	}
	var err error
	if stamp != 0 && (o == Rejected || o == WindowClosed) {
		err = releaseScript.Run(ctx, s.rdb, []string{key}, stamp).Err()
	}
	if o == QuotaExhausted && s.Replies > 0 && !a.Last.IsZero() {
		err = exhaustScript.Run(ctx, s.rdb, []string{key}, last, stamp, s.Replies).Err()
	}
	if o == WindowClosed && !a.Last.IsZero() {
		s.cache.forget(key)
		err = errors.Join(err, closeScript.Run(ctx, s.rdb, []string{key}, last).Err())
	}
	if err != nil {
		return fmt.Errorf("window: settle: %w", err)
	}
	return nil
}

// eventDelay is the longest time between a reply and the event that reports its failure. A message
// that the customer wrote within it may be newer than the reply, so the event does not concern its
// window.
const eventDelay = time.Minute

// Correct applies a delivery failure of a reply of k that WeCom had accepted. at is the time of the
// event that reports it, and o is QuotaExhausted or WindowClosed.
func (s *Store) Correct(ctx context.Context, k Key, at time.Time, o Outcome) error {
	replies := 0
	if o == QuotaExhausted {
		if replies = s.Replies; replies == 0 {
			return nil // not counted
		}
	}
	key := k.redisKey(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	s.cache.forget(key)
	if err := correctScript.Run(ctx, s.rdb, []string{key}, at.Add(-eventDelay).UnixMilli(), replies).Err(); err != nil {
		return fmt.Errorf("window: correct: %w", err)
	}
	return nil
}

// Close shuts the window of k until the customer writes again. found is false if there is no
// record.
func (s *Store) Close(ctx context.Context, k Key) (found bool, err error) {
	key := k.redisKey(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	s.cache.forget(key)
	w, err := s.read(ctx, key)
	if err != nil || w.Last == 0 {
		return false, err
	}
	if err := closeScript.Run(ctx, s.rdb, []string{key}, w.Last).Err(); err != nil {
		return true, fmt.Errorf("window: close: %w", err)
	}
	return true, nil
}
