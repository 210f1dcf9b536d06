package account

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const (
	// reauthFor is how long an unknown token is answered as an expired one, from the first such
	// answer: long enough for an SDK to fetch a new one, short enough that none can repeat for
	// ever.
	reauthFor = 3 * time.Second
	// maxRetries is how often the same call with the same token is answered so: some SDKs repeat
	// without a bound.
	maxRetries = 2
	// maxRetried is how many different calls with the same token are.
	maxRetried = 32
	// maxOfCaller is how often in a minute the same call from the same address is, whatever its
	// token: an SDK that fetches its tokens elsewhere, and gets another one each time, must come to
	// an end too.
	maxOfCaller = 50
	// anewAfter is how long after first sight a token may be answered as expired once more, where
	// that is asked for.
	anewAfter = time.Minute
)

// Retry is a call that may be answered as with an expired token.
type Retry struct {
	Call   string // what tells it from other calls, its token aside
	Caller string // the address that it comes from
	Anew   bool   // a minute after first sight it may begin again
}

// retryCount is a call that was answered so, by its hash, and how often.
type retryCount struct {
	call uint64
	n    int
}

// callers are the calls that were answered so, by the addresses that they came from.
type callers struct {
	mu   sync.Mutex
	seed maphash.Seed
	last recent[uint64, callerCount]
}

type callerCount struct {
	since time.Time
	n     int
}

func newCallers() callers {
	return callers{seed: maphash.MakeSeed(), last: newRecent[uint64, callerCount](maxUnknown)}
}

// Reauthenticate tells whether a call with this unknown token shall be answered as with an expired
// one, so that the bot fetches a new token through the gateway: within three seconds from the first
// such answer, and at most twice. Before that its calls may have been attributed by something else,
// such as the only account.
func (t *Tokens) Reauthenticate(token string, r Retry) bool {
	h, now := hashOf(token), t.now()
	return t.tokens.retry(h, maphash.String(t.callers.seed, r.Call), r.Anew, now) &&
		t.callers.retry(maphash.String(t.callers.seed, r.Caller+" "+r.Call), now)
}

// retry counts a call with an unknown token, and tells whether it is one of the first.
func (o *owners) retry(h hash, call uint64, anew bool, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, seen := o.unknown.get(h)
	if !seen || now.Before(s.first) || anew && now.Sub(s.first) >= anewAfter {
		s = firstSeen{first: now, asked: s.asked}
	}
	if s.offered.IsZero() {
		s.offered = now
	}
	goes := now.Sub(s.offered) < reauthFor && s.count(call)
	o.unknown.put(h, s)
	return goes
}

// count counts a call, and tells whether it is one of the first.
func (s *firstSeen) count(call uint64) bool {
	i := slices.IndexFunc(s.retried, func(r retryCount) bool { return r.call == call })
	switch {
	case i < 0 && len(s.retried) >= maxRetried:
		return false
	case i < 0:
		s.retried = append(s.retried, retryCount{call: call, n: 1})
		return true
	}
	s.retried[i].n++
	return s.retried[i].n <= maxRetries
}

// retry counts a call of a caller, and tells whether it is one of the first of the minute.
func (c *callers) retry(call uint64, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, seen := c.last.get(call)
	if !seen || now.Before(last.since) || now.Sub(last.since) >= time.Minute {
		last = callerCount{since: now}
	}
	last.n++
	c.last.put(call, last)
	return last.n <= maxOfCaller
}
