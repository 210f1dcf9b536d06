package window

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
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
	for range 2 {
		r, err := s.reserve(ctx, key)
		if err = errors.Join(err, r.err); err != nil {
			s.warnBroken(k, err)
			return s.cachedAnswer(key, now)
		}
		s.updateCache(key, r.Answer, now)
		if !r.refuses() {
			return r.Answer
		}
		p := s.prover(ctx, question{window: key, scope: s.ofMessages(k)})
		if p.err != nil || p.window.answer(now, s.Length, s.Replies).refuses() {
			return s.confirm(key, r.Answer, p)
		}
	}
	return Answer{State: Unavailable, Left: -1} // it opened twice meanwhile
}

func (s *Store) reserve(ctx context.Context, key string) (result, error) {
	ctx, cancel := s.deadlines.within(ctx)
	defer cancel()
	until, _ := ctx.Deadline()
	return s.reserver(ctx, reservation{key, until})
}

// Peek returns the answers for windows without counting a reply. It takes one round trip, or two if
// some windows are not open.
func (s *Store) Peek(ctx context.Context, keys ...Key) []Answer {
	now := s.Now().UnixMilli()
	timeout := s.Timeout + time.Duration(len(keys))*time.Millisecond
	reading, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	redisKeys := make([]string, len(keys))
	for i, k := range keys {
		redisKeys[i] = k.redisKey(s.Prefix)
	}
	answers := make([]Answer, len(keys))
	var refused []int
	var questions []question
	for i, a := range s.readAll(reading, redisKeys, now) {
		if answers[i] = a.Answer; a.err != nil {
			s.warnBroken(keys[i], a.err)
			answers[i] = s.cachedAnswer(redisKeys[i], now)
			continue
		}
		s.updateCache(redisKeys[i], a.Answer, now)
		if a.refuses() {
			refused, questions = append(refused, i), append(questions, question{window: redisKeys[i], scope: s.ofMessages(keys[i])})
		}
	}
	if len(refused) > 0 {
		proving, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		for n, p := range s.prove(proving, questions...) {
			i := refused[n]
			if now := p.window.answer(now, s.Length, s.Replies); p.err == nil && !now.refuses() {
				answers[i] = now
				continue
			}
			answers[i] = s.confirm(redisKeys[i], answers[i], p)
		}
	}
	return answers
}

// refuses reports whether the answer would refuse a reply, so that it must be proven.
func (a Answer) refuses() bool {
	return a.State == Closed || a.State == Exhausted || a.State == ClosedByPlatform
}

// confirm downgrades a refusal that the proof does not support: to Unproven if Redis may lack newer
// messages, to Incomplete if the history has a gap. A window that WeCom or an operator shut becomes
// Unavailable, since WeCom does not enforce an operator's order and an unproven reply may be sent.
func (s *Store) confirm(key string, a Answer, p proof) Answer {
	unproven := Answer{State: Unproven, Last: a.Last, Left: -1}
	switch {
	case p.err != nil, a.State == ClosedByPlatform && p.cause != "":
		unproven.State = Unavailable
	case p.cause != "": // also if there is a gap: what is about to be written may open the window
	case a.State == Closed && a.Last.IsZero() && s.misses(key):
		s.foundMissing()
	case a.State == Closed && !s.proves(p.history), a.State == Exhausted && !s.provesExhausted(a, p):
		unproven.State = Incomplete
	default:
		if a.State == Closed && s.Replies > 0 {
			a.Left = 0
		}
		return a
	}
	return unproven
}

// provesExhausted reports whether the counted replies are later than the last gap. Before it the
// customer may have written again, and earlier replies would not count.
func (s *Store) provesExhausted(a Answer, p proof) bool {
	return !p.since.After(a.Last) || p.window.sentFrom(counts(p.since.UnixMilli())) >= s.Replies
}

