package window

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Answer is what a window says about one reply.
type Answer struct {
	State State
	Last  time.Time // of the customer's last message; zero if unknown
	Left  int       // replies left after this one; -1 if unknown or not counted
	stamp int64     // of the reservation, 0: none
}

// Closes is when the window closes by itself; zero if there is none on record.
func (a Answer) Closes(length time.Duration) time.Time {
	if a.Last.IsZero() {
		return time.Time{}
	}
	return a.Last.Add(length)
}

// Reserved tells whether a reply is counted that Settle must confirm or take back.
func (a Answer) Reserved() bool { return a.stamp != 0 }

// Reserve asks for the window and counts one reply in it, in one step. It never fails: an answer
// that Redis does not give is a State. A reservation must be given to Settle.
func (s *Store) Reserve(ctx context.Context, k Key) Answer {
	now := s.Now().UnixMilli()
	var space [192]byte
	spelt := k.appendRedisKey(space[:0], s.Prefix)
	if s.Replies == 0 {
		if last, fresh := s.cache.open(spelt, now, s.Length); fresh {
			return Answer{State: Open, Last: time.UnixMilli(last), Left: -1}
		}
	}
	key := string(spelt)
	ctx, cancel := s.deadlines.within(ctx)
	defer cancel()
	said, err := s.reserver.Do(ctx, key)
	if err = errors.Join(err, said.err); err != nil {
		s.warnBroken(k, err, now)
		return s.cachedAnswer(key, now)
	}
	a := said.Answer
	if a.State == Closed { // nothing, or nothing that is not over: Redis has only not dropped it yet
		s.cache.forget(key)
		return s.downgrade(s.missingRecord(s.history(ctx, s.ofMessages(k))).withLast(a.Last))
	}
	s.updateCache(key, a, now)
	if a.State == Exhausted {
		a = s.confirmExhausted(ctx, s.history(ctx, s.ofMessages(k)), key, a)
	}
	return s.downgrade(a)
}

// Peek asks for windows without counting a reply, in one round trip, or two if some are not open.
func (s *Store) Peek(ctx context.Context, keys ...Key) []Answer {
	now := s.Now().UnixMilli()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(keys))*time.Millisecond)
	defer cancel()
	spelt := make([]string, len(keys))
	for i, k := range keys {
		spelt[i] = k.redisKey(s.Prefix)
	}
	found := s.readAll(ctx, spelt, now)
	since := s.historiesOf(ctx, keys, found)
	answers := make([]Answer, len(keys))
	for i, a := range found {
		switch {
		case a.err != nil:
			s.warnBroken(keys[i], a.err, now)
			answers[i] = s.cachedAnswer(spelt[i], now)
			continue
		case a.State == Closed:
			s.cache.forget(spelt[i])
			answers[i] = s.missingRecord(since[s.ofMessages(keys[i])]).withLast(a.Last)
		default:
			s.updateCache(spelt[i], a.Answer, now)
			if answers[i] = a.Answer; a.State == Exhausted {
				answers[i] = s.confirmExhausted(ctx, since[s.ofMessages(keys[i])], spelt[i], a.Answer)
			}
		}
		answers[i] = s.downgrade(answers[i])
	}
	return answers
}

// historiesOf reads the histories that the answers about windows depend on.
func (s *Store) historiesOf(ctx context.Context, keys []Key, found []result) map[scope]history {
	all := map[scope]history{}
	var scopes []scope
	for i, a := range found {
		if a.err != nil || a.State != Closed && a.State != Exhausted {
			continue
		}
		sc := s.ofMessages(keys[i])
		if _, asked := all[sc]; !asked {
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

// note remembers an open window, and forgets one that is not.
func (s *Store) updateCache(key string, a Answer, now int64) {
	if a.State == Open || a.State == Exhausted {
		s.cache.put(key, a.Last.UnixMilli(), now)
		return
	}
	s.cache.forget(key)
}

// cachedAnswer is the answer while Redis is away.
func (s *Store) cachedAnswer(key string, now int64) Answer {
	if last, found := s.cache.find(key, now, s.Length); found {
		return Answer{State: Cached, Last: time.UnixMilli(last), Left: -1}
	}
	return Answer{State: Unavailable, Left: -1}
}

// missingRecord is the answer for a customer without a record: closed if records reach back far enough.
func (s *Store) missingRecord(h history) Answer {
	switch {
	case h.err != nil:
		return Answer{State: Unavailable, Left: -1}
	case !s.proves(h):
		return Answer{State: Incomplete, Left: -1}
	}
	return Answer{State: Closed}
}

// confirmExhausted is an answer of Full only as far as it holds: where a message of the customer may have
// been missed, the replies that went before that count for nothing.
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

// withLast is an answer of nothing for a customer whose last message on record is too long ago; zero:
// there is none.
func (a Answer) withLast(last time.Time) Answer {
	a.Last = last
	return a
}

// answer is what a window says about a reply that is not counted.
func (w Window) answer(now int64, length time.Duration, replies int) Answer {
	a := Answer{State: w.Judge(now, length, replies), Left: w.Left(replies)}
	if w.Last > 0 {
		a.Last = time.UnixMilli(w.Last)
	}
	return a
}

// Outcome is what WeCom said of a reply.
type Outcome uint8

// The outcomes of a reply.
const (
	Sent           Outcome = iota // taken, or perhaps taken: the reply counts
	Rejected                      // certainly not taken: the reservation is given back
	QuotaExhausted                // 95001: the reply counts, and so do all others
	WindowClosed                  // 95002: not taken, and the window is shut
)

// Settle does what WeCom's answer says to a reserved reply of k.
func (s *Store) Settle(ctx context.Context, k Key, a Answer, o Outcome) error {
	key := k.redisKey(s.Prefix)
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	last, stamp := a.Last.UnixMilli(), a.stamp
	if o == QuotaExhausted && stamp == 0 { // it went on uncounted
		stamp = s.Now().UnixMilli()
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

// eventDelay is how long before an event the reply may have gone out that the event tells of. A message
// that the customer wrote within it may be newer than the reply, so the event says nothing of its
// window.
const eventDelay = time.Minute

// Correct does what WeCom says later, in an event of the time given, of a reply of k that it had
// taken: QuotaExhausted or Closing.
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

// Close shuts the window of k as it stands, until the customer writes again. found is false if
// missingRecord is on record.
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
