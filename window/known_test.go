package window_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/window"
)

// written counts writes of windows and codes, and the pipelines that have some.
type written struct{ writes, pipelines atomic.Int32 }

func (c *written) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *written) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *written) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		n := 0
		for _, cmd := range cmds {
			if writes(cmd, "rg:window:|rg:code:") {
				n++
			}
		}
		if n > 0 {
			c.writes.Add(int32(n))
			c.pipelines.Add(1)
		}
		return next(ctx, cmds)
	}
}

// page is a page of n messages and n codes, as a bot without a cursor pulls it again and again.
type page struct {
	facts []window.Fact
	codes []window.LearntCode
}

func newPage(n int, at time.Time) (p page) {
	for i := range n {
		k := window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", i)}
		p.facts = append(p.facts, window.Fact{Key: k, At: at})
		p.codes = append(p.codes, window.LearntCode{Text: fmt.Sprintf("code%d", i), Code: window.Code{Key: k, Kind: "enter_session", Deadline: at.Add(time.Minute)}})
	}
	return p
}

// eachShared is each without the embedded store, where nothing is known.
func eachShared(t *testing.T, body func(b *bench)) {
	each(t, 5, func(b *bench) {
		if b.client.Embedded == nil {
			body(b)
		}
	})
}

// record records a page, and returns how many writes and pipelines that took.
func (b *bench) record(c *written, p page) (writes, pipelines int) {
	b.Helper()
	c.writes.Store(0)
	c.pipelines.Store(0)
	tally, err := b.Record(b.Context(), p.facts)
	if err != nil || tally.Recorded != len(p.facts) {
		b.Fatalf("recorded %+v, %v", tally, err)
	}
	if err := b.LearnCodes(b.Context(), p.codes); err != nil {
		b.Fatal(err)
	}
	return int(c.writes.Load()), int(c.pipelines.Load())
}

// warm records a page until that takes no write.
func (b *bench) warm(c *written, p page) {
	b.Helper()
	within(b.T, "a page that costs nothing", func() bool {
		_, pipelines := b.record(c, p)
		return pipelines == 0
	})
}

// A page that this gateway has recorded costs no round trip. One new message costs one.
func TestKnownPage(t *testing.T) {
	eachShared(t, func(b *bench) {
		count := &written{}
		addHook(b.T, b.rdb, count)
		p := newPage(300, b.clock.Now())
		b.warm(count, p)
		p.facts[7].At = p.facts[7].At.Add(time.Second)
		if writes, pipelines := b.record(count, p); writes != 1 || pipelines != 1 {
			b.Errorf("a page with one new message took %d writes in %d pipelines", writes, pipelines)
		}
		older := slices.Clone(p.facts)
		for i := range older {
			older[i].At = older[i].At.Add(-time.Hour)
		}
		if writes, _ := b.record(count, page{facts: older}); writes != 0 {
			b.Errorf("older messages of the same customers took %d writes", writes)
		}
	})
}

// What may show a loss, or changes a window by hand, has pages written again.
func TestKnownIsForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(b *bench) error
		want int // writes of a page of 20 messages and 20 codes
	}{
		"gap of a channel": {func(b *bench) error {
			_, err := b.RecordGaps(b.Context(), window.Loss{Corp: "ww1", Channel: "wk1", Messages: true})
			return err
		}, 40},
		"gap of all": {func(b *bench) error { return b.Store.RecordGap(b.Context()) }, 40},
		"close": {func(b *bench) error {
			_, err := b.Close(b.Context(), window.Key{Corp: "ww1", Channel: "wk1", Customer: "wm3"})
			return err
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			eachShared(t, func(b *bench) {
				count := &written{}
				addHook(b.T, b.rdb, count)
				p := newPage(20, b.clock.Now())
				b.warm(count, p)
				if err := c.do(b); err != nil {
					b.Fatal(err)
				}
				if writes, _ := b.record(count, p); writes < c.want { // more if a renewal was late
					b.Errorf("%d writes, want %d", writes, c.want)
				}
			})
		})
	}
}

// After FLUSHALL, the page that a bot pulls again and again is written once more, although the
// gateway repeats what it wrote in the last minutes by itself.
func TestKnownPageAfterAFlush(t *testing.T) {
	eachShared(t, func(b *bench) {
		count := &written{}
		addHook(b.T, b.rdb, count)
		p := newPage(20, b.clock.Now())
		b.warm(count, p)
		if err := b.rdb.FlushAll(b.Context()).Err(); err != nil {
			b.Fatal(err)
		}
		within(b.T, "the gap, and a lease after it", func() bool {
			return b.GapCounts()["flushed"] > 0 && b.Status().Held && len(b.Status().Causes) == 0
		})
		if writes, _ := b.record(count, p); writes < 40 {
			b.Errorf("%d writes, want 40", writes)
		}
		for _, f := range p.facts {
			if b.rdb.Exists(b.Context(), f.Key.RedisKey("rg:")).Val() == 0 {
				b.Errorf("the window of %s is missing", f.Key.Customer)
			}
		}
	})
}

// A reply is not refused because something deleted the key of a window whose message this gateway
// recorded, and the page that a bot pulls again restores it.
func TestKnownWindowIsDeleted(t *testing.T) {
	eachShared(t, func(b *bench) {
		count := &written{}
		addHook(b.T, b.rdb, count)
		p := newPage(20, b.clock.Now())
		b.warm(count, p)
		k := p.facts[3].Key
		for _, ask := range map[string]func() window.Answer{
			"reserve": func() window.Answer { return b.Reserve(b.Context(), k) },
			"peek":    func() window.Answer { return b.Peek(b.Context(), k)[0] },
		} {
			b.warm(count, p)
			b.rdb.Del(b.Context(), k.RedisKey("rg:"))
			if a := ask(); a.State != window.Unproven {
				b.Errorf("%+v", a)
			}
			if writes, _ := b.record(count, p); writes != 40 {
				b.Errorf("the page took %d writes, want 40", writes)
			}
			if a := b.Reserve(b.Context(), k); a.State != window.Open {
				b.Errorf("after the page: %+v", a)
			}
		}
		b.rdb.Del(b.Context(), k.RedisKey("rg:"))
		b.clock.Advance(length)
		if a := b.Reserve(b.Context(), k); a.State != window.Closed {
			b.Errorf("after the length of a window: %+v", a)
		}
	})
}