// updateCache stores an open window, and removes any other.
func (s *Store) updateCache(key string, a Answer, now int64) {
	if a.State == Open || a.State == Exhausted { // no reply counts while Redis fails
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
		err = errors.Join(err, closeScript.Run(ctx, s.rdb, []string{key}, last).Err())
		s.cache.forget(key) // last: another reply may have read the window before
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

// maxCorrections bounds the corrections in one pipeline.
const maxCorrections = 256

// Correction is a delivery failure of a reply that WeCom had accepted.
type Correction struct {
	Key     Key
	At      time.Time // of the event that reports it
	Outcome Outcome   // QuotaExhausted or WindowClosed
}

// Correct applies delivery failures to their windows. It leaves out those that Redis has from this
// gateway, unless the customer's message on record is a newer one: bots pull the same pages again
// and again. The error of one does not affect the others; the first is returned.
func (s *Store) Correct(ctx context.Context, all ...Correction) (err error) {
	var left []correction
	for _, c := range all {
		one := correction{Correction: c, key: c.Key.redisKey(s.Prefix)}
		one.last = s.knownLast(one.key)
		uncounted := c.Outcome == QuotaExhausted && s.Replies == 0
		if !uncounted && !s.knows(one.knownAs(), one.last) {
			left = append(left, one)
		}
	}
	for some := range slices.Chunk(left, maxCorrections) {
		err = cmp.Or(err, s.correct(ctx, some))
	}
	return err
}

// correction is a Correction with the key of its window, and the message there, unix ms, as far as
// this gateway knows; at least 1.
type correction struct {
	Correction
	key  string
	last int64
}

// knownAs is the key of a correction that Redis has. No other key begins like it.
func (c correction) knownAs() string {
	return fmt.Sprintf("correction %s %d %d", c.key, c.At.UnixMilli(), c.Outcome)
}

// knownLast returns the message that Redis has from this gateway in a window, unix ms; 1 if none is
// known.
func (s *Store) knownLast(key string) int64 {
	e, _ := s.known.writes.get(s.known.writes.fingerprint(key))
	return max(e.last, 1)
}

// correct applies corrections in one pipeline. A second one repeats those for which Redis does not
// have the script.
func (s *Store) correct(ctx context.Context, all []correction) (err error) {
	begun := s.stampNow()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	p, cmds := s.rdb.Pipeline(), make([]*redis.Cmd, len(all))
	for _, eval := range []bool{false, true} {
		for i, c := range all {
			if !eval || noScript(cmds[i]) {
				cmds[i] = send(ctx, p, correctScript, eval, []string{c.key}, s.correctArgs(c)...)
			}
		}
		_, _ = p.Exec(ctx) // each command has its own error
	}
	for i, c := range all {
		s.cache.forget(c.key)
		switch {
		case cmds[i].Err() != nil:
			err = cmp.Or(err, fmt.Errorf("window: correct: %w", cmds[i].Err()))
		case !s.embedded():
			s.known.writes.put(c.knownAs(), c.last, begun)
		}
	}
	return err
}

// correctArgs are the arguments of correct.lua.
func (s *Store) correctArgs(c correction) []any {
	replies := 0
	if c.Outcome == QuotaExhausted {
		replies = s.Replies
	}
	return []any{c.At.Add(-eventDelay).UnixMilli(), replies}
}

// Close shuts the window of k until the customer writes again. found is false if there is no
// record. Like a message it is written again if Redis loses it: WeCom does not know of it.
func (s *Store) Close(ctx context.Context, k Key) (found bool, err error) {
	key := k.redisKey(s.Prefix)
	defer s.known.writes.forget(key)
	defer s.cache.forget(key)
	s.waitSettled()
	ctx, cancel := context.WithTimeout(ctx, 2*s.Timeout)
	defer cancel()
	w, err := s.read(ctx, key)
	if err != nil || w.Last == 0 {
		return false, err
	}
	_, from, err := s.writeWithRetry(ctx, writes{shut: map[Key]int64{k: w.Last}})
	if err != nil {
		return true, fmt.Errorf("window: close: %w", err)
	}
	time.Sleep(time.Until(from))
	return true, nil
}
