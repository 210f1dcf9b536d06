package window

import (
	"slices"
	"sync/atomic"
	"time"
)

// known remembers what Redis has taken from this gateway, so that a page which a bot pulls again
// costs no round trip. It counts only while this gateway's leases are held without a break: then
// Redis has lost nothing of it. Repeating what is known is never needed for a refusal to be right;
// it restores what Redis lost, so every sign of a loss empties this memory.
type known struct {
	writes *openCache
	from   atomic.Int64 // what was sent up to then does not count, by the lease's clock, unix ms
}

// forgetKnown empties the memory: from now on pages are written to Redis again.
func (s *Store) forgetKnown() { s.known.from.Store(s.stampNow()) }

// stampNow is now by the clock of the leases.
func (s *Store) stampNow() int64 { return stamp(s.leases.began, time.Now()) }

// remember keeps what Redis took. begun is when the first of it was sent.
func (s *Store) remember(w writes, begun int64) {
	if s.embedded() {
		return
	}
	for k, at := range w.facts {
		s.known.writes.put(k.redisKey(s.Prefix), at, begun)
	}
	for _, c := range w.codes {
		s.known.writes.put(knownCode(c), 1, begun)
	}
}

// knownCode is the key of a code that was learnt. No window's key begins like it.
func knownCode(c LearntCode) string { return "code " + c.Text + " " + c.encode() }

// dropKnown removes from w what Redis surely has.
func (s *Store) dropKnown(w *writes) {
	for k, at := range w.facts {
		if s.knows(k.redisKey(s.Prefix), at) {
			delete(w.facts, k)
		}
	}
	w.answers = slices.DeleteFunc(w.answers, func(a answer) bool {
		return a.comesAgain() && s.knows(knownAnswer(a.of.redisKey(s.Prefix), a.entries), 1)
	})
	w.codes = slices.DeleteFunc(slices.Clone(w.codes), func(c LearntCode) bool { return s.knows(knownCode(c), 1) })
}

// knows reports whether Redis surely has what was remembered at a key, as of a time or later.
func (s *Store) knows(key string, at int64) bool {
	e, found := s.known.writes.get(s.known.writes.fingerprint(key))
	return found && e.confirmed > s.known.from.Load() && e.last >= at && s.holdsAll()
}

// misses reports whether a window that Redis does not have should be there: this gateway recorded
// a message that still counts. Something else deleted the key, perhaps with others.
func (s *Store) misses(key string) bool {
	return s.knows(key, s.Now().Add(-s.Length).UnixMilli()+1)
}

// foundMissing has pages written again, after something deleted the key of a window.
func (s *Store) foundMissing() {
	s.Log.Warn("redis no longer has a window that this gateway recorded, so pages are written again: something deletes keys of replygate; windows close is the way to close a window")
	s.forgetKnown()
}

// holdsAll reports whether this gateway holds its lease in every partition, and has heard so from
// Redis within the time to live of a lease. An embedded store has no leases that would show a loss,
// and no round trips to save.
func (s *Store) holdsAll() bool {
	now := time.Now()
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.partitions {
		if !p.lease.holds(now) {
			return false
		}
	}
	return len(l.partitions) > 0
}

// knownAnswer is the key of replies to the customer of a window. No other key begins like it.
func knownAnswer(key, entries string) string { return "replies " + key + " " + entries }

// comesAgain reports whether replies may be on pages, which bots pull again. Those that a bot sent
// are seen once.
func (a answer) comesAgain() bool { return a.entries[0] != byte(ByBot) }

// rememberAnswers keeps the replies that are in a window now. begun is when they were sent.
func (s *Store) rememberAnswers(all []write, begun int64) {
	for i := range all {
		w := &all[i]
		for n, r := range w.recorded() {
			if r.found && w.replies[n].comesAgain() { // a window that is missing may be there then
				s.known.writes.put(knownAnswer(w.keys[n], w.replies[n].entries), 1, begun)
			}
		}
	}
}
