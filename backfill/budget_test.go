package backfill

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A replay gives its place to another corp's if bots leave it no calls, or the account is gone, and
// not while it waits for calls of its own.
func TestWaitForBudgetEnds(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		bots    int // calls a minute
		watched []string
		want    error
	}{
		"alone":     {0, []string{"ww1"}, nil},
		"busy bots": {perMinute, []string{"ww1"}, errNoBudget},
		"no secret": {0, nil, errNoBudget},
	} {
		began := now
		r := &run{state: &state{Corp: "ww1"}, leader: &leader{Replayer: &Replayer{Budget: NewBudget(func() time.Time { return now })}}}
		r.Budget.Watch(c.watched)
		pull := func() {
			for range c.bots {
				r.Budget.Pulled("ww1", now, false, false)
			}
		}
		r.Now = func() time.Time { return now }
		r.Sleep = func(_ context.Context, d time.Duration) error {
			now = now.Add(d)
			pull()
			return nil
		}
		pull()
		var err error
		for n := 0; n < 2*perMinute && err == nil; n++ {
			err = r.waitForBudget(t.Context())
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if took := now.Sub(began); c.want != nil && took > 2*maxBudgetWait {
			t.Errorf("%s: it gave up after %s", name, took)
		}
	}
}
