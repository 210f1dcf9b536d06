package window_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/window"
)

// nth reports true from the nth command with a name on.
func nth(name string, n int) func(redis.Cmder) bool {
	var seen atomic.Int32
	return func(cmd redis.Cmder) bool { return cmd.Name() == name && int(seen.Add(1)) >= n }
}

// chats are many customers of many corps, of whom every third has an answer.
type chats struct {
	*testing.T
	corps int

	mu       sync.Mutex
	facts    []window.Fact
	answered map[window.Key]bool
}

func (c *chats) key(corp, n int) window.Key {
	return window.Key{Corp: fmt.Sprintf("ww%d", corp), Channel: "wk1", Customer: fmt.Sprintf("wm%d", n)}
}

// begin records the chats through a gateway.
func (c *chats) begin(w *window.Store, each int) {
	c.Helper()
	var replies []window.Reply
	for corp := range c.corps {
		for n := range each {
			k := c.key(corp, n)
			c.facts = append(c.facts, window.Fact{Key: k, At: time.Now().Add(-time.Duration(corp+n) * time.Minute)})
			if n%3 == 0 {
				replies = append(replies, window.Reply{Key: k, Kind: window.ByBot, At: time.Now(), ID: k.Corp + k.Customer})
				c.answered[k] = true
			}
		}
	}
	if _, err := w.Record(c.Context(), c.facts); err != nil {
		c.Fatal(err)
	}
	if _, err := w.RecordReplies(c.Context(), replies); err != nil {
		c.Fatal(err)
	}
	if err := w.Flush(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// work answers chats that wait, one after the other, and looks at the list after each, until ctx
// ends: no chat may be on it whose answer is on record.
func (c *chats) work(ctx context.Context, w *window.Store) {
	for i := 0; ctx.Err() == nil; i++ {
		f := c.facts[i*7%len(c.facts)]
		if i < len(c.facts)/20 {
			reply := []window.Reply{{Key: f.Key, Kind: window.ByBot, At: time.Now(), ID: fmt.Sprint(i)}}
			for ctx.Err() == nil {
				if _, err := w.RecordReplies(ctx, reply); err == nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			c.mu.Lock()
			c.answered[f.Key] = true
			c.mu.Unlock()
		}
		c.look(ctx, w, f.Key.Corp)
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *chats) look(ctx context.Context, w *window.Store, corp string) {
	c.mu.Lock()
	var done []window.Key
	for k := range c.answered {
		if k.Corp == corp {
			done = append(done, k)
		}
	}
	c.mu.Unlock()
	page, err := w.ListByClose(ctx, window.Query{Corps: []string{corp}, Waiting: true, Limit: 50})
	if err != nil {
		return // Redis is away
	}
	for _, e := range page.Entries {
		if slices.Contains(done, e.Key) {
			c.Errorf("%s has an answer, and is listed as waiting", e.Key)
		}
	}
}

// waiting is how many chats wait.
func (c *chats) waiting() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.facts) - len(c.answered)
}

// The leader dies while it restores the lists or counts them, and Redis fails over. Another gateway
// leads after it: then the lists and sums are right, and at no time an answered chat was listed.
func TestLeaderOfWaitingDies(t *testing.T) {
	slow(t, "waits for leaders")
	walks := func() func(redis.Cmder) bool { return nth("scan", 2) }
	counts := func() func(redis.Cmder) bool { return nth("zremrangebyscore", 250) } // in the second of two pipelines
	for name, c := range map[string]struct {
		at       func() func(redis.Cmder) bool
		failover string
	}{
		"while it walks": {walks, ""},
		"while it walks, and then Redis fails over":    {walks, "later"},
		"while it counts, and then Redis fails over":   {counts, "later"},
		"while it counts, and Redis's primary with it": {counts, "at once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.failover == "" {
				leaderDies(t, storetest.Start(t).Config(), c.at(), true, func(*window.Store) {})
				return
			}
			redis, master, replica, _ := storetest.StartSentinel(t)
			leaderDies(t, redis, c.at(), c.failover == "later", func(second *window.Store) {
				if c.failover == "later" {
					within(t, "the leader's lease to end", func() bool { return len(second.Status().Causes) > 0 })
					time.Sleep(4 * time.Second) // longer than a write of it may take
				}
				master.Down()
				replica.Await("role:master", "info", "replication")
			})
		})
	}
}

