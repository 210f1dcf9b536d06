package account

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
)

// The reasons for which a change of the list of accounts is held until it is confirmed.
const (
	Removed   = "accounts_removed"  // many accounts are missing, as after a failed export
	AloneEnds = "only_account_ends" // calls depend on there being one account
)

// Change is how a list of accounts differs from the one before.
type Change struct {
	Before  int      // number of accounts
	After   int      // likewise
	Removed []Listed // those that are missing after
	Alone   int64    // calls of the last day that belonged to the only account before, and would no longer
}

// Compare returns how a list of accounts differs from the one before; see Change.
func Compare(before, after []Listed, alone int64) Change {
	return Change{Before: len(before), After: len(after), Removed: missing(before, after), Alone: alone}
}

// A list may lose a tenth of its accounts, or two, without being confirmed.
const (
	heldTenth = 10
	heldLeast = 3
)

// Reason returns why the change is held, "" if it is not.
func (c Change) Reason() string {
	switch n := len(c.Removed); {
	case n >= heldLeast && n*heldTenth > c.Before:
		return Removed
	case c.Alone > 0:
		return AloneEnds
	}
	return ""
}

// missing returns the accounts of a list that another list lacks.
func missing(from, in []Listed) (all []Listed) {
	has := make(map[string]bool, len(in))
	for _, a := range in {
		has[a.CorpID] = true
	}
	for _, a := range from {
		if !has[a.CorpID] {
			all = append(all, a)
		}
	}
	return all
}

// maxNames is how many of the removed accounts a text names, maxNameRunes how much of a name.
const (
	maxNames     = 5
	maxNameRunes = 64
)

// Names returns the names of the first removed accounts, at most five.
func (c Change) Names() []string {
	names := []string{}
	for _, a := range c.Removed[:min(len(c.Removed), maxNames)] {
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
	if more := len(c.Removed) - maxNames; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s accounts: %d would be removed: %s", c, len(c.Removed), names)
}
