package account

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"
)

// Owner is what is known about the owner of an access token or a channel.
type Owner uint8

// The states of an Owner.
const (
	Unknown     Owner = iota // no gateway has learnt it
	Known                    // its corp is known
	Unreachable              // not in memory, and Redis cannot be read
)

const (
	maxKnown   = 100_000 // entries in memory, for tokens and for channels each
	maxUnknown = 10_000  // entries in each generation of a recentCache

	// lookupAlwaysFor is how long after first sight each call with an unknown token or channel
	// reads Redis: another gateway may have learnt it a moment ago.
	lookupAlwaysFor = 3 * time.Second
	// lookupEvery is how often Redis is read for it after that.
	lookupEvery = time.Second

	sweepEvery = time.Minute
)

type hash [sha256.Size]byte

func hashOf(text string) hash {
	var space [512]byte // longer than WeCom's tokens, so that append does not allocate
	return sha256.Sum256(append(space[:0], text...))
}

// owners caches in memory which corps own tokens, or channels. Known and unknown ones have separate
// space, so that a flood of unknown ones evicts no known one.
type owners struct {
	mu      sync.Mutex
	known   map[hash]entry // at most maxKnown
	swept   time.Time      // when the expired ones were dropped
	unknown recentCache[hash, firstSeen]
}

type entry struct {
	corp  string
	until time.Time     // the entry is current; after that Redis is read again
	grace time.Duration // for which the entry is still used after until
}

func (e entry) valid(now time.Time) bool { return now.Before(e.until.Add(e.grace)) }

// firstSeen is when an unknown token or channel was first seen, and when Redis was last read for
// it.
type firstSeen struct {
	first, lookedUp time.Time
	reauthSince     time.Time    // of a token: the first answer as for an expired token
	retries         []retryCount // of a token: the calls that got such an answer
}

func newOwners() owners {
	return owners{known: map[hash]entry{}, unknown: newRecentCache[hash, firstSeen](maxUnknown)}
}

// find returns the corp that is known to own h. If there is none, shouldLookup reports whether
// Redis must be read.
func (o *owners) find(h hash, now time.Time) (corp string, shouldLookup bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e, ok := o.known[h]; ok {
		if e.valid(now) {
			return e.corp, false
		}
		delete(o.known, h)
	}
	s, seen := o.unknown.get(h)
	return "", !seen || now.Sub(s.first) < lookupAlwaysFor || now.Sub(s.lookedUp) >= lookupEvery
}

// noteUnknown records that Redis has no owner of h.
func (o *owners) noteUnknown(h hash, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, seen := o.unknown.get(h)
	if !seen || now.Before(s.first) {
		s = firstSeen{first: now}
	}
	s.lookedUp = now
	o.unknown.put(h, s)
}

// claim records that e.corp owns h, unless another corp's entry is still valid. It returns the
// owner.
func (o *owners) claim(h hash, e entry, now time.Time) (corp string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, exists := o.known[h]
	switch {
	case exists && before.corp != e.corp && before.valid(now):
		return before.corp
	case !exists && len(o.known) >= maxKnown:
		o.evict(now)
	}
	o.unknown.drop(h)
	o.known[h] = e
	return e.corp
}

// forget drops what is known of h.
func (o *owners) forget(h hash) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, h)
}

// evict makes room for an entry. It drops the expired ones at most once in sweepEvery, else any
// one, since calls wait for mu. The caller must hold mu.
func (o *owners) evict(now time.Time) {
	if now.Sub(o.swept).Abs() >= sweepEvery {
		o.swept = now
		maps.DeleteFunc(o.known, func(_ hash, e entry) bool { return !now.Before(e.until) })
	}
	if len(o.known) < maxKnown {
		return
	}
	for h := range o.known {
		delete(o.known, h)
		break
	}
}
