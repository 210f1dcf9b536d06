package window

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Reasons of gaps, as replygate_gaps_total names them. Those that the leases find are in lease.go.
const (
	gapUnreadable   = "unreadable"   // a page or an item cannot be read
	gapUnattributed = "unattributed" // the account of a page is unknown
	gapUnrecorded   = "unrecorded"   // neither Redis nor the journal took messages
	gapCode         = "code"         // a one-time code could not be recorded
	gapAhead        = "ahead"        // a message is too far ahead of our clock
	gapNewAccount   = "new_account"  // its callbacks were not recorded before
	gapUnsaved      = "unsaved"      // too many losses while neither Redis nor the journal took them
	gapDamaged      = "damaged"      // records of the journal cannot be read any more
)

// GapReasons returns all reasons of gaps.
func GapReasons() []string {
	return []string{
		gapUnreadable, gapUnattributed, gapUnrecorded, gapCode, gapAhead, gapNewAccount, gapUnsaved, gapDamaged,
		gapFlushed, gapForgotten, gapRolledBack, gapUnvouched, gapEvicted, gapRemoved,
	}
}

// counters are what metrics show.
type counters struct {
	drained, drainErrors atomic.Int64

	mu   sync.Mutex
	gaps map[string]int64 // by reason
}

func (c *counters) gap(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gaps == nil {
		c.gaps = map[string]int64{}
	}
	c.gaps[reason]++
}

// GapCounts returns how many gaps were new or moved, by reason.
func (s *Store) GapCounts() map[string]int64 {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return maps.Clone(s.counts.gaps)
}

// Drained returns how many records of the journal were written to Redis, and how often that failed.
func (s *Store) Drained() (records, failures int64) {
	return s.counts.drained.Load(), s.counts.drainErrors.Load()
}
