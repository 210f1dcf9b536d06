package window

import (
	"sync"
	"time"
)

// recentWrites holds the messages and codes that were written to Redis in the last one to two
// minutes, the newest message of each customer. It has two generations, and its size is bounded.
type recentWrites struct {
	mu       sync.Mutex
	new, old generation
	dropped  time.Time // writes up to then may be missing here
}

type generation struct {
	began time.Time
	facts map[Key]int64
	codes []LearntCode
}

const (
	keepRecent = time.Minute
	maxRecent  = 200_000 // per generation
)

// add stores writes that Redis has taken.
func (r *recentWrites) add(now time.Time, facts map[Key]int64, codes []LearntCode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.new.facts == nil || now.Sub(r.new.began) >= keepRecent {
		if r.old.facts != nil {
			r.dropped = r.new.began
		}
		r.old, r.new = r.new, generation{began: now, facts: map[Key]int64{}}
	}
	if len(r.new.facts)+len(facts) > maxRecent || len(r.new.codes)+len(codes) > maxRecent {
		r.dropped = now
		return
	}
	for k, at := range facts {
		r.new.facts[k] = max(r.new.facts[k], at)
	}
	r.new.codes = append(r.new.codes, codes...)
}

// covers reports whether it holds every write after a time. It is false for the zero time.
func (r *recentWrites) covers(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return at.After(r.dropped)
}

// all returns all writes it holds.
func (r *recentWrites) all() (facts map[Key]int64, codes []LearntCode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	facts = map[Key]int64{}
	for _, g := range []generation{r.old, r.new} {
		for k, at := range g.facts {
			facts[k] = max(facts[k], at)
		}
		codes = append(codes, g.codes...)
	}
	return facts, codes
}
