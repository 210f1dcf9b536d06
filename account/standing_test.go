package account_test

import (
	"slices"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
)

func TestStanding(t *testing.T) {
	expires := time.Date(2026, 10, 1, 0, 0, 0, 0, time.FixedZone("", 8*3600))
	paid := &config.Subscription{ExpiresAt: expires, Grace: 72 * time.Hour}
	total := func(n int) *config.Contacts { return &config.Contacts{Free: 2000, Total: &n} }
	for _, test := range []struct {
		name string
		c    config.Account
		at   time.Duration // from expires
		want account.Standing
	}{
		{"no subscription in the file", config.Account{}, 1e6 * time.Hour, account.Active},
		{"the last millisecond", config.Account{Subscription: paid}, -time.Millisecond, account.Active},
		{"the moment it ends", config.Account{Subscription: paid}, 0, account.Grace},
		{"the last of grace", config.Account{Subscription: paid}, 72*time.Hour - time.Millisecond, account.Grace},
		{"the moment grace ends", config.Account{Subscription: paid}, 72 * time.Hour, account.Lapsed},
		{"below the free allowance", config.Account{Subscription: paid, Contacts: total(1999)}, 72 * time.Hour, account.Free},
		{"at the free allowance", config.Account{Subscription: paid, Contacts: total(2000)}, 72 * time.Hour, account.Lapsed},
		{"a number that is not known", config.Account{Subscription: paid, Contacts: &config.Contacts{Free: 2000}}, 72 * time.Hour, account.Lapsed},
		{"few contacts, but subscribed", config.Account{Subscription: paid, Contacts: total(1)}, -time.Hour, account.Active},
		{"no grace", config.Account{Subscription: &config.Subscription{ExpiresAt: expires}}, 0, account.Lapsed},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.c.CorpID = "ww1"
			a := account.NewBook([]config.Account{test.c}).Find("ww1")
			if got := a.Standing(expires.Add(test.at)); got != test.want {
				t.Errorf("Standing = %s, want %s", got, test.want)
			}
		})
	}
}

// ExpiresAt, LapsesAt and Contacts are zero or unknown where the configuration has nothing.
func TestSubscriptionDates(t *testing.T) {
	expires := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	n := 0
	for name, test := range map[string]struct {
		c               config.Account
		expires, lapses time.Time
		free, total     int
		known           bool
	}{
		"nothing":                  {config.Account{}, time.Time{}, time.Time{}, 0, 0, false},
		"a subscription":           {config.Account{Subscription: &config.Subscription{ExpiresAt: expires, Grace: 36 * time.Hour}}, expires, expires.Add(36 * time.Hour), 0, 0, false},
		"no grace":                 {config.Account{Subscription: &config.Subscription{ExpiresAt: expires}}, expires, expires, 0, 0, false},
		"an allowance alone":       {config.Account{Contacts: &config.Contacts{Free: 2000}}, time.Time{}, time.Time{}, 0, 0, false},
		"no contacts, but counted": {config.Account{Contacts: &config.Contacts{Free: 2000, Total: &n}}, time.Time{}, time.Time{}, 2000, 0, true},
	} {
		test.c.CorpID = "ww1"
		a := account.NewBook([]config.Account{test.c}).Find("ww1")
		if !a.ExpiresAt().Equal(test.expires) || !a.LapsesAt().Equal(test.lapses) {
			t.Errorf("%s: expires %s, lapses %s", name, a.ExpiresAt(), a.LapsesAt())
		}
		if free, total, known := a.Contacts(); free != test.free || total != test.total || known != test.known {
			t.Errorf("%s: %d of %d, %v", name, total, free, known)
		}
	}
}

func TestStandings(t *testing.T) {
	if got := account.Standings(); !slices.Equal(got, []account.Standing{"active", "grace", "lapsed", "free", "full"}) {
		t.Errorf("%v", got)
	}
}

// An account without contacts is below any allowance but none.
func TestStandingWithoutAllowance(t *testing.T) {
	zero := 0
	expired := &config.Subscription{ExpiresAt: time.Unix(0, 0)}
	for free, want := range map[int]account.Standing{0: account.Lapsed, 1: account.Free} {
		b := account.NewBook([]config.Account{{CorpID: "ww1", Subscription: expired, Contacts: &config.Contacts{Free: free, Total: &zero}}})
		if got := b.Find("ww1").Standing(time.Unix(1, 0)); got != want {
			t.Errorf("an allowance of %d: %s, want %s", free, got, want)
		}
	}
}
