package account_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
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
		if !two.Reauthenticate("T", account.Retry{}) {
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

// A token that an operator put into Redis without an end is not asked for with every call, and may
// be changed.
func TestTokenWithoutEnd(t *testing.T) {
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

// The same call is answered as with an expired token twice, and none later than three seconds after
// first sight; where it is asked for, the three seconds begin again after a minute.
func TestReauthenticateEnds(t *testing.T) {
	type step struct {
		after time.Duration
		call  string
		want  bool
	}
	const ms = time.Millisecond
	tokens(t, func(t *testing.T, clock *wecomtest.Clock, one, _ *account.Tokens) {
		clock.Set(clock.Now())
		for name, steps := range map[string][]step{
			"once": {{0, "a", true}, {0, "a", true}, {0, "a", false}, {0, "b", true}, {2999 * ms, "c", true}, {ms, "d", false}, {time.Minute, "a", false}, {time.Hour, "e", false}},
			"anew": {{0, "a", true}, {2999 * ms, "a", true}, {ms, "a", false}, {56 * time.Second, "a", false}, {time.Second, "a", true}, {0, "a", true}, {0, "a", false}, {3 * time.Second, "a", false}},
		} {
			for i, s := range steps {
				clock.Advance(s.after)
				if got := one.Reauthenticate(name, account.Retry{Call: s.call, Caller: name, Anew: name == "anew"}); got != s.want {
					t.Fatalf("%s: step %d: %v", name, i+1, got)
				}
			}
		}
	})
}

// A bot that gets another token each time, or makes another call each time, comes to an end too.
func TestReauthenticateEndsForRestlessBots(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	tokens := account.NewTokens(storetest.Open(t, storetest.Embedded(t), clock.Now).UniversalClient, "rg:", 5*time.Second, clock.Now)
	count := func(token, call func(i int) string, caller string) (n int) {
		for i := range 1000 {
			if tokens.Reauthenticate(token(i), account.Retry{Call: call(i), Caller: caller}) {
				n++
			}
		}
		return n
	}
	same := func(s string) func(int) string { return func(int) string { return s } }
	each := func(s string) func(int) string { return func(i int) string { return s + strconv.Itoa(i) } }
	if n := count(each("T"), same("call"), "10.0.0.1"); n != 50 {
		t.Errorf("the same call with another token each time: %d times", n)
	}
	if n := count(same("one"), each("call"), "10.0.0.1"); n != 32 {
		t.Errorf("another call each time with the same token: %d times", n)
	}
	if !tokens.Reauthenticate("new", account.Retry{Call: "call", Caller: "10.0.0.2"}) {
		t.Error("the same call from another address pays for it")
	}
	clock.Advance(time.Minute)
	if !tokens.Reauthenticate("newer", account.Retry{Call: "call", Caller: "10.0.0.1"}) {
		t.Error("a minute later it pays still")
	}
}

// A learnt token never moves to another corp: not in memory, not in Redis, and what tries does not
// lengthen its life.
func TestTokensNeverMove(t *testing.T) {
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

// An expired token stays known for ten minutes, in the process.
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

// A channel is known to all gateways, for a month after it was seen, and never moves.
func TestChannelsAreShared(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		gateway := func() *account.Tokens { return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now) }
		one, two := gateway(), gateway()
		belongs := func(tokens *account.Tokens, channel, corp string, want account.Owner) {
			t.Helper()
			if got, o := tokens.OwnerOfChannel(t.Context(), channel); got != corp || o != want {
				t.Fatalf("OwnerOfChannel(%s) = %q, %d; want %q, %d", channel, got, o, corp, want)
			}
		}
		belongs(two, "wk1", "", account.Unknown)
		if others, err := one.LearnChannels(t.Context(), "ww1", []string{"wk1", "", "wk:2%", "wk1"}); err != nil || others != nil {
			t.Fatal(others, err)
		}
		if keys := s.Keys(t.Context(), "rg:channel:*").Val(); len(keys) != 2 || s.Get(t.Context(), "rg:channel:wk%3A2%25").Val() != "ww1" {
			t.Fatalf("keys: %v", keys)
		}
		if one.LearntChannel("wk1") != "ww1" || two.LearntChannel("wk1") != "" {
			t.Error("what the process knows by itself is something else")
		}
		belongs(two, "wk1", "ww1", account.Known) // at once
		belongs(two, "WK1", "", account.Unknown)  // letter case matters
		for _, tokens := range []*account.Tokens{one, two, gateway()} {
			if others, err := tokens.LearnChannels(t.Context(), "ww2", []string{"wk1", "wk3"}); err != nil || fmt.Sprint(others) != "[wk1]" {
				t.Fatal(others, err)
			}
		}
		belongs(gateway(), "wk1", "ww1", account.Known)
		if left := s.PTTL(t.Context(), "rg:channel:wk1").Val(); left < 29*24*time.Hour || left > 30*24*time.Hour {
			t.Errorf("it is kept for %s", left)
		}
		s.HSet(t.Context(), "rg:channel:broken", "a", "b")
		belongs(one, "broken", "", account.Unknown)
		if others, err := one.LearnChannels(t.Context(), "ww1", []string{"broken"}); err != nil || others != nil {
			t.Fatal(others, err)
		}
		belongs(two, "broken", "ww1", account.Known)
	})
}

