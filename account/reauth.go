package account

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const (
	// reauthPeriod is how long an unknown token is answered as an expired one, from the first such
	// answer: long enough for an SDK to fetch a new token, short enough to end a loop.
	reauthPeriod = 3 * time.Second
	// maxRepeats is how often the same call with the same token gets that answer: some SDKs retry
	// without a limit.
	maxRepeats = 2
	// maxCalls is how many different calls with the same token get it.
	maxCalls = 32
	// maxPerCaller is how often in a minute the same call from the same address gets it, whatever
	// its token: an SDK that fetches its tokens elsewhere, and gets another one each time, must
	// stop too.
	maxPerCaller = 50
	// restartAfter is how long after first sight a token may get that answer again, if Retry.Anew.
	restartAfter = time.Minute
)

// Retry is a call that may be answered as if its token had expired.
type Retry struct {
	Call   string // identifies the call, without its token
	Caller string // the address that it comes from
	Anew   bool   // the token may start again a minute after first sight
}

// retryCount counts the answers to one call, which is identified by its hash.
type retryCount struct {
	call uint64
	n    int
}

// callerCounts counts the answers per call and caller, whatever the token.
type callerCounts struct {
	mu      sync.Mutex
	seed    maphash.Seed
	entries recentCache[uint64, callerCount]
}

type callerCount struct {
	since time.Time
	n     int
}

func newCallerCounts() callerCounts {
	return callerCounts{seed: maphash.MakeSeed(), entries: newRecentCache[uint64, callerCount](maxUnknown)}
}

// Reauthenticate reports whether a call with this unknown token is to be answered as if the token
// had expired, so that the bot fetches a new one through the gateway: within three seconds of the
// first such answer, and at most twice for the same call. First sight does not count, since earlier
// calls may have been attributed in another way, such as by the only account.
func (t *Tokens) Reauthenticate(token string, r Retry) bool {
	h, now := hashOf(token), t.now()
	return t.tokens.countRetry(h, maphash.String(t.callers.seed, r.Call), r.Anew, now) &&
		t.callers.count(maphash.String(t.callers.seed, r.Caller+" "+r.Call), now)
}

// countRetry counts a call with an unknown token, and reports whether it is within the limits.
func (o *owners) countRetry(h hash, call uint64, anew bool, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, seen := o.unknown.get(h)
	if !seen || now.Before(s.first) || anew && now.Sub(s.first) >= restartAfter {
		s = firstSeen{first: now, lookedUp: s.lookedUp}
	}
	if s.reauthSince.IsZero() {
		s.reauthSince = now
	}
	allowed := now.Sub(s.reauthSince) < reauthPeriod && s.count(call)
	o.unknown.put(h, s)
	return allowed
}

// count counts a call, and reports whether it is within maxCalls and maxRepeats.
func (s *firstSeen) count(call uint64) bool {
	i := slices.IndexFunc(s.retries, func(r retryCount) bool { return r.call == call })
	switch {
	case i < 0 && len(s.retries) >= maxCalls:
		return false
	case i < 0:
		s.retries = append(s.retries, retryCount{call: call, n: 1})
		return true
	}
	s.retries[i].n++
	return s.retries[i].n <= maxRepeats
}

// count counts a call of a caller, and reports whether it is within maxPerCaller.
func (c *callerCounts) count(call uint64, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, seen := c.entries.get(call)
	if !seen || now.Before(e.since) || now.Sub(e.since) >= time.Minute {
		e = callerCount{since: now}
	}
	e.n++
	c.entries.put(call, e)
	return e.n <= maxPerCaller
}
