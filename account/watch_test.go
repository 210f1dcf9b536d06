package account_test

import (
	"fmt"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
)

// A year of an account: each change of its standing is found once, at its second.
func TestStandingWatch(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lapses := start.AddDate(0, 6, 0)
	unsubscribed := func(corp string) config.Account {
		return config.Account{CorpID: corp, Subscription: &config.Subscription{Never: true}}
	}
	paying := unsubscribed("ww1")
	paying.Subscription, paying.Contacts = &config.Subscription{ExpiresAt: lapses, Grace: 72 * time.Hour}, numbers(2000, 5000, -1)
	counts := account.NewCounts()
	book := func(accounts ...config.Account) *account.Book {
		b := account.NewBook(accounts)
		b.UseCounts(counts, 6*time.Hour)
		return b
	}
	var w account.StandingWatch
	free, paid := book(unsubscribed("ww1"), config.Account{CorpID: "ww2"}), book(config.Account{CorpID: "ww2"}, paying)
	for _, step := range []struct {
		at    time.Time
		total int // counted at that instant; -1: not
		book  *account.Book
		want  string
	}{
		{start, -1, free, "[]"},
		{start.Add(time.Hour), 1999, free, "[{ww1 active free}]"},
		{start.Add(2 * time.Hour), 1999, free, "[]"},
		{start.AddDate(0, 0, 1), 2000, free, "[{ww1 free full}]"},
		{start.AddDate(0, 0, 1).Add(time.Second), 2001, free, "[]"},
		{start.AddDate(0, 0, 2), 2001, paid, "[{ww1 full active}]"},
		{start.AddDate(0, 1, 0), 5000, paid, "[{ww1 active full}]"},
		{start.AddDate(0, 1, 0).Add(18*time.Hour - time.Second), -1, paid, "[]"},
		{start.AddDate(0, 1, 0).Add(18 * time.Hour), -1, paid, "[{ww1 full active}]"},
		{start.AddDate(0, 2, 0), 4999, paid, "[]"},
		{lapses.Add(-time.Second), -1, paid, "[]"},
		{lapses, -1, paid, "[{ww1 active grace}]"},
		{lapses.Add(time.Hour), 5001, paid, "[{ww1 grace full}]"},
		{lapses.Add(72*time.Hour - time.Second), 5001, paid, "[]"},
		{lapses.Add(72 * time.Hour), -1, paid, "[{ww1 full lapsed}]"},
		{lapses.Add(80 * time.Hour), 1500, paid, "[{ww1 lapsed free}]"},
		{lapses.Add(80*time.Hour + 7*24*time.Hour), -1, paid, "[{ww1 free lapsed}]"},
		{lapses.AddDate(0, 1, 0), -1, book(config.Account{CorpID: "ww2"}), "[]"},
		{lapses.AddDate(0, 1, 0), -1, paid, "[]"},
	} {
		if step.total >= 0 {
			counts.Set("ww1", account.Count{Total: step.total, AsOf: step.at, Source: account.Metered})
		}
		if got := fmt.Sprint(w.Changes(step.book, step.at)); got != step.want {
			t.Errorf("%s: %s, want %s", step.at, got, step.want)
		}
	}
}
