package account

import "time"

// StandingChange is a change of one account's standing.
type StandingChange struct {
	CorpID   string
	From, To Standing
}

// StandingWatch finds changes of standings, whatever caused them: time, a count or a new
// configuration. It is not safe for concurrent use.
type StandingWatch struct{ last map[string]Standing }

// Changes returns the accounts whose standing differs from that at the call before, in the order of
// the configuration. Accounts that were not in the book then have not changed.
func (w *StandingWatch) Changes(b *Book, now time.Time) (all []StandingChange) {
	next := make(map[string]Standing, len(b.all))
	for _, a := range b.all {
		s := a.Standing(now)
		if old, known := w.last[a.CorpID]; known && old != s {
			all = append(all, StandingChange{CorpID: a.CorpID, From: old, To: s})
		}
		next[a.CorpID] = s
	}
	w.last = next
	return all
}
