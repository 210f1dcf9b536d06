package window_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/window"
)

// corrected counts the corrections that are sent, and the round trips that have some. It fails the
// correction of the window with the key lost.
type corrected struct {
	sent, trips atomic.Int32
	lost        atomic.Pointer[string]
}

// correction reports whether a command is one of correct.lua: its arguments are numbers, not texts.
func correction(cmd redis.Cmder) bool {
	args := cmd.Args()
	_, replies := args[len(args)-1].(int)
	return len(args) == 6 && replies && writes(cmd, "rg:window:")
}

func (c *corrected) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *corrected) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *corrected) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		n := 0
		for _, cmd := range cmds {
			if correction(cmd) {
				n++
			}
		}
		if n > 0 {
			c.sent.Add(int32(n))
			c.trips.Add(1)
		}
		err := next(ctx, cmds)
		if key := c.lost.Load(); key != nil {
			for _, cmd := range cmds {
				if correction(cmd) && cmd.Args()[3] == *key {
					cmd.SetErr(errors.New("connection reset"))
				}
			}
		}
		return err
	}
}

// The failures of a page take few round trips, and none when it is pulled again. A later message
// may be the one that a repeated failure is about.
func TestCorrectionsOfAPage(t *testing.T) {
	eachShared(t, func(b *bench) {
		count := &corrected{}
		p := newPage(500, b.clock.Now())
		if _, err := b.Record(b.Context(), p.facts); err != nil {
			b.Fatal(err)
		}
		var all []window.Correction
		for i, f := range p.facts {
			o := window.WindowClosed
			if i%2 == 0 {
				o = window.QuotaExhausted
			}
			all = append(all, window.Correction{Key: f.Key, At: f.At.Add(time.Hour), Outcome: o})
		}
		addHook(b.T, b.rdb, count)
		correct := func(wantErr bool) (sent, trips int32) {
			b.Helper()
			count.sent.Store(0)
			count.trips.Store(0)
			if err := b.Correct(b.Context(), all...); (err != nil) != wantErr {
				b.Fatalf("Correct: %v", err)
			}
			return count.sent.Load(), count.trips.Load()
		}
		first := all[0].Key.RedisKey("rg:")
		count.lost.Store(&first)
		if sent, trips := correct(true); sent < 500 || trips > 4 {
			b.Errorf("%d failures took %d round trips", sent, trips)
		}
		for i, a := range b.Peek(b.Context(), all[1].Key, all[498].Key, all[499].Key) {
			if a.State != []window.State{window.ClosedByPlatform, window.Exhausted, window.ClosedByPlatform}[i] {
				b.Errorf("window %d is %v", i, a.State)
			}
		}
		count.lost.Store(nil)
		within(b.T, "a page that costs nothing", func() bool { sent, _ := correct(false); return sent == 0 })
		if _, err := b.Record(b.Context(), []window.Fact{{Key: all[7].Key, At: p.facts[7].At.Add(time.Minute)}}); err != nil {
			b.Fatal(err)
		}
		within(b.T, "the repeated failure to be applied", func() bool {
			correct(false)
			return b.Peek(b.Context(), all[7].Key)[0].State == window.ClosedByPlatform
		})
		if sent, _ := correct(false); sent != 0 {
			b.Errorf("then %d are sent", sent)
		}
	})
}

// A failure that Redis did not take is applied when its page is pulled again.
func TestCorrectionIsTriedAgain(t *testing.T) {
	eachShared(t, func(b *bench) {
		b.wrote(li, b.clock.Now())
		count := &corrected{}
		addHook(b.T, b.rdb, count)
		key := li.RedisKey("rg:")
		count.lost.Store(&key)
		c := window.Correction{Key: li, At: b.clock.Now().Add(time.Hour), Outcome: window.WindowClosed}
		if err := b.Correct(b.Context(), c); err == nil {
			b.Fatal("no error")
		}
		count.lost.Store(nil)
		count.sent.Store(0)
		if err := b.Correct(b.Context(), c); err != nil || count.sent.Load() == 0 {
			b.Errorf("%d are sent: %v", count.sent.Load(), fmt.Sprint(err))
		}
	})
}
