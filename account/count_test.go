package account_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
)

// numbers are the contacts of an account in a configuration; -1 is a key that is absent.
func numbers(free, purchased, total int) *config.Contacts {
	c := &config.Contacts{Free: free}
	if purchased >= 0 {
		c.Purchased = &purchased
	}
	if total >= 0 {
		c.Total = &total
	}
	return c
}

// A count changes the standing only as far as the subscription lets it, and only while it is fresh.
func TestStandingByCount(t *testing.T) {
	const (
		every = 6 * time.Hour
		none  = -1
	)
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	hour, day := time.Hour, 24*time.Hour
	until := func(after time.Duration) *config.Subscription {
		return &config.Subscription{ExpiresAt: now.Add(after), Grace: 72 * hour}
	}
	paid, grace, lapsed, never := until(day), until(-day), until(-4*day), &config.Subscription{Never: true}
	for _, test := range []struct {
		name     string
		sub      *config.Subscription
		contacts *config.Contacts
		counted  time.Duration // age of the count by hand; 0: not told
		metered  int           // none: not metered
		age      time.Duration
		want     account.Standing
	}{
		{"no subscription in the file, no tier", nil, numbers(2000, none, 5000), 0, none, 0, account.Active},
		{"no subscription in the file, below its tier", nil, numbers(2000, 5000, 4999), 0, none, 0, account.Active},
		{"no subscription in the file, at its tier", nil, numbers(2000, 5000, 5000), 0, none, 0, account.Full},
		{"paid, no tier told", paid, numbers(2000, none, 50000), 0, none, 0, account.Active},
		{"paid, tier not reached", paid, numbers(2000, 5000, 4999), 0, none, 0, account.Active},
		{"paid, tier reached", paid, numbers(2000, 5000, 5000), 0, none, 0, account.Full},
		{"paid, tier exceeded", paid, numbers(2000, 5000, 5001), 0, none, 0, account.Full},
		{"paid, a tier below the allowance", paid, numbers(2000, 100, 100), 0, none, 0, account.Full},
		{"paid, nothing known", paid, numbers(2000, 5000, none), 0, none, 0, account.Active},
		{"paid, metered at the tier", paid, numbers(2000, 5000, none), 0, 5000, 0, account.Full},
		{"paid, metered, no contacts in the file", paid, nil, 0, 50000, 0, account.Active},
		{"in grace, tier reached", grace, numbers(2000, 5000, 5000), 0, none, 0, account.Full},
		{"in grace, tier not reached", grace, numbers(2000, 5000, 4999), 0, none, 0, account.Grace},
		{"in grace, few", grace, numbers(2000, 5000, 1), 0, none, 0, account.Grace},
		{"lapsed, tier reached", lapsed, numbers(2000, 5000, 5000), 0, none, 0, account.Lapsed},
		{"lapsed, at the allowance", lapsed, numbers(2000, 5000, 2000), 0, none, 0, account.Lapsed},
		{"lapsed, below the allowance", lapsed, numbers(2000, 5000, 1999), 0, none, 0, account.Free},
		{"lapsed, metered below the allowance", lapsed, nil, 0, 1999, 0, account.Free},
		{"lapsed, metered at the allowance", lapsed, nil, 0, 2000, 0, account.Lapsed},
		{"lapsed, nothing known", lapsed, nil, 0, none, 0, account.Lapsed},
		{"never subscribed, nothing known", never, nil, 0, none, 0, account.Active},
		{"never subscribed, below the allowance", never, numbers(2000, none, 1999), 0, none, 0, account.Free},
		{"never subscribed, at the allowance", never, numbers(2000, none, 2000), 0, none, 0, account.Full},
		{"never subscribed, a purchased tier does not matter", never, numbers(2000, 5000, 2000), 0, none, 0, account.Full},
		{"never subscribed, metered at the allowance", never, nil, 0, 2001, 0, account.Full},
		{"never subscribed, metered below", never, nil, 0, 1999, 0, account.Free},

		{"full until three times meter.every", paid, numbers(2000, 5000, none), 0, 5000, 18*hour - time.Millisecond, account.Full},
		{"not full from then on", paid, numbers(2000, 5000, none), 0, 5000, 18 * hour, account.Active},
		{"in grace, not full from then on", grace, numbers(2000, 5000, none), 0, 5000, 18 * hour, account.Grace},
		{"never subscribed, not full from then on", never, nil, 0, 5000, 18 * hour, account.Active},
		{"free for seven days", lapsed, nil, 0, 1999, 7*day - time.Millisecond, account.Free},
		{"not free from then on", lapsed, nil, 0, 1999, 7 * day, account.Lapsed},
		{"never subscribed, free for seven days", never, nil, 0, 1999, 7*day - time.Millisecond, account.Free},
		{"never subscribed, unknown from then on", never, nil, 0, 1999, 7 * day, account.Active},
		{"a count by hand does not age", paid, numbers(2000, 5000, 5000), 365 * day, none, 0, account.Full},
		{"nor does one that makes free", lapsed, numbers(2000, none, 1999), 365 * day, none, 0, account.Free},

		{"the metered count is newer", paid, numbers(2000, 5000, 5000), 2 * hour, 4999, hour, account.Active},
		{"the one by hand is newer", paid, numbers(2000, 5000, 5000), hour, 4999, 2 * hour, account.Full},
		{"both at once: the one by hand", paid, numbers(2000, 5000, 5000), hour, 4999, hour, account.Full},
		{"by hand without a time is older", paid, numbers(2000, 5000, 5000), 0, 4999, 365 * day, account.Active},
		{"a newer count that is too old hides an older one", paid, numbers(2000, 5000, 5000), 3 * day, 5000, 2 * day, account.Active},
		{"a count of the future", paid, numbers(2000, 5000, none), 0, 5000, -hour, account.Full},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.counted != 0 {
				test.contacts.CountedAt = now.Add(-test.counted)
			}
			book := account.NewBook([]config.Account{{CorpID: "ww1", Subscription: test.sub, Contacts: test.contacts}})
			counts := account.NewCounts()
			book.UseCounts(counts, every)
			if test.metered != none {
				counts.Set("ww1", account.Count{Total: test.metered, AsOf: now.Add(-test.age), Source: account.Metered})
			}
			a := book.Find("ww1")
			if got := a.Standing(now); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			// A standing changes by time alone only at one of the instants.
			last := a.Standing(now.Add(-400 * day))
			for at := now.Add(-400 * day); at.Before(now.Add(40 * day)); at = at.Add(hour) {
				next := a.Standing(at.Add(hour))
				between := slices.ContainsFunc(a.Instants(), func(i time.Time) bool { return i.After(at) && !i.After(at.Add(hour)) })
				if next != last && !between {
					t.Fatalf("%s becomes %s after %s", last, next, at)
				}
				last = next
			}
		})
	}
}

