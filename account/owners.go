package account

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Owner is what is known of who owns an access token or a channel.
type Owner uint8

// What is known of a token or a channel.
const (
	Unknown     Owner = iota // nobody learnt it
	Known                    // its corp is known
	Unreachable              // not in memory, and Redis does not answer
)

const (
	maxKnown   = 100_000 // remembered in the process, of tokens and of channels
	maxUnknown = 10_000  // likewise, in each half of what is recent

	// askAlways is how long after first sight Redis is asked with every call for an unknown token
	// or channel: another gateway may have learnt it a moment ago.
	askAlways = 3 * time.Second
	// askEvery is how often Redis is asked for it then.
	askEvery = time.Second
)

type hash [sha256.Size]byte

func hashOf(text string) hash {
	var space [512]byte // longer than WeCom's tokens
	return sha256.Sum256(append(space[:0], text...))
}

// owners remembers in the process which corps own tokens, or channels. What is known has a room of
// its own: what is unknown, however much of it comes, pushes none of it out.
type owners struct {
	mu      sync.Mutex
	known   map[hash]entry
	unknown recent[hash, firstSeen]
}

type entry struct {
	corp  string
	until time.Time     // it is believed; then Redis is asked again
	after time.Duration // for so long after that it is believed without asking
}

// firstSeen is when an unknown token or channel was seen first, and when Redis was asked for it
// last.
type firstSeen struct {
	first, asked time.Time
	offered      time.Time    // of a token: when it was first to be answered as an expired one
	retried      []retryCount // of a token: the calls that were answered as with an expired one
}

func newOwners() owners {
	return owners{known: map[hash]entry{}, unknown: newRecent[hash, firstSeen](maxUnknown)}
}

// find returns the corp that is known to own h; ask tells whether Redis may know one by now.
func (o *owners) find(h hash, now time.Time) (corp string, ask bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.known[h]; ok {
		if now.Before(k.until.Add(k.after)) {
			return k.corp, false
		}
		delete(o.known, h)
	}
	s, seen := o.unknown.get(h)
	return "", !seen || now.Sub(s.first) < askAlways || now.Sub(s.asked) >= askEvery
}

// missed notes that Redis knows no corp that owns h.
func (o *owners) missed(h hash, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, seen := o.unknown.get(h)
	if !seen || now.Before(s.first) {
		s = firstSeen{first: now}
	}
	s.asked = now
	o.unknown.put(h, s)
}

// remember notes which corp owns h, and returns the one that does: the first one stays.
func (o *owners) remember(h hash, k entry, now time.Time) (corp string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, there := o.known[h]
	switch {
	case there && before.corp != k.corp && now.Before(before.until.Add(before.after)):
		return before.corp
	case !there && len(o.known) >= maxKnown:
		o.makeRoom(now)
	}
	o.unknown.drop(h)
	o.known[h] = k
	return k.corp
}

// makeRoom drops what is over, and one more if nothing is.
func (o *owners) makeRoom(now time.Time) {
	dropped := false
	for h, k := range o.known {
		if !dropped || !now.Before(k.until) {
			delete(o.known, h)
			dropped = true
		}
	}
}