// A token that calls have named for two corps belongs to none for the rest of its life.
func TestNamed(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	tokens := account.NewTokens(nil, "rg:", time.Second, clock.Now)
	for i, step := range []struct {
		after       time.Duration
		token, corp string
		want        bool
	}{
		{0, "T", "", false}, {0, "T", "ww1", false}, {0, "T", "ww1", false}, {0, "T", "", false}, {0, "U", "ww2", false},
		{time.Hour, "T", "ww2", true}, {0, "T", "ww1", true}, {0, "T", "", true}, {0, "U", "ww2", false},
		{time.Hour, "T", "", false}, {0, "T", "ww2", false}, {0, "T", "ww2", false},
	} {
		clock.Advance(step.after)
		if got := tokens.Named(step.token, step.corp); got != step.want {
			t.Errorf("step %d: %v", i+1, got)
		}
	}
}

// trips counts the round trips of a client.
type trips struct{ n atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmds)
	}
}

// A flood of random tokens costs a bounded number of round trips in a second, and harms nobody:
// what is known stays known, and a token that another gateway learnt a moment ago is known at once.
func TestFloodOfRandomTokens(t *testing.T) {
	clock := wecomtest.NewClock()
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		gateway := func() *account.Tokens { return account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now) }
		one, two := gateway(), gateway()
		if err := one.Learn(t.Context(), "known", "ww1", time.Hour); err != nil {
			t.Fatal(err)
		}
		var count trips
		s.AddHook(&count)
		const bots, tokens = 64, 500
		began := time.Now()
		var flood sync.WaitGroup
		for bot := range bots {
			flood.Go(func() {
				for i := range tokens {
					if _, o, _ := one.Owner(t.Context(), fmt.Sprintf("random-%d-%d", bot, i)); o != account.Unknown {
						t.Errorf("a random token: %d", o)
						return
					}
				}
			})
		}
		const honest = 20
		for i := range honest {
			token := fmt.Sprintf("honest-%d", i)
			if err := two.Learn(t.Context(), token, "ww2", time.Hour); err != nil {
				t.Fatal(err)
			}
			asked := time.Now()
			owner(t, one, token, "ww2", account.Known)
			if d := time.Since(asked); d > time.Second {
				t.Errorf("a token that another gateway learnt waited %s", d)
			}
		}
		flood.Wait()
		took, n := time.Since(began), count.n.Load()
		most := 100 + 3*honest + int64(took/(2*time.Millisecond)) + 10
		if n > most || n > bots*tokens/4 {
			t.Errorf("%d tokens cost %d round trips in %s, at most %d are to go", bots*tokens, n, took, most)
		}
		owner(t, one, "known", "ww1", account.Known)
		count.n.Store(0)
		for range 100 {
			owner(t, one, "known", "ww1", account.Known)
		}
		if n := count.n.Load(); n != 0 {
			t.Errorf("a known token cost %d round trips", n)
		}
	})
}

// After its first seconds an unknown token that comes again and again is asked for once a second.
func TestUnknownTokensAreAskedForOnceASecond(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		tokens := account.NewTokens(s.UniversalClient, "rg:", 5*time.Second, clock.Now)
		owner(t, tokens, "T", "", account.Unknown)
		clock.Advance(3 * time.Second)
		var count trips
		s.AddHook(&count)
		for range 50 {
			owner(t, tokens, "T", "", account.Unknown)
			clock.Advance(100 * time.Millisecond)
		}
		if n := count.n.Load(); n != 5 {
			t.Errorf("%d round trips in five seconds", n)
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
	if err := tokens.Learn(t.Context(), "T", "ww2", time.Hour); !errors.Is(err, account.ErrOtherCorp) {
		t.Errorf("without Redis it moves: %v", err)
	}
}

// A token whose calls were attributed by something else gets its chance once nothing else tells
// whose it is, however long it has been seen.
func TestReauthenticateAfterAttribution(t *testing.T) {
	tokens(t, func(t *testing.T, clock *wecomtest.Clock, one, _ *account.Tokens) {
		owner(t, one, "T", "", account.Unknown)
		clock.Advance(time.Hour)
		call := account.Retry{Call: "POST /x", Caller: "10.0.0.1"}
		if !one.Reauthenticate("T", call) {
			t.Error("the first call that needs a new token is not told so")
		}
		clock.Advance(3 * time.Second)
		if one.Reauthenticate("T", call) {
			t.Error("it is told so for ever")
		}
	})
}
