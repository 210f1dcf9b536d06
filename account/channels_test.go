package account_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// A channel is known to all gateways for a month after it was last seen, and never changes its
// owner.
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
		if all, err := two.ChannelsOf(t.Context(), "ww1"); err != nil || fmt.Sprint(all) != "[wk1 wk:2%]" {
			t.Errorf("channels of ww1: %q, %v", all, err)
		}
		if all, err := two.ChannelsOf(t.Context(), "ww2"); err != nil || fmt.Sprint(all) != "[wk3]" {
			t.Errorf("channels of ww2, without the foreign one: %q, %v", all, err)
		}
		if all, err := two.ChannelsOf(t.Context(), "ww9"); err != nil || len(all) > 0 {
			t.Errorf("channels of a strange corp: %q, %v", all, err)
		}
		s.HSet(t.Context(), "rg:channel:broken", "a", "b")
		belongs(one, "broken", "", account.Unknown)
		if others, err := one.LearnChannels(t.Context(), "ww1", []string{"broken"}); err != nil || others != nil {
			t.Fatal(others, err)
		}
		belongs(two, "broken", "ww1", account.Known)
	})
}

// More channels than one round trip takes are learnt, and foreign ones among them are returned in
// order.
func TestLearnManyChannels(t *testing.T) {
	clock := wecomtest.NewClock()
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	one, two := gatewayOf(s, clock), gatewayOf(s, clock)
	var all, foreign []string
	for i := range 700 {
		all = append(all, fmt.Sprintf("wk%d", i))
		if i%100 == 7 {
			foreign = append(foreign, all[i])
		}
	}
	if _, err := two.LearnChannels(t.Context(), "ww2", foreign); err != nil {
		t.Fatal(err)
	}
	others, err := one.LearnChannels(t.Context(), "ww1", all)
	if err != nil || !slices.Equal(others, foreign) {
		t.Errorf("%v, %v", others, err)
	}
	if n := len(s.Keys(t.Context(), "rg:channel:*").Val()); n != len(all) {
		t.Errorf("%d keys", n)
	}
	if one.LearntChannel("wk699") != "ww1" || one.LearntChannel("wk107") != "ww2" {
		t.Errorf("wk699 belongs to %q, wk107 to %q", one.LearntChannel("wk699"), one.LearntChannel("wk107"))
	}
}

// A cached channel is claimed again after a day, so that its key lives on while it is in use.
func TestChannelRefresh(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	var count trips
	s.AddHook(&count)
	one := gatewayOf(s, clock)
	if _, err := one.LearnChannels(t.Context(), "ww1", []string{"wk0"}); err != nil { // opens the connection
		t.Fatal(err)
	}
	for i, step := range []struct {
		after time.Duration
		trips int64
	}{{0, 1}, {time.Hour, 0}, {23*time.Hour - 1, 0}, {1, 1}, {24 * time.Hour, 1}} {
		clock.Advance(step.after)
		count.n.Store(0)
		if others, err := one.LearnChannels(t.Context(), "ww1", []string{"wk1"}); err != nil || others != nil {
			t.Fatal(others, err)
		}
		if n := count.n.Load(); n != step.trips {
			t.Errorf("step %d: %d round trips, want %d", i+1, n, step.trips)
		}
	}
}

// Channel keys encode all but [A-Za-z0-9_@.-], so that no two channels share a key.
func TestChannelKeys(t *testing.T) {
	clock := wecomtest.NewClock()
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	for channel, want := range map[string]string{
		"wkAZaz09_@.-": "rg:channel:wkAZaz09_@.-",
		"wk:1":         "rg:channel:wk%3A1",
		"wk%3A1":       "rg:channel:wk%253A1",
		"wk{1}":        "rg:channel:wk%7B1%7D",
		"客\x00":        "rg:channel:%E5%AE%A2%00",
	} {
		if _, err := gatewayOf(s, clock).LearnChannels(t.Context(), "ww1", []string{channel}); err != nil {
			t.Fatal(err)
		}
		if got := s.Get(t.Context(), want).Val(); got != "ww1" {
			t.Errorf("%q: %s holds %q; keys %v", channel, want, got, s.Keys(t.Context(), "rg:channel:*").Val())
		}
		s.FlushAll(t.Context())
	}
}

// A channel that was read from Redis is cached for its TTL, and for a day at most.
func TestChannelCache(t *testing.T) {
	for _, test := range []struct{ ttl, cached time.Duration }{
		{time.Hour, time.Hour}, {24*time.Hour - time.Minute, 24*time.Hour - time.Minute}, {30 * 24 * time.Hour, 24 * time.Hour},
	} {
		clock := wecomtest.NewClock()
		clock.Set(clock.Now())
		s := storetest.Open(t, storetest.Embedded(t), clock.Now)
		if err := s.Set(t.Context(), "rg:channel:wk1", "ww1", test.ttl).Err(); err != nil {
			t.Fatal(err)
		}
		tokens := gatewayOf(s, clock)
		if corp, o := tokens.OwnerOfChannel(t.Context(), "wk1"); corp != "ww1" || o != account.Known {
			t.Fatalf("%q, %d", corp, o)
		}
		clock.Advance(test.cached - 2*time.Second) // Redis counts from a moment before
		if tokens.LearntChannel("wk1") != "ww1" {
			t.Errorf("a TTL of %s: it is forgotten too early", test.ttl)
		}
		clock.Advance(2 * time.Second)
		if tokens.LearntChannel("wk1") != "" {
			t.Errorf("a TTL of %s: it is cached for longer than %s", test.ttl, test.cached)
		}
	}
}
