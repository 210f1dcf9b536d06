package account

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1_800_000_000, 0)

// A limiter lets a burst through at once, then one event per interval, and regains its burst.
func TestLimiter(t *testing.T) {
	const ms = time.Millisecond
	l, now := limiter{interval: 10 * ms, burst: 3}, epoch
	for i, step := range []struct{ after, want time.Duration }{
		{0, -30 * ms}, {0, -20 * ms}, {0, -10 * ms}, // the burst
		{0, 0}, {0, 10 * ms}, {0, 20 * ms}, // one per interval
		{5 * ms, 25 * ms}, // after the events that were reserved before
		{35 * ms, 0},
		{10 * ms, 0},
		{time.Hour, -30 * ms}, // a quiet period gives back the burst, and no more
		{0, -20 * ms}, {0, -10 * ms}, {0, 0}, {0, 10 * ms},
	} {
		now = now.Add(step.after)
		if got := l.reserve(now); got != step.want {
			t.Errorf("step %d: waits %s, want %s", i+1, got, step.want)
		}
	}
}

// In any period no more events go out than the burst and one per interval, however they come.
func TestLimiterBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		l := limiter{interval: time.Duration(1+random.IntN(10)) * time.Millisecond, burst: 1 + random.IntN(20)}
		now := epoch
		var sent []time.Time
		for range 500 {
			now = now.Add(time.Duration(random.IntN(12)) * time.Millisecond)
			for range random.IntN(4) {
				sent = append(sent, now.Add(max(l.reserve(now), 0)))
			}
		}
		for i := range sent {
			for j := i + l.burst; j < len(sent); j += 7 {
				period := sent[j].Sub(sent[i])
				if most := l.burst + 1 + int(period/l.interval); j-i+1 > most {
					t.Fatalf("%d events in %s, at most %d: burst %d, interval %s", j-i+1, period, most, l.burst, l.interval)
				}
			}
		}
	}
}

// A caller stops waiting when its context ends.
func TestLimiterWaitEnds(t *testing.T) {
	l := limiter{interval: time.Hour, burst: 1}
	for range 2 {
		if err := l.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("gone"))
	if err := l.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
