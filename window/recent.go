package window

import (
	"maps"
	"sync"
	"time"
)

// writes are what a page or a callback adds to Redis. Adding it twice, late or in any order is
// harmless.
type writes struct {
	facts map[Key]int64    // the newest message of each customer, unix ms
	codes []LearntCode     // one-time codes
	marks map[string]int64 // :: key of a gap -> unix ms

	// answers are the replies to each customer, as answer.lua takes them. len does not count them:
	// no refusal depends on them.
	answers map[Key][]string
}

// add merges other into w, whose maps must exist.
func (w *writes) add(other writes) {
	for k, at := range other.facts {
		w.facts[k] = max(w.facts[k], at)
	}
	for key, at := range other.marks {
		w.marks[key] = max(w.marks[key], at)
	}
	w.codes = append(w.codes, other.codes...)
	w.addAnswers(other.answers)
}

// addAnswers merges replies into w.
func (w *writes) addAnswers(answers map[Key][]string) {
	if w.answers == nil && len(answers) > 0 {
		w.answers = make(map[Key][]string, len(answers))
	}
	for k, entries := range answers {
		w.answers[k] = newestEntries(append(w.answers[k], entries...))
	}
}

func (w *writes) len() int { return len(w.facts) + len(w.codes) + len(w.marks) }

// recentWrites holds what was written to Redis in the last one to two minutes. It has two
// generations, and its size is bounded. Times are stamps of the lease's clock.
type recentWrites struct {
	mu       sync.Mutex
	new, old generation
	dropped  int64 // writes up to then may be missing here
}

type generation struct {
	began int64
	writes
}

const (
	keepRecent = time.Minute
	maxRecent  = 200_000 // per generation
)

func newGeneration(now int64) generation {
	return generation{began: now, writes: writes{facts: map[Key]int64{}, marks: map[string]int64{}}}
}

// add stores writes that Redis has taken.
func (r *recentWrites) add(now int64, w writes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now-r.new.began >= keepRecent.Milliseconds() || r.new.facts == nil {
		if r.old.facts != nil {
			r.dropped = r.new.began
		}
		r.old, r.new = r.new, newGeneration(now)
	}
	if r.new.len()+w.len() > maxRecent {
		r.dropped = now
		return
	}
	if len(r.new.answers)+len(w.answers) > maxRecent {
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

// all returns all writes it holds.
func (r *recentWrites) all() writes {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := writes{facts: maps.Clone(r.old.facts), marks: maps.Clone(r.old.marks), codes: append([]LearntCode(nil), r.old.codes...)}
	if w.facts == nil {
		w = newGeneration(0).writes
	}
	w.addAnswers(r.old.answers)
	w.add(r.new.writes)
	return w
}
