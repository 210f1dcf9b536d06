package contacts

import (
	"time"

	"replygate/account"
	"replygate/config"
)

// Levels finds the accounts of which an operator must be told: those that come near their limit,
// and those whose count is stale. It is not safe for concurrent use.
type Levels struct{ last map[string]Level }

// Level is how near an account is to its limit.
type Level struct {
	CorpID    string
	Percent   config.Percent // the highest of meter.warn that is reached, 100 at the limit; 0: none
	Stale     bool           // it should have been counted again
	Number    Number
	Limit     int
	LimitKind account.LimitKind
}

// LevelOf returns the level of an account at an instant. s is what is stored of it.
func LevelOf(a *account.Account, s State, warn []config.Percent, now time.Time) Level {
	l := Level{CorpID: a.CorpID}
	known := false
	l.Number, known = NumberOf(a, s)
	l.Limit, l.LimitKind = a.Limit(now)
	l.Stale = known && a.Stale(now)
	if !known || l.LimitKind == account.NoLimit {
		return l
	}
	for _, p := range append([]config.Percent{100}, warn...) {
		if p > l.Percent && l.Number.Total*100 >= l.Limit*int(p) {
			l.Percent = p
		}
	}
	return l
}

// Raised returns the accounts that reached a higher level since the call before, or whose count
// became stale. At the first call these are all that have reached one.
func (l *Levels) Raised(book *account.Book, state func(corp string) State, warn []config.Percent, now time.Time) (all []Level) {
	next := make(map[string]Level, len(book.All()))
	for _, a := range book.All() {
		level, before := LevelOf(a, state(a.CorpID), warn, now), l.last[a.CorpID]
		if level.Percent > before.Percent || level.Stale && !before.Stale {
			all = append(all, level)
		}
		next[a.CorpID] = level
	}
	l.last = next
	return all
}
