package account_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

func TestTokensAreShared(t *testing.T) {
	tokens(t, func(t *testing.T, clock *wecomtest.Clock, one, two *account.Tokens) {
		owner(t, two, "T", "", account.Unknown)
		if !two.Reauthenticate("T", account.Retry{}) {
			t.Fatal("an unknown token is not answered as expired")
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

// The hash of a token tells its owner as the token does.
func TestOwnerOfHash(t *testing.T) {
	tokens(t, func(t *testing.T, _ *wecomtest.Clock, one, two *account.Tokens) {
		if err := one.Learn(t.Context(), "T", "ww1", time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			hashed, corp string
			want         account.Owner
		}{
			{account.HashToken("T"), "ww1", account.Known},
			{account.HashToken("t"), "", account.Unknown},
			{"T", "", account.Unknown},
			{account.HashToken("T")[2:], "", account.Unknown},
			{account.HashToken("T") + "00", "", account.Unknown},
			{"", "", account.Unknown},
		} {
			if corp, o := two.OwnerOfHash(t.Context(), test.hashed); corp != test.corp || o != test.want {
				t.Errorf("OwnerOfHash(%q) = %q, %d", test.hashed, corp, o)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if corp, o := one.OwnerOfHash(gone, account.HashToken("T2")); corp != "" || o != account.Unreachable {
			t.Errorf("without Redis OwnerOfHash = %q, %d", corp, o)
		}
	})
}

// A key that holds no corp has no owner, and is replaced when the token is learnt.
func TestBrokenTokenKeys(t *testing.T) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
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

// A token that an operator set in Redis without a TTL is cached for a minute, and may be changed.
func TestTokenWithoutTTL(t *testing.T) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
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

// A learnt token never moves to another corp, neither in memory nor in Redis, and an attempt does
// not extend its TTL.
func TestTokensNeverChangeOwner(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		gateway := func() *account.Tokens { return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now) }
		learn := func(tokens *account.Tokens, corp string, life time.Duration, want error) {
			t.Helper()
			if err := tokens.Learn(t.Context(), "T", corp, life); !errors.Is(err, want) {
				t.Fatalf("Learn for %s: %v, want %v", corp, err, want)
			}
		}
		left := func() time.Duration {
			return s.PTTL(t.Context(), fmt.Sprintf("rg:token:%x", sha256.Sum256([]byte("T")))).Val()
		}
		one, two := gateway(), gateway()
		learn(one, "ww1", time.Hour, nil)
		learn(one, "ww2", 3*time.Hour, account.ErrOtherCorp)
		learn(two, "ww2", 3*time.Hour, account.ErrOtherCorp) // it knew nothing: Redis says so
		owner(t, one, "T", "ww1", account.Known)
		owner(t, two, "T", "ww1", account.Known)
		owner(t, gateway(), "T", "ww1", account.Known)
		if l := left(); l > time.Hour {
			t.Errorf("another corp made its life %s long", l)
		}
		learn(two, "ww1", 2*time.Hour, nil)
		if l := left(); l < 119*time.Minute {
			t.Errorf("for the same corp its life is %s", l)
		}
	})
}

// An expired token stays known for ten minutes in memory.
func TestExpiredTokensStayKnown(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		gateway := func() *account.Tokens { return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now) }
		one, two := gateway(), gateway()
		if err := one.Learn(t.Context(), "T", "ww1", time.Hour); err != nil {
			t.Fatal(err)
		}
		owner(t, two, "T", "ww1", account.Known)
		s.FlushAll(t.Context()) // as if its life there was over
		clock.Advance(70*time.Minute - 2*time.Second)
		owner(t, one, "T", "ww1", account.Known)
		owner(t, two, "T", "ww1", account.Known)
		if err := one.Learn(t.Context(), "T", "ww2", time.Hour); !errors.Is(err, account.ErrOtherCorp) {
			t.Errorf("it moved: %v", err)
		}
		clock.Advance(2 * time.Second)
		s.FlushAll(t.Context())
		owner(t, one, "T", "", account.Unknown)
	})
}

func TestTokensWithoutRedis(t *testing.T) {
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
	if err := tokens.Learn(t.Context(), "T", "ww2", time.Hour); !errors.Is(err, account.ErrOtherCorp) {
		t.Errorf("without Redis it moves: %v", err)
	}
}
