package contacts_test

import (
	"testing"
	"time"

	"replygate/contacts"
)

// days returns a history that ends on the day of start: a total for each of the last days, -1 for
// none.
func days(totals ...int) (all []contacts.Day) {
	for i, total := range totals {
		if total >= 0 {
			at := start.AddDate(0, 0, i-len(totals)+1)
			all = append(all, contacts.Day{Date: at.Add(8 * time.Hour).Format(time.DateOnly), Total: total})
		}
	}
	return all
}

// linear is a total that changes by a step each day, over n days.
func linear(n, first, step int) (totals []int) {
	for i := range n {
		totals = append(totals, first+i*step)
	}
	return totals
}

func TestPace(t *testing.T) {
	gap := linear(31, 1000, 10)
	for i := 1; i < 20; i++ {
		gap[i] = -1
	}
	for _, test := range []struct {
		name    string
		history []contacts.Day
		after   time.Duration // of now, after the newest day
		want    contacts.Pace
		known   bool
	}{
		{"nothing", nil, 0, contacts.Pace{}, false},
		{"one day", days(1000), 0, contacts.Pace{}, false},
		{"six days", days(linear(7, 1000, 10)...), 0, contacts.Pace{}, false},
		{"a week", days(linear(8, 1000, 10)...), 0, contacts.Pace{Days: 7, From: 1000, Change: 70}, true},
		{"a month", days(linear(31, 1000, 10)...), 0, contacts.Pace{Days: 30, From: 1000, Change: 300}, true},
		{"a year", days(linear(366, 1000, 10)...), 0, contacts.Pace{Days: 30, From: 4350, Change: 300}, true},
		{"with days left out", days(gap...), 0, contacts.Pace{Days: 30, From: 1000, Change: 300}, true},
		{"falling", days(linear(31, 1000, -10)...), 0, contacts.Pace{Days: 30, From: 1000, Change: -300}, true},
		{"the newest a week ago", days(linear(31, 1000, 10)...), 7 * 24 * time.Hour, contacts.Pace{Days: 30, From: 1000, Change: 300}, true},
		{"the newest over a week ago", days(linear(31, 1000, 10)...), 9 * 24 * time.Hour, contacts.Pace{}, false},
		{"not a date", []contacts.Day{{Date: "2026-13-01"}}, 0, contacts.Pace{}, false},
	} {
		got, known := contacts.Measure(test.history, start.Add(test.after))
		if known != test.known || got != test.want {
			t.Errorf("%s: %+v, %v", test.name, got, known)
		}
	}
}

func TestFullOn(t *testing.T) {
	day := 24 * time.Hour
	for _, test := range []struct {
		name         string
		pace         contacts.Pace
		total, limit int
		after        time.Duration
		known        bool
	}{
		{"ten a day", contacts.Pace{Days: 30, Change: 300}, 1900, 2000, 10 * day, true},
		{"two in three days", contacts.Pace{Days: 30, Change: 20}, 1998, 2000, 3 * day, true},
		{"full", contacts.Pace{Days: 30, Change: 300}, 2000, 2000, 0, true},
		{"above", contacts.Pace{}, 2001, 2000, 0, true},
		{"no growth", contacts.Pace{Days: 30}, 1999, 2000, 0, false},
		{"falling", contacts.Pace{Days: 30, Change: -1}, 1999, 2000, 0, false},
		{"in a hundred years", contacts.Pace{Days: 30, Change: 1}, 783, 2000, 0, false},
		{"unknown", contacts.Pace{}, 1999, 2000, 0, false},
	} {
		at, known := test.pace.FullOn(test.total, test.limit, start)
		if known != test.known || known && at.Sub(start.Add(test.after)).Abs() > time.Second {
			t.Errorf("%s: %s, %v", test.name, at, known)
		}
	}
}
