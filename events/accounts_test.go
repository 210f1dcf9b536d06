package events

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
)

var start = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)

// told lists what Accounts finds, as "type at data", and applies it to what is known.
func told(t *testing.T, w *Accounts, known map[string]string, now time.Time) (all []string, next time.Time) {
	t.Helper()
	found, next := w.find(t.Context(), known, now)
	for i := range found {
		e := &found[i]
		if known[e.Field] != e.Was || e.Field == "" || e.Value == e.Was {
			t.Errorf("%+v", e)
		}
		known[e.Field] = e.Value
		if e.Type == "" {
			continue
		}
		if _, err := e.Encode(); err != nil {
			t.Error(err)
		}
		text := e.Type + " " + e.At.UTC().Format("01-02T15:04")
		switch d := e.Data.(type) {
		case SoonData:
			text += fmt.Sprintf(" %d days, %d stop, %d calls", d.DaysLeft, len(d.Stops), *d.Calls7d)
		case StandingData:
			text += " " + d.From + " to " + d.To
		case ContactsData:
			text += fmt.Sprintf(" %d of %d %s, %d%% %v", d.Total, d.Limit, d.LimitKind, d.Percent, d.Exact)
		}
		all = append(all, text)
	}
	return all, next
}

// accountsOf is one account, with what is known of its contacts.
func accountsOf(a config.Account, state *contacts.State) (w *Accounts, use func(config.Account)) {
	counts := account.NewCounts()
	var book *account.Book
	use = func(a config.Account) {
		book = account.NewBook([]config.Account{a})
		book.UseCounts(counts, 6*time.Hour)
	}
	use(a)
	calls := 77
	return &Accounts{
		Book: func() *account.Book { return book },
		State: func(corp string) contacts.State {
			if !state.AsOf.IsZero() {
				counts.Set(corp, state.Count.Count)
			}
			return *state
		},
		Warn:    func() []config.Percent { return []config.Percent{80, 90, 95} },
		Stops:   func(*account.Account, time.Time) []string { return []string{"mass_message"} },
		Calls7d: func(string) *int { return &calls },
		FullOn:  func(context.Context, *account.Account, int, int, time.Time) string { return "" },
	}, use
}

// An account is announced at each of the days before its ends, and changes its standing at the very
// instant, told once; renewing it is told too.
func TestAccountLapses(t *testing.T) {
	a := config.Account{CorpID: "wwA", Name: "A", Subscription: &config.Subscription{ExpiresAt: start.Add(40 * day), Grace: 72 * time.Hour}}
	w, use := accountsOf(a, &contacts.State{})
	known := map[string]string{}
	var all []string
	walk := func(until time.Time, now time.Time) time.Time {
		for now.Before(until) {
			some, next := told(t, w, known, now)
			all = append(all, some...)
			if again, _ := told(t, w, known, now.Add(time.Millisecond)); len(again) > 0 {
				t.Errorf("%s twice", again)
			}
			if next.IsZero() {
				return until
			}
			now = next
		}
		return now
	}
	walk(start.Add(50*day), start)
	want := []string{
		"account.expires_soon 12-02T04:00 30 days, 1 stop, 77 calls",
		"account.stops_soon 12-05T04:00 30 days, 1 stop, 77 calls",
		"account.expires_soon 12-18T04:00 14 days, 1 stop, 77 calls",
		"account.stops_soon 12-21T04:00 14 days, 1 stop, 77 calls",
		"account.expires_soon 12-25T04:00 7 days, 1 stop, 77 calls",
		"account.stops_soon 12-28T04:00 7 days, 1 stop, 77 calls",
		"account.expires_soon 12-29T04:00 3 days, 1 stop, 77 calls",
		"account.expires_soon 12-31T04:00 1 days, 1 stop, 77 calls",
		"account.standing_changed 01-01T04:00 active to grace",
		"account.stops_soon 01-01T04:00 3 days, 1 stop, 77 calls",
		"account.stops_soon 01-03T04:00 1 days, 1 stop, 77 calls",
		"account.standing_changed 01-04T04:00 grace to lapsed",
	}
	if !slices.Equal(all, want) {
		t.Errorf("%s", strings.Join(all, "\n"))
	}
	a.Subscription = &config.Subscription{ExpiresAt: start.Add(365 * day)}
	use(a)
	if all, _ := told(t, w, known, start.Add(51*day)); len(all) != 1 || all[0] != "account.standing_changed 01-12T04:00 lapsed to active" {
		t.Errorf("%s", all)
	}
}

// After a pause the last announcement that is due is made, and no other.
func TestAccountsAfterAPause(t *testing.T) {
	a := config.Account{CorpID: "wwA", Subscription: &config.Subscription{ExpiresAt: start.Add(10 * day)}}
	w, use := accountsOf(a, &contacts.State{})
	known := map[string]string{}
	if all, _ := told(t, w, known, start); len(all) != 2 || !strings.Contains(all[0], "11-18T04:00 10 days") {
		t.Errorf("%s", all)
	}
	if all, _ := told(t, w, known, start.Add(11*day)); len(all) != 1 || all[0] != "account.standing_changed 12-02T04:00 active to lapsed" {
		t.Errorf("%s", all)
	}
	use(config.Account{CorpID: "wwB"})
	if fields := w.stale(known); len(fields) != len(known) || !slices.Contains(slices.Collect(maps.Keys(known)), fields[0]) {
		t.Errorf("%s of %v", fields, known)
	}
}

// Thresholds of contacts are told as they rise; an estimate that falls takes none back.
func TestContactsThresholds(t *testing.T) {
	purchased := 1000
	a := config.Account{CorpID: "wwA", Subscription: &config.Subscription{ExpiresAt: start.Add(400 * day)}, Contacts: &config.Contacts{Free: 100, Purchased: &purchased}}
	var state contacts.State
	w, use := accountsOf(a, &state)
	known := map[string]string{}
	now := start
	look := func(want ...string) {
		t.Helper()
		now = now.Add(time.Hour)
		all, _ := told(t, w, known, now)
		for i := range all {
			all[i] = all[i][len("contacts.threshold 11-22T05:00 "):]
		}
		if !slices.Equal(all, want) {
			t.Errorf("%q, want %q", all, want)
		}
	}
	counts := func(n int) {
		state = contacts.State{Count: contacts.Count{Count: account.Count{Total: n, AsOf: now, Source: account.Metered}}}
	}
	moves := func(by int) { state.Moved, state.MovedAt = by, now }
	look()
	counts(700)
	look()
	moves(100)
	look("800 of 1000 purchased, 80% false")
	moves(50)
	look()
	moves(120)
	look()
	counts(960)
	look("960 of 1000 purchased, 95% true")
	counts(850)
	look()
	counts(901)
	look("901 of 1000 purchased, 90% true")
	purchased = 950
	use(a)
	look("901 of 950 purchased, 90% true")
}