func leaderDies(t *testing.T, c config.Redis, at func(redis.Cmder) bool, tells bool, fault func(second *window.Store)) {
	set := settings(5, time.Now)
	set.Timeout = 500 * time.Millisecond
	gateway := func() (*store.Client, *window.Store) {
		s := storetest.Open(t, c, time.Now)
		w, _ := newStore(t, s, set)
		return s, w
	}
	one, first := gateway()
	other, second := gateway()
	agree(t, first, second)
	all := &chats{T: t, corps: 150, answered: map[window.Key]bool{}}
	all.begin(first, 10)
	for corp := range all.corps { // the walk has something to restore, and something to remove
		k := all.key(corp, 0)
		other.Del(t.Context(), second.WaitingKey(k.Corp))
		other.ZAdd(t.Context(), second.WaitingKey(k.Corp), redis.Z{Score: float64(time.Now().UnixMilli()), Member: "wk1:wm0"})
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	m := storetest.NewMortal(one.UniversalClient, at)
	running.Go(func() { first.RunWaiting(ctx) })
	<-m.Died
	running.Go(func() { second.RunWaiting(ctx) })
	running.Go(func() { all.work(ctx, second) })
	if n := other.Exists(t.Context(), "rg:leader:waiting").Val(); n != 1 {
		t.Error("the leader has given its lock back: it is not dead")
	}
	fault(second)
	inTime(t, time.Minute, "the end of the leader's term", func() bool { // which is 15 seconds
		return other.PExpire(t.Context(), "rg:leader:waiting", time.Millisecond).Err() == nil
	})
	var last string // look
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("at last:", last)
		}
	})
	told := func() bool { // else the dead gateway may have had answers that the new primary lacks
		untold, err := second.Untold(t.Context(), window.Query{})
		last = fmt.Sprintf("untold of %d, %v", len(untold), err)
		return err == nil && len(untold) == 0
	}
	inTime(t, time.Minute, fmt.Sprintf("the lists and sums to be right, and that it can be told who is answered to be %v", tells), func() bool {
		if told() != tells { // a member that has not come back is missed after a few seconds
			return false
		}
		want := all.waiting()
		sums := min(want, all.corps)
		if !tells {
			want, sums = 0, all.corps // they say so
		}
		second.ForgetSums()
		sum, err := second.CountWaiting(t.Context(), window.Query{})
		counted := other.HLen(t.Context(), "rg:waiting-sum").Val()
		last += fmt.Sprintf("; %d wait, want %d, %v; sums of %d, want %d; the lock %v", sum.All, want, err, counted, sums, other.PTTL(t.Context(), "rg:leader:waiting").Val())
		return err == nil && sum.All == want && counted == int64(sums)
	})
}

// Redis comes back without the last answers. Their gateways write them again; until then no page is
// made. If one of them is gone, or had too many to keep, nobody can tell which of the older chats
// are answered.
func TestRedisLosesAnswers(t *testing.T) {
	slow(t, "restores a redis-server")
	for _, lost := range []string{"", "gone", "too many"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			server := storetest.Start(t)
			set := settings(5, time.Now)
			set.Timeout = 500 * time.Millisecond
			one, other := storetest.Open(t, server.Config(), time.Now), storetest.Open(t, server.Config(), time.Now)
			first, _ := newStore(t, one, set)
			second, _ := newStore(t, other, set)
			agree(t, first, second)
			m := storetest.NewMortal(one.UniversalClient, nil)
			all := &chats{T: t, corps: 1, answered: map[window.Key]bool{}}
			all.begin(first, 9)
			dump := server.Dump()
			time.Sleep(time.Second) // of renewals, which the dump does not have
			for n, w := range []*window.Store{1: first, 2: second} {
				if w == nil {
					continue
				}
				k := all.key(0, n)
				if _, err := w.RecordReplies(t.Context(), []window.Reply{{Key: k, Kind: window.ByBot, At: time.Now(), ID: fmt.Sprint(n)}}); err != nil {
					t.Fatal(err)
				}
				all.answered[k] = true
			}
			switch lost {
			case "gone":
				m.Die()
			case "too many":
				second.KeepNoReplies()
			}
			server.Restore(dump)
			for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				all.look(t.Context(), second, "ww0")
			}
			want := 4
			if lost != "" {
				want = 0
			}
			last := ""
			defer func() {
				if t.Failed() {
					t.Log("at last:", last)
				}
			}()
			within(t, "a page", func() bool {
				page, err := second.ListByClose(t.Context(), window.Query{Waiting: true, Limit: 50, Corps: []string{"ww0"}})
				last = fmt.Sprint(page.Entries, err)
				return err == nil && len(page.Entries) == want
			})
			untold, err := second.Untold(t.Context(), window.Query{Corps: []string{"ww0"}})
			if err != nil || (lost != "") != (len(untold) == 1 && untold[0].Why == window.UntoldGap) {
				t.Errorf("untold: %+v %v", untold, err)
			}
			if _, err := second.Record(t.Context(), []window.Fact{{Key: all.key(0, 8), At: time.Now().Add(time.Second)}}); err != nil {
				t.Error(err)
			}
			page, err := second.ListByClose(t.Context(), window.Query{Waiting: true, Limit: 50, Corps: []string{"ww0"}})
			if err != nil || len(page.Entries) != max(want, 1) {
				t.Errorf("after a new message: %+v %v", page.Entries, err)
			}
		})
	}
}
