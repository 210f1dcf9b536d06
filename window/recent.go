package window

import (
	"sync"
	"time"
)

// recentWrites are the facts of the last minute or two in which any were recorded, of each customer
// the newest. It is bounded.
type recentWrites struct {
	mu       sync.Mutex
	new, old generation
	dropped  time.Time // what was recorded up to then is not among them
}

type generation struct {
	began time.Time
	facts map[Key]int64
	codes []LearntCode
}

const (
	keepRecent = time.Minute
	maxRecent  = 200_000 // in each half
)

// add keeps facts that Redis took.
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

// covers tells whether all that was recorded behind a time is among them; not behind a time that is
// not known.
func (r *recentWrites) covers(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return at.After(r.dropped)
}

// all returns them.
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