// Limit says which number limits the account at an instant, and Stale whether it should have been
// counted again.
func TestLimit(t *testing.T) {
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	paid := &config.Subscription{ExpiresAt: now, Grace: time.Hour}
	for _, test := range []struct {
		sub      *config.Subscription
		contacts *config.Contacts
		at       time.Duration
		want     string
	}{
		{nil, nil, 0, "0 "},
		{nil, numbers(2000, -1, 5), 0, "0 "},
		{nil, numbers(2000, 5000, 5), 0, "5000 purchased"},
		{paid, numbers(100, 5000, 5), -1, "5000 purchased"},
		{paid, numbers(100, 5000, 5), time.Hour - 1, "5000 purchased"},
		{paid, numbers(100, 5000, 5), time.Hour, "100 free"},
		{paid, nil, time.Hour, "2000 free"},
		{&config.Subscription{Never: true}, numbers(100, 5000, 5), 0, "100 free"},
	} {
		book := account.NewBook([]config.Account{{CorpID: "ww1", Subscription: test.sub, Contacts: test.contacts}})
		limit, kind := book.Find("ww1").Limit(now.Add(test.at))
		if got := fmt.Sprint(limit, " ", kind); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
	book, counts := account.NewBook([]config.Account{{CorpID: "ww1"}, {CorpID: "ww2", Contacts: numbers(1, 1, 1)}}), account.NewCounts()
	book.UseCounts(counts, time.Hour)
	counts.Set("ww1", account.Count{AsOf: now, Source: account.Metered})
	for after, want := range map[time.Duration]bool{0: false, 3*time.Hour - 1: false, 3 * time.Hour: true} {
		if got := book.Find("ww1").Stale(now.Add(after)); got != want {
			t.Errorf("stale after %s: %v", after, got)
		}
		if book.Find("ww2").Stale(now.Add(after)) {
			t.Error("a count by hand is stale")
		}
	}
}

// Counts outlive the book, and the newest is kept however many set it at once.
func TestCounts(t *testing.T) {
	counts := account.NewCounts()
	at := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 100 {
				counts.Set("ww1", account.Count{Total: i, AsOf: at.Add(time.Duration((i*37+worker)%100) * time.Second), Source: account.Metered})
			}
		})
	}
	all.Wait()
	for range 2 {
		book := account.NewBook([]config.Account{{CorpID: "ww1"}, {CorpID: "ww2"}})
		book.UseCounts(counts, time.Hour)
		if n, known := book.Find("ww1").Counted(); !known || !n.AsOf.Equal(at.Add(99*time.Second)) {
			t.Errorf("%+v, %v", n, known)
		}
		if free, total, known := book.Find("ww1").Contacts(); free != 2000 || total == 0 || !known {
			t.Errorf("%d of %d, %v", total, free, known)
		}
		if n, known := book.Find("ww2").Counted(); known {
			t.Errorf("%+v", n)
		}
	}
}

// Whatever was counted, however and whenever: an account whose tier is above its count is not
// limited while it is subscribed.
func TestTierAboveTheCount(t *testing.T) {
	random := rand.New(rand.NewPCG(22, 1))
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	for range 1000 {
		purchased := 1 + random.IntN(20_000)
		total := random.IntN(purchased)
		age := time.Duration(random.Int64N(int64(30 * 24 * time.Hour)))
		var until *config.Subscription
		want := account.Active
		switch random.IntN(3) {
		case 0:
			until = &config.Subscription{ExpiresAt: now.Add(1 + time.Duration(random.Int64N(int64(time.Hour))))}
		case 1: // in grace
			until = &config.Subscription{ExpiresAt: now.Add(-time.Duration(random.Int64N(int64(time.Hour)))), Grace: time.Hour}
			want = account.Grace
		}
		c := numbers(random.IntN(4000), purchased, -1)
		counts := account.NewCounts()
		if random.IntN(2) == 0 {
			c.Total, c.CountedAt = &total, now.Add(-age)
		} else {
			counts.Set("ww1", account.Count{Total: total, AsOf: now.Add(-age), Source: account.Metered})
		}
		book := account.NewBook([]config.Account{{CorpID: "ww1", Subscription: until, Contacts: c}})
		book.UseCounts(counts, 6*time.Hour)
		if s := book.Find("ww1").Standing(now); s != want {
			t.Fatalf("%d of %d contacts, counted %s ago, %+v: %s, want %s", total, purchased, age, until, s, want)
		}
	}
}
