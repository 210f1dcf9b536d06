package account_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"replygate/account"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// A token that was learnt while Redis was away is shared once Redis is back, also if that takes
// longer than its call. One that expired meanwhile is not, and one that another gateway learnt for
// another corp stays the other's.
func TestTokensLearntWhileRedisIsAway(t *testing.T) {
	server := storetest.Start(t)
	c := server.Config()
	c.Timeout = 200 * time.Millisecond
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	s := storetest.Open(t, c, clock.Now)
	one := account.NewTokens(s.UniversalClient, "rg:", c.Timeout, clock.Now)
	server.CLI("set", "rg:token:"+account.HashToken("contested"), "ww2", "px", "3600000")
	dump := server.Dump()
	server.Down()
	for token, life := range map[string]time.Duration{"T": 2 * time.Hour, "short": time.Minute, "contested": time.Hour} {
		if err := one.Learn(t.Context(), token, "ww1", life); err == nil {
			t.Fatalf("%s: Learn says that Redis took it", token)
		}
	}
	core, lines := observer.New(zapcore.InfoLevel)
	end := runTokens(t, one, record.RateLimit(zap.New(core), clock.Now))
	clock.Advance(time.Minute)
	server.Restore(dump)
	server.Await("ww1", "get", "rg:token:"+account.HashToken("T"))
	if ttl := server.CLI("ttl", "rg:token:"+account.HashToken("T")); ttl != "7140\n" && ttl != "7139\n" {
		t.Errorf("its TTL is %s, want its life less a minute", ttl)
	}
	end()
	two := account.NewTokens(s.UniversalClient, "rg:", c.Timeout, clock.Now)
	owner(t, two, "T", "ww1", account.Known)
	owner(t, two, "short", "", account.Unknown)
	owner(t, two, "contested", "ww2", account.Known)
	owner(t, one, "contested", "ww2", account.Known)
	if n := lines.FilterField(zap.String("other", "ww2")).Len(); n != 1 {
		t.Errorf("%d lines tell of the other corp: %v", n, lines.All())
	}
}

// A token that was learnt while Redis was away is shared at the end too, and an end does not wait
// for a Redis that is away.
func TestEndOfUnsharedTokens(t *testing.T) {
	server := storetest.Start(t)
	c := server.Config()
	c.Timeout = 200 * time.Millisecond
	s := storetest.Open(t, c, time.Now)
	tokens := account.NewTokens(s.UniversalClient, "rg:", c.Timeout, time.Now)
	server.Down()
	if err := tokens.Learn(t.Context(), "T", "ww1", time.Hour); err == nil {
		t.Fatal("Learn says that Redis took it")
	}
	log := record.RateLimit(zap.NewNop(), time.Now)
	began := time.Now()
	runTokens(t, tokens, log)()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("without Redis the end took %s", took)
	}
	server.Up()
	storetest.AwaitServing(t, s)
	runTokens(t, tokens, log)()
	owner(t, account.NewTokens(s.UniversalClient, "rg:", c.Timeout, time.Now), "T", "ww1", account.Known)
}

// runTokens runs what shares tokens, until the test calls end or is over.
func runTokens(t *testing.T, tokens *account.Tokens, log *record.RateLimited) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { tokens.Run(ctx, log) })
	end = func() { cancel(); running.Wait() }
	t.Cleanup(end)
	return end
}
