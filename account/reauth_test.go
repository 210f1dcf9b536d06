package account_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"replygate/account"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// The same call gets two answers as for an expired token, and no call gets one later than three
// seconds after the first. With Retry.Anew the three seconds start again after a minute.
func TestReauthenticateLimits(t *testing.T) {
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

// A bot that uses another token each time, or makes another call each time, reaches a limit too.
func TestReauthenticateLimitsPerCaller(t *testing.T) {
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
		t.Error("the same call from another address is counted for it")
	}
	clock.Advance(time.Minute)
	if !tokens.Reauthenticate("newer", account.Retry{Call: "call", Caller: "10.0.0.1"}) {
		t.Error("a minute later it is still counted")
	}
}

// A token whose calls were attributed in another way gets its answer once they no longer are,
// however long it has been seen.
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

// Concurrent calls do not get more answers than the limits.
func TestReauthenticateConcurrently(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	tokens := account.NewTokens(nil, "rg:", time.Second, clock.Now)
	var same, different atomic.Int64
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 50 {
				if tokens.Reauthenticate("one", account.Retry{Call: "same", Caller: "10.0.0.1"}) {
					same.Add(1)
				}
				if tokens.Reauthenticate("two", account.Retry{Call: strconv.Itoa(worker*50 + i), Caller: "10.0.0.2"}) {
					different.Add(1)
				}
			}
		})
	}
	all.Wait()
	if same.Load() != 2 || different.Load() != 32 {
		t.Errorf("the same call got %d answers, different ones %d", same.Load(), different.Load())
	}
}

// A token that becomes known starts with fresh limits when it is unknown again.
func TestReauthenticateAfterLearning(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	tokens := gatewayOf(s, clock)
	call := account.Retry{Call: "POST /x", Caller: "10.0.0.1"}
	for i, want := range []bool{true, true, false} {
		if got := tokens.Reauthenticate("T", call); got != want {
			t.Fatalf("answer %d: %v", i+1, got)
		}
	}
	if err := tokens.Learn(t.Context(), "T", "ww1", time.Minute); err != nil {
		t.Fatal(err)
	}
	clock.Advance(12 * time.Minute)
	s.FlushAll(t.Context())
	owner(t, tokens, "T", "", account.Unknown)
	if !tokens.Reauthenticate("T", call) {
		t.Error("the count of its first life still holds")
	}
}
