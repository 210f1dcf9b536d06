package backfill

import (
	"sync"
	"sync/atomic"
)

type counter interface{ Add(int64) int64 }

// replayCounts count what a Replayer did.
type replayCounts struct {
	running                                       atomic.Int64 // secrets
	calls, messages                               atomic.Int64
	complete, missed, unreadable, failed, refused atomic.Int64

	mu      sync.Mutex
	useless map[string]bool // ids of the secrets that WeCom refuses
}

// setUseless notes whether WeCom refuses a secret.
func (c *replayCounts) setUseless(id string, useless bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.useless == nil {
		c.useless = map[string]bool{}
	}
	if c.useless[id] = useless; !useless {
		delete(c.useless, id)
	}
}

// keepUseless forgets all secrets but these.
func (c *replayCounts) keepUseless(ids map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.useless {
		if !ids[id] {
			delete(c.useless, id)
		}
	}
}

// Counts is what a Replayer did since the start of the process.
type Counts struct {
	Running  int64            // secrets in use at the moment
	Refused  int              // secrets that WeCom refuses at the moment; 0 if another gateway replays
	Calls    int64            // of kf/sync_msg
	Messages int64            // of customers, in the pages
	Results  map[string]int64 // of replays, by result
}

// Results are the results of replays: complete (a channel's gap ended), missed (a new gap came
// meanwhile), unreadable (a page could not be read to its end), failed (WeCom or Redis did not
// answer, or WeCom refused the channel), refused (WeCom refused the secret).
func Results() []string { return []string{"complete", "missed", "unreadable", "failed", "refused"} }

// Counts returns what was done so far.
func (r *Replayer) Counts() Counts {
	c := &r.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{Running: c.running.Load(), Refused: len(c.useless), Calls: c.calls.Load(), Messages: c.messages.Load(), Results: map[string]int64{
		"complete": c.complete.Load(), "missed": c.missed.Load(), "unreadable": c.unreadable.Load(), "failed": c.failed.Load(), "refused": c.refused.Load(),
	}}
}
