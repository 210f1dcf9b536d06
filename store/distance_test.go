package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// A distant Redis that loses every connection, or hangs for a while, serves again soon after,
// although callers keep asking and a command that has to open a connection exceeds its timeout.
func TestDistantRedisComesBack(t *testing.T) {
	t.Parallel()
	slow(t, "it takes connections from a distant Redis")
	const roundTrip, timeout, callers = 250 * time.Millisecond, 500 * time.Millisecond, 8
	wire := storetest.NewWire(t, storetest.Start(t).Addr())
	wire.Delay(roundTrip / 2)
	s := open(t, config.Redis{Mode: config.RedisSingle, Addrs: []string{wire.Addr().String()}, Timeout: timeout, Prefix: "rg:"}, time.Now)
	t.Cleanup(func() { s.Close() })

	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); running.Wait() })
	var inARow atomic.Int64 // commands that succeeded since the last failure
	for range callers {
		running.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(roundTrip / 10) {
				asking, done := context.WithTimeout(ctx, timeout)
				if inARow.Add(1); s.Exists(asking, "rg:none").Err() != nil {
					inARow.Store(0)
				}
				done()
			}
		})
	}
	serves := func(after string) {
		t.Helper()
		began := time.Now()
		for inARow.Store(0); inARow.Load() < 4*callers || !s.Up(); time.Sleep(roundTrip / 10) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%s: commands fail again and again, up %v", after, s.Up())
			}
		}
		t.Logf("%s: it serves after %s", after, time.Since(began))
	}
	serves("at the start")
	for range 3 {
		wire.Reset()
		serves("all connections were lost")
	}
	wire.Hang()
	for began := time.Now(); s.Up(); time.Sleep(roundTrip / 10) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("a Redis that hangs is up")
		}
	}
	wire.Heal()
	wire.Delay(roundTrip / 2)
	serves("it hung")
}

// Sentinels that are as far away are asked within one attempt to connect.
func TestDistantSentinels(t *testing.T) {
	t.Parallel()
	slow(t, "it starts sentinels")
	const roundTrip, timeout = 250 * time.Millisecond, 500 * time.Millisecond
	c, _, _, sentinel := storetest.StartSentinel(t)
	wire := storetest.NewWire(t, sentinel.Addr())
	wire.Delay(roundTrip / 2)
	c.Addrs, c.Timeout = []string{wire.Addr().String()}, timeout
	s := open(t, c, time.Now)
	t.Cleanup(func() { s.Close() })
	for began := time.Now(); !s.Up(); time.Sleep(roundTrip / 10) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the master is not found")
		}
	}
}
