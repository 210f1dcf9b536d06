package account_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
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

func TestCorpIDsAreCaseSensitive(t *testing.T) {
	b := account.NewBook([]config.Account{{CorpID: "wwAbC"}})
	if b.Find("wwabc") != nil || b.Find("wwAbC") == nil {
		t.Error("Find folds letter case")
	}
}

func tokens(t *testing.T, body func(t *testing.T, clock *wecomtest.Clock, one, two *account.Tokens)) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Store) {
		gateway := func() *account.Tokens { return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now) }
		body(t, clock, gateway(), gateway())
	})
}

func owner(t *testing.T, tokens *account.Tokens, token, corp string, want account.Owner) {
	t.Helper()
	if got, o, _ := tokens.Owner(t.Context(), token); got != corp || o != want {
		t.Fatalf("Owner(%s) = %q, %d; want %q, %d", token, got, o, corp, want)
	}
}

func TestTokensAreShared(t *testing.T) {
	tokens(t, func(t *testing.T, clock *wecomtest.Clock, one, two *account.Tokens) {
		owner(t, two, "T", "", account.Unknown)
		if !two.Reauthenticate("T") {
			t.Fatal("a strange token is not answered as expired")
		}
		if err := one.Learn(t.Context(), "T", "ww1", 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		owner(t, one, "T", "ww1", account.Known)
		owner(t, two, "T", "ww1", account.Known) // at once: the bot comes back within milliseconds
		clock.Advance(2 * time.Hour)
		if corp, o, _ := one.Owner(t.Context(), "T"); o == account.Known && corp != "ww1" {
			t.Fatal("an expired token belongs to somebody else")
		}
	})
}

func TestTokensAreHashed(t *testing.T) {
	clock := wecomtest.NewClock()
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	if err := account.NewTokens(s.UniversalClient, "rg:", time.Second, clock.Now).Learn(t.Context(), "secret", "ww1", time.Hour); err != nil {
		t.Fatal(err)
	}
	keys := s.Keys(t.Context(), "rg:token:*").Val()
	want := "rg:token:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
	if len(keys) != 1 || keys[0] != want {
		t.Fatalf("keys = %v", keys)
	}
}

// A key that holds no corp is nobody's, and gives way to one who is learnt.
func TestBrokenTokenKeys(t *testing.T) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Store) {
		tokens := account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now)
		key := func(token string) string { return fmt.Sprintf("rg:token:%x", sha256.Sum256([]byte(token))) }
		s.Set(t.Context(), key("empty"), "", time.Hour)
		s.HSet(t.Context(), key("hash"), "a", "b")
		for _, token := range []string{"empty", "hash"} {
			owner(t, tokens, token, "", account.Unknown)
			if err := tokens.Learn(t.Context(), token, "ww1", time.Hour); err != nil {
				t.Fatal(err)
			}
			owner(t, account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now), token, "ww1", account.Known)
		}
	})
}

// A token that an operator put into Redis without an end is not asked for with every call, and may be changed.
func TestTokenWithoutEnd(t *testing.T) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Store) {
		tokens := account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now)
		set := func(corp string) {
			t.Helper()
			if err := s.Set(t.Context(), fmt.Sprintf("rg:token:%x", sha256.Sum256([]byte("T"))), corp, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		set("ww1")
		owner(t, tokens, "T", "ww1", account.Known)
		set("ww2")
		owner(t, tokens, "T", "ww1", account.Known)
		clock.Advance(time.Minute)
		owner(t, tokens, "T", "ww2", account.Known)
	})
}

func TestReauthenticateEnds(t *testing.T) {
	tokens(t, func(t *testing.T, clock *wecomtest.Clock, one, _ *account.Tokens) {
		for _, step := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {2999 * time.Millisecond, true}, {time.Millisecond, false}, {56 * time.Second, false}, {time.Second, true}, {3 * time.Second, false}} {
			clock.Advance(step.after)
			if got := one.Reauthenticate("T"); got != step.want {
				t.Fatalf("after %s more: Reauthenticate = %v", step.after, got)
			}
		}
	})
}

func TestTokenOfADeadRedis(t *testing.T) {
	server := storetest.Start(t)
	c := server.Config()
	c.Timeout = 200 * time.Millisecond
	s := storetest.Open(t, c, time.Now)
	tokens := account.NewTokens(s.UniversalClient, "rg:", c.Timeout, time.Now)
	server.Down()
	owner(t, tokens, "T", "", account.Unreachable)
	if err := tokens.Learn(t.Context(), "T", "ww1", time.Hour); err == nil {
		t.Fatal("Learn says that Redis took the token")
	}
	owner(t, tokens, "T", "ww1", account.Known) // this gateway knows it all the same
}
