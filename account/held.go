package account

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// The reasons for which a change of the list of accounts is held until it is confirmed.
const (
	Removed   = "accounts_removed"  // many accounts are missing, as after a failed export
	Moved     = "standings_change"  // many lapse at once, or no longer are lapsed, as with wrong dates
	AloneEnds = "only_account_ends" // calls depend on there being one account
)

// Change is how a list of accounts differs from the one before.
type Change struct {
	Before  int      // number of accounts
	After   int      // likewise
	Removed []Listed // those that are missing after
	Moved   []Listed // those that have lapsed by one list, and not by the other one
	Lapsing int      // those of Moved that lapse
	Alone   int64    // calls of the last day that belonged to the only account before, and would no longer
}

// Compare returns how a list of accounts differs from the one before, at an instant; see Change.
func Compare(before, after []Listed, now time.Time, alone int64) Change {
	c := Change{Before: len(before), After: len(after), Alone: alone}
	next := make(map[string]Listed, len(after))
	for _, a := range after {
		next[a.CorpID] = a
	}
	for _, a := range before {
		switch b, kept := next[a.CorpID]; {
		case !kept:
			c.Removed = append(c.Removed, a)
		case a.lapsed(now) != b.lapsed(now):
			c.Moved = append(c.Moved, b)
			if b.lapsed(now) {
				c.Lapsing++
			}
		}
	}
	return c
}

// A list may lose a tenth of its accounts, or two, without being confirmed, and change the standing
// of as many.
const (
	heldTenth = 10
	heldLeast = 3
)

// Reason returns why the change is held, "" if it is not.
func (c Change) Reason() string {
	many := func(n int) bool { return n >= heldLeast && n*heldTenth > c.Before }
	switch {
	case many(len(c.Removed)):
		return Removed
	case many(len(c.Moved)):
		return Moved
	case c.Alone > 0:
		return AloneEnds
	}
	return ""
}

// concerned returns the accounts for which the change is held, else those that are removed.
func (c Change) concerned() []Listed {
	if c.Reason() == Moved {
		return c.Moved
	}
	return c.Removed
}

// maxNames is how many accounts a text names, maxNameRunes how much of a name.
const (
	maxNames     = 5
	maxNameRunes = 64
)

// Names returns the names of the first accounts that are concerned, at most five.
func (c Change) Names() []string {
	names, all := []string{}, c.concerned()
	for _, a := range all[:min(len(all), maxNames)] {
		name := []rune(strings.Map(printable, cmp.Or(a.Name, a.CorpID)))
		if len(name) > maxNameRunes {
			name = append(name[:maxNameRunes-1], '…')
		}
		names = append(names, string(name))
	}
	return names
}

// printable replaces what a terminal would act on.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// String returns the numbers of accounts, like "301 -> 1".
func (c Change) String() string { return fmt.Sprintf("%d -> %d", c.Before, c.After) }

// Why says in words what a held change would do.
func (c Change) Why() string {
	if c.Reason() == AloneEnds {
		return fmt.Sprintf("%s accounts: %d calls of the last day had an unknown token, and counted as the only account's for no other reason; calls like them would no longer be its, unless the bots fetch their tokens through the gateway or call /corp/<corp_id>/, or accounts[].hosts or accounts[].channels tell whose they are", c, c.Alone)
	}
	names := strings.Join(c.Names(), ", ")
	if more := len(c.concerned()) - maxNames; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	if back := len(c.Moved) - c.Lapsing; c.Reason() == Moved {
		return fmt.Sprintf("%s accounts: by their dates %d would lapse at once, and %d would no longer be lapsed: %s", c, c.Lapsing, back, names)
	}
	return fmt.Sprintf("%s accounts: %d would be removed: %s", c, len(c.Removed), names)
}
