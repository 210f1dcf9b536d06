package account_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
)

var at = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// ids returns accounts with the corp ids ww<from> to ww<to - 1>.
func ids(from, to int) (all []account.Listed) {
	for i := from; i < to; i++ {
		all = append(all, account.Listed{CorpID: fmt.Sprintf("ww%d", i)})
	}
	return all
}

// A list is held if it removes more than a tenth of the accounts, and at least three, or if calls
// depend on the only account.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		before, after []account.Listed
		alone         int64
		reason        string
		removed       int
	}{
		{"the same", ids(0, 301), ids(0, 301), 0, "", 0},
		{"the same in another order", ids(0, 3), []account.Listed{{CorpID: "ww2"}, {CorpID: "ww0"}, {CorpID: "ww1"}}, 0, "", 0},
		{"more", ids(0, 1), ids(0, 301), 0, "", 0},
		{"other names", ids(0, 3), []account.Listed{{CorpID: "ww0", Name: "A"}, {CorpID: "ww1"}, {CorpID: "ww2", Name: "C"}}, 0, "", 0},
		{"one left", ids(0, 301), ids(0, 1), 0, account.Removed, 300},
		{"none left", ids(0, 3), nil, 0, account.Removed, 3},
		{"a tenth of 30", ids(0, 30), ids(3, 30), 0, "", 3},
		{"three of three and alone", ids(0, 3), ids(3, 6), 5, account.Removed, 3},
		{"three of 29", ids(0, 29), ids(3, 29), 0, account.Removed, 3},
		{"four of 30", ids(0, 30), ids(0, 26), 0, account.Removed, 4},
		{"ten of 100", ids(0, 100), ids(10, 100), 0, "", 10},
		{"eleven of 100", ids(0, 100), ids(11, 100), 0, account.Removed, 11},
		{"two of two", ids(0, 2), ids(2, 3), 0, "", 2},
		{"two of three", ids(0, 3), ids(0, 1), 0, "", 2},
		{"three of three", ids(0, 3), ids(3, 6), 0, account.Removed, 3},
		{"as many others", ids(0, 100), ids(50, 150), 0, account.Removed, 50},
		{"another case", []account.Listed{{CorpID: "wwA"}, {CorpID: "wwB"}, {CorpID: "wwC"}}, []account.Listed{{CorpID: "wwa"}, {CorpID: "wwb"}, {CorpID: "wwc"}}, 0, account.Removed, 3},
		{"a second one, calls depend", ids(0, 1), ids(0, 2), 7, account.AloneEnds, 0},
		{"another one, calls depend", ids(0, 1), ids(1, 2), 1, account.AloneEnds, 1},
		{"the first list of all", nil, ids(0, 3), 0, "", 0},
	} {
		c := account.Compare(test.before, test.after, at, test.alone)
		if c.Before != len(test.before) || c.After != len(test.after) || c.Alone != test.alone {
			t.Errorf("%s: %+v", test.name, c)
		}
		if c.Reason() != test.reason || len(c.Removed) != test.removed {
			t.Errorf("%s: %q with %d removed, want %q with %d", test.name, c.Reason(), len(c.Removed), test.reason, test.removed)
		}
	}
}

// lapse gives the first n accounts a subscription that ends at an instant.
func lapse(all []account.Listed, n int, at time.Time) []account.Listed {
	for i := range n {
		all[i].Lapses = at.Unix()
	}
	return all
}

// A list is held if it changes for more than a tenth of the accounts, and at least three, whether
// they have lapsed. What the clock does to both lists is no change.
func TestCompareDates(t *testing.T) {
	t.Parallel()
	past, now, later := at.Add(-time.Hour), at, at.Add(time.Second)
	for _, test := range []struct {
		name           string
		before, after  []account.Listed
		reason         string
		moved, lapsing int
	}{
		{"without dates", lapse(ids(0, 30), 30, past), ids(0, 30), account.Moved, 30, 0},
		{"last year's dates", lapse(ids(0, 30), 30, later), lapse(ids(0, 30), 30, past), account.Moved, 30, 30},
		{"dates where there were none", ids(0, 30), lapse(ids(0, 30), 30, now), account.Moved, 30, 30},
		{"a tenth", ids(0, 30), lapse(ids(0, 30), 3, past), "", 3, 3},
		{"more than a tenth", ids(0, 30), lapse(ids(0, 30), 4, past), account.Moved, 4, 4},
		{"two of two", lapse(ids(0, 2), 2, past), ids(0, 2), "", 2, 0},
		{"renewed later", lapse(ids(0, 30), 30, later), lapse(ids(0, 30), 30, later.Add(time.Hour)), "", 0, 0},
		{"lapsed by both", lapse(ids(0, 30), 30, past), lapse(ids(0, 30), 30, now), "", 0, 0},
		{"new ones are lapsed", ids(0, 3), lapse(ids(0, 300), 300, later), "", 0, 0},
		{"removed too", lapse(ids(0, 30), 30, past), ids(0, 3), account.Removed, 3, 0},
	} {
		c := account.Compare(test.before, test.after, at, 0)
		if c.Reason() != test.reason || len(c.Moved) != test.moved || c.Lapsing != test.lapsing {
			t.Errorf("%s: %q, %d moved, %d lapse", test.name, c.Reason(), len(c.Moved), c.Lapsing)
		}
	}
	c := account.Compare(ids(0, 30), lapse(ids(0, 30), 6, past), at, 0)
	if want := "30 -> 30 accounts: by their dates 6 would lapse at once, and 0 would no longer be lapsed: ww0, ww1, ww2, ww3, ww4 and 1 more"; c.Why() != want {
		t.Error(c.Why())
	}
}

func TestHeldText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("公", 100)
	three := []account.Listed{{CorpID: "wwA", Name: "Acme\x1b\nEast"}, {CorpID: "wwB"}, {CorpID: "wwC", Name: long}}
	for _, test := range []struct {
		before, after []account.Listed
		alone         int64
		names         []string
		why           string
	}{
		{ids(0, 301), ids(0, 1), 0, []string{"ww1", "ww2", "ww3", "ww4", "ww5"}, "301 -> 1 accounts: 300 would be removed: ww1, ww2, ww3, ww4, ww5 and 295 more"},
		{three, ids(0, 1), 0, []string{"Acme  East", "wwB", strings.Repeat("公", 63) + "…"},
			"3 -> 1 accounts: 3 would be removed: Acme  East, wwB, " + strings.Repeat("公", 63) + "…"},
		{ids(0, 1), ids(0, 2), 812, []string{}, "1 -> 2 accounts: 812 calls of the last day had an unknown token, and counted as the only account's for no other reason; " +
			"calls like them would no longer be its, unless the bots fetch their tokens through the gateway or call /corp/<corp_id>/, or accounts[].hosts or accounts[].channels tell whose they are"},
	} {
		c := account.Compare(test.before, test.after, at, test.alone)
		if !slices.Equal(c.Names(), test.names) || c.Why() != test.why {
			t.Errorf("%q: %s", c.Names(), c.Why())
		}
	}
}
