package account_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
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

// A flood of random tokens costs a bounded number of round trips per second, and delays nobody:
// known tokens stay known, and one that another gateway learnt a moment ago is found at once.
func TestFloodOfRandomTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("32,000 lookups on three servers")
	}
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

// After its first seconds a repeated unknown token is looked up once a second.
func TestUnknownTokensAreLookedUpOnceASecond(t *testing.T) {
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

// faulty lets each command of a client fail as it says; nil is no failure.
type faulty struct {
	fail func(cmd redis.Cmder) error
}

func (f *faulty) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *faulty) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := f.fail(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func (f *faulty) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if err := f.fail(cmd); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// rejected is an error that Redis itself answers.
type rejected string

func (r rejected) Error() string { return string(r) }
func (rejected) RedisError()     {}

// A lookup survives a Redis that rejects MGET or PTTL; a failed connection is no unknown token.
func TestLookupFailures(t *testing.T) {
	broken := errors.New("connection reset")
	const slot = rejected("CROSSSLOT Keys in request don't hash to the same slot")
	for _, test := range []struct {
		name, command string
		err           error
		corp          string
		want          account.Owner
	}{
		{"nothing fails", "", nil, "ww1", account.Known},
		{"keys on several shards", "mget", slot, "ww1", account.Known},
		{"the connection breaks at MGET", "mget", broken, "", account.Unreachable},
		{"the connection breaks at PTTL", "pttl", broken, "ww1", account.Known},
		{"PTTL is not allowed", "pttl", rejected("NOPERM"), "ww1", account.Known},
	} {
		clock := wecomtest.NewClock()
		s := storetest.Open(t, storetest.Embedded(t), clock.Now)
		if err := gatewayOf(s, clock).Learn(t.Context(), "T", "ww1", time.Hour); err != nil {
			t.Fatal(err)
		}
		s.AddHook(&faulty{func(cmd redis.Cmder) error {
			if cmd.Name() == test.command {
				return test.err
			}
			return nil
		}})
		tokens := gatewayOf(s, clock)
		if corp, o, _ := tokens.Owner(t.Context(), "T"); corp != test.corp || o != test.want {
			t.Errorf("%s: %q, %d", test.name, corp, o)
		}
		want := account.Unknown
		if test.want == account.Unreachable {
			want = account.Unreachable
		}
		if _, o, _ := tokens.Owner(t.Context(), "never learnt"); o != want {
			t.Errorf("%s: an unknown token is %d", test.name, o)
		}
	}
}

// A failed lookup is not remembered: the next call reads Redis again.
func TestFailedLookupIsNotCached(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	if err := gatewayOf(s, clock).Learn(t.Context(), "T", "ww1", time.Hour); err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	s.AddHook(&faulty{func(redis.Cmder) error {
		if away.Load() {
			return errors.New("away")
		}
		return nil
	}})
	tokens := gatewayOf(s, clock)
	away.Store(true)
	owner(t, tokens, "T", "", account.Unreachable)
	if corp, o := tokens.OwnerOfChannel(t.Context(), "wk1"); corp != "" || o != account.Unreachable {
		t.Errorf("a channel: %q, %d", corp, o)
	}
	if others, err := tokens.LearnChannels(t.Context(), "ww1", []string{"wk1"}); err == nil || others != nil || !strings.HasPrefix(err.Error(), "account: learn channels: ") {
		t.Errorf("LearnChannels: %v, %v", others, err)
	}
	away.Store(false)
	owner(t, tokens, "T", "ww1", account.Known)
	if tokens.LearntChannel("wk1") != "" {
		t.Error("a channel is known that Redis did not take")
	}
}

// Owner tells how long Redis took, and nothing for what is in memory.
func TestOwnerTellsItsWait(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	s.AddHook(&faulty{func(cmd redis.Cmder) error {
		if cmd.Name() == "mget" {
			clock.Advance(70 * time.Millisecond)
		}
		return nil
	}})
	tokens := gatewayOf(s, clock)
	if _, o, waited := tokens.Owner(t.Context(), "T"); o != account.Unknown || waited != 70*time.Millisecond {
		t.Errorf("an unknown token: %d after %s", o, waited)
	}
	if err := tokens.Learn(t.Context(), "T", "ww1", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, o, waited := tokens.Owner(t.Context(), "T"); o != account.Known || waited != 0 {
		t.Errorf("a known token: %d after %s", o, waited)
	}
}

// Lookups end with their context, also while they share a round trip with others.
func TestLookupEndsWithContext(t *testing.T) {
	clock := wecomtest.NewClock()
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	tokens := gatewayOf(s, clock)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if corp, o, _ := tokens.Owner(ctx, "T"); corp != "" || o != account.Unreachable {
		t.Errorf("%q, %d", corp, o)
	}
	owner(t, tokens, "T", "", account.Unknown) // the next caller is not affected
}

// A token whose TTL cannot be read is cached for a minute, and then read again.
func TestUnreadableTTL(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	key := fmt.Sprintf("rg:token:%x", sha256.Sum256([]byte("T")))
	s.Set(t.Context(), key, "ww1", time.Hour)
	s.AddHook(&faulty{func(cmd redis.Cmder) error {
		if cmd.Name() == "pttl" {
			return rejected("NOPERM")
		}
		return nil
	}})
	tokens := gatewayOf(s, clock)
	owner(t, tokens, "T", "ww1", account.Known)
	s.Set(t.Context(), key, "ww2", time.Hour)
	clock.Advance(time.Minute - 1)
	owner(t, tokens, "T", "ww1", account.Known)
	clock.Advance(1)
	owner(t, tokens, "T", "ww2", account.Known)
}
