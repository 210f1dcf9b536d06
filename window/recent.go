package window

import (
	"slices"
	"sync"
	"time"
)

// writes are what a page or a callback adds to Redis. Adding it twice, late or in any order is
// harmless.
type writes struct {
	facts map[Key]int64    // the newest message of each customer, unix ms
	codes []LearntCode     // one-time codes
	marks map[string]int64 // :: key of a gap -> unix ms
	shut  map[Key]int64    // the last message of each customer whose window is closed by hand, unix ms

	// answers are the replies to customers. len does not count them: no refusal depends on them.
	answers []answer
}

// add merges other into w, whose maps must exist.
func (w *writes) add(other writes) {
	for k, at := range other.facts {
		w.facts[k] = max(w.facts[k], at)
	}
	for key, at := range other.marks {
		w.marks[key] = max(w.marks[key], at)
	}
	for k, at := range other.shut {
		w.shut[k] = max(w.shut[k], at)
	}
	w.codes = append(w.codes, other.codes...)
	w.answers = append(w.answers, other.answers...)
}

func (w *writes) len() int { return len(w.facts) + len(w.codes) + len(w.marks) + len(w.shut) }

// recentWrites holds what was written to Redis in the last one to two minutes. It has two
// generations, and its size is bounded. Times are stamps of the lease's clock.
type recentWrites struct {
	mu       sync.Mutex
	new, old generation
	dropped  int64 // writes up to then may be missing here
	unkept   int64 // so may replies up to then
}

type generation struct {
	began    int64
	writes              // without answers
	answers  [][]answer // as they came: they are many
	answered int        // how many
}

const (
	keepRecent = time.Minute
	maxRecent  = 200_000 // per generation
)

func newGeneration(now int64) generation {
	return generation{began: now, writes: writes{facts: map[Key]int64{}, marks: map[string]int64{}, shut: map[Key]int64{}}}
}

// add stores writes that Redis has taken.
func (r *recentWrites) add(now int64, w writes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now-r.new.began >= keepRecent.Milliseconds() || r.new.facts == nil {
		if r.old.facts != nil {
			r.dropped = max(r.dropped, r.new.began) // also what was too much for a generation
		}
		r.old, r.new = r.new, newGeneration(now)
	}
	if r.new.len()+w.len() > maxRecent {
		r.dropped = now
		return
	}
	if r.new.answered+len(w.answers) > maxRecent {
		r.unkept, w.answers = now, nil
	}
	if len(w.answers) > 0 {
		r.new.answers, r.new.answered = append(r.new.answers, w.answers), r.new.answered+len(w.answers)
		w.answers = nil
	}
	r.new.add(w)
}

// covers reports whether it holds every write after a time.
func (r *recentWrites) covers(at int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return at > r.dropped
}

// lacks reports whether replies after a time were dropped. Messages since then are kept.
func (r *recentWrites) lacks(at int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unkept > at
}

// all returns all writes it holds.
func (r *recentWrites) all() writes {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := newGeneration(0).writes
	w.add(r.old.writes)
	w.add(r.new.writes)
	w.answers = slices.Concat(slices.Concat(r.old.answers, r.new.answers)...)
	return w
}
