package account_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"replygate/account"
	"replygate/wecom/wecomtest"
)

// A token whose calls have named two corps is attributed to neither within its life.
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

// Calls of many gateways' connections name tokens at once; two corps are noticed in any order.
func TestNamedConcurrently(t *testing.T) {
	clock := wecomtest.NewClock()
	clock.Set(clock.Now())
	tokens := account.NewTokens(nil, "rg:", time.Second, clock.Now)
	var all sync.WaitGroup
	for _, corp := range []string{"ww1", "ww2"} {
		for range 4 {
			all.Go(func() {
				for i := range 100 {
					tokens.Named(strconv.Itoa(i), corp)
					tokens.Named("only-"+corp+strconv.Itoa(i), corp)
				}
			})
		}
	}
	all.Wait()
	for i := range 100 {
		if !tokens.Named(strconv.Itoa(i), "") {
			t.Errorf("token %d: two corps were not noticed", i)
		}
		if tokens.Named("only-ww1"+strconv.Itoa(i), "ww1") {
			t.Errorf("token %d of ww1 has several corps", i)
		}
	}
}
