package window_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"replygate/config"
	"replygate/record"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

func TestWindowEdges(t *testing.T) {
	each(t, 5, func(b *bench) {
		at := b.clock.Now()
		b.wrote(li, at)
		b.clock.Set(at.Add(length - time.Millisecond))
		b.reserve(li, window.Open, 4)
		b.clock.Set(at.Add(length))
		b.reserve(li, window.Closed, 0)
		b.wrote(li, at.Add(length))
		b.reserve(li, window.Open, 4)
	})
}

func TestSixthReply(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.wrote(li, b.clock.Now()) // the replies are within the message's own second
		for left := 4; left >= 0; left-- {
			b.reserve(li, window.Open, left)
		}
		b.reserve(li, window.Exhausted, 0)
		b.clock.Advance(time.Minute)
		b.reserve(li, window.Exhausted, 0)
		b.wrote(li, b.clock.Now())
		b.reserve(li, window.Open, 4)
	})
}

// Keys that hold no window do not affect other windows of the same batch.
func TestBrokenWindowsDoNotSpreadInABatch(t *testing.T) {
	each(t, 5, func(b *bench) {
		key := func(name string) window.Key { return window.Key{Corp: "ww1", Channel: "wk1", Customer: name} }
		now := b.clock.Now()
		stamp := fmt.Sprint(now.UnixMilli())
		b.wrote(key("good"), now)
		b.rdb.Set(b.Context(), key("text").RedisKey("rg:"), "x", 0)
		for name, fields := range map[string][]any{
			"last":  {"last", "yesterday"},
			"sent":  {"last", stamp, "sent", "thirteen-char"},
			"early": {"last", stamp, "sent", "1000000000000,junk_junk_jun"},
			"shut":  {"last", stamp, "shut", "never"},
			"empty": {"last", stamp, "sent", ""},
			"other": {"note", "x"},
		} {
			b.rdb.HSet(b.Context(), key(name).RedisKey("rg:"), fields...)
		}
		names := []string{"text", "good", "last", "sent", "early", "good", "shut", "empty", "other", "none", "good"}
		keys := make([]window.Key, len(names))
		for i, name := range names {
			keys[i] = key(name)
		}
		answers, errs := b.ReserveTogether(b.Context(), keys...)
		if len(answers) != len(keys) {
			b.Fatal(errs)
		}
		left := 5
		for i, name := range names {
			broken := name == "text" || name == "last"
			if broken != (errs[i] != nil) {
				b.Errorf("%s: %v", name, errs[i])
			}
			switch a := answers[i]; name {
			case "good":
				if left--; a.State != window.Open || a.Left != left {
					b.Errorf("the good one: %+v", a)
				}
			case "sent", "early", "shut", "empty":
				if a.State != window.Open || a.Left != 4 {
					b.Errorf("%s: %+v", name, a)
				}
			case "other", "none":
				if a.State != window.Closed {
					b.Errorf("%s: %+v", name, a)
				}
			}
		}
	})
}

// A reservation whose caller has given up is not counted, though others of its batch are.
func TestLateReservationOfABatch(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.health.sameClock = true
		keys, facts := customers(4, b.clock.Now())
		if _, err := b.Record(b.Context(), facts); err != nil {
			b.Fatal(err)
		}
		late := func(i int) bool { return i%2 == 1 }
		_, errs := b.ReserveUntil(b.Context(), func(i int) time.Time {
			if late(i) {
				return time.Now().Add(-time.Minute)
			}
			return time.Now().Add(time.Duration(i+1) * time.Minute)
		}, keys...)
		if len(errs) != len(keys) {
			b.Fatal(errs)
		}
		for i, k := range keys {
			counted := b.rdb.HExists(b.Context(), k.RedisKey("rg:"), "sent").Val()
			if (errs[i] != nil) != late(i) || counted == late(i) {
				b.Errorf("%d: late %v, counted %v, %v", i, late(i), counted, errs[i])
			}
		}
	})
}

// The next message of a customer replaces a key that holds no window, and other messages of the
// batch are recorded too.
func TestMessageRepairsBrokenWindow(t *testing.T) {
	each(t, 5, func(b *bench) {
		wang := window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmWang"}
		for name, spoil := range map[string]func(key string) error{
			"text": func(key string) error { return b.rdb.Set(b.Context(), key, "x", 0).Err() },
			"list": func(key string) error { return b.rdb.RPush(b.Context(), key, "x").Err() },
			"last": func(key string) error {
				return b.rdb.HSet(b.Context(), key, "last", "yesterday", "shut", "never").Err()
			},
			"sent": func(key string) error { return b.rdb.HSet(b.Context(), key, "sent", "junk").Err() },
		} {
			b.rdb.Del(b.Context(), li.RedisKey("rg:"))
			b.rdb.Del(b.Context(), wang.RedisKey("rg:"))
			b.clock.Advance(time.Second)
			now := b.clock.Now()
			if err := spoil(li.RedisKey("rg:")); err != nil {
				b.Fatal(err)
			}
			tally, err := b.Record(b.Context(), []window.Fact{{Key: li, At: now}, {Key: wang, At: now}})
			if err != nil || tally.Recorded != 2 {
				b.Errorf("%s: %+v, %v", name, tally, err)
			}
			for _, k := range []window.Key{li, wang} {
				if a := b.Reserve(b.Context(), k); a.State != window.Open || a.Left != 4 {
					b.Errorf("%s: %s: %+v", name, k.Customer, a)
				}
			}
		}
	})
}

// A broken window is logged once a minute, without the customer's id, and listed as broken.
func TestBrokenWindowIsReported(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, c config.Redis, s *store.Client) {
		for _, replies := range []int{0, 5} {
			seen, lines := observer.New(zap.WarnLevel)
			clock := wecomtest.NewClock()
			clock.Set(time.Now())
			set := settings(replies, clock.Now)
			set.Log = record.RateLimit(zap.New(seen), clock.Now)
			w, _ := newStore(t, s, set)
			s.Del(t.Context(), li.RedisKey("rg:"))
			err := s.HSet(t.Context(), li.RedisKey("rg:"), "last", "yesterday").Err()
			if replies > 0 {
				err = s.Set(t.Context(), li.RedisKey("rg:"), "x", 0).Err()
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if a := w.Reserve(t.Context(), li); a.State != window.Unavailable {
					t.Errorf("Reserve: %+v", a)
				}
			}
			if a := w.Peek(t.Context(), li); a[0].State != window.Unavailable {
				t.Errorf("Peek: %+v", a)
			}
			clock.Advance(time.Minute)
			w.Reserve(t.Context(), li)
			all := lines.TakeAll()
			if len(all) != 2 || strings.Contains(fmt.Sprint(all[0].Message, all[0].ContextMap()), li.Customer) {
				t.Errorf("replies: %d: logged: %v", replies, all)
			}
			if err := w.Correct(t.Context(), window.Correction{Key: li, At: clock.Now(), Outcome: window.WindowClosed}); err != nil {
				t.Errorf("Correct: %v", err)
			}
			if all := scanAll(t, w, "", 10); len(all) != 1 || !all[li].Broken {
				t.Errorf("Scan: %v", all)
			}
			if e, found, err := w.Show(t.Context(), li); err != nil || !found || !e.Broken {
				t.Errorf("Show: %v, %v, %v", e, found, err)
			}
			if _, err := w.Close(t.Context(), li); err == nil || !strings.Contains(err.Error(), li.RedisKey("rg:")+" holds no window: delete it") {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

// With a gap, only replies after it prove that a window is exhausted.
func TestExhaustedBeforeAGap(t *testing.T) {
	each(t, 5, func(b *bench) {
		at := b.clock.Now()
		use := func(n int) {
			for range n {
				b.Reserve(b.Context(), li)
			}
		}
		b.wrote(li, at)
		use(3)
		b.clock.Advance(time.Hour)
		b.since(0) // a page was missed
		b.clock.Advance(time.Minute)
		use(2)
		for range 2 {
			if a := b.reserve(li, window.Incomplete, -1); !a.Last.Equal(at) || a.Reserved() {
				b.Errorf("before a gap: %+v", a)
			}
		}
		b.peek(window.Incomplete, li)
		b.since(-2 * time.Hour) // a backfill, or the operator, lowers it
		b.reserve(li, window.Exhausted, 0)
		b.since(-time.Second)
		b.settle(li, b.reserve(li, window.Incomplete, -1), window.QuotaExhausted) // WeCom's answer outranks the gap
		b.reserve(li, window.Exhausted, 0)

		b.clock.Advance(time.Minute)
		b.wrote(li, b.clock.Now())
		b.clock.Advance(time.Minute)
		use(2)
		b.since(0)
		b.clock.Advance(time.Minute)
		b.settle(li, b.reserve(li, window.Open, 2), window.QuotaExhausted) // WeCom's answer is newer than the gap
		b.reserve(li, window.Exhausted, 0)
		b.clock.Advance(time.Minute)

		b.wrote(li, b.clock.Now())
		b.clock.Advance(time.Minute)
		b.since(0)
		b.clock.Advance(time.Minute)
		use(5) // all of them after the gap
		b.reserve(li, window.Exhausted, 0)
		b.clock.Advance(time.Minute)
		b.wrote(li, b.clock.Now())
		use(5)
		b.reserve(li, window.Exhausted, 0) // of a message after the gap
	})
}

// A gap that is written after a later one does not lower rg:since.
func TestLateGap(t *testing.T) {
	each(t, 5, func(b *bench) {
		for _, gap := range []time.Duration{0, -time.Minute, time.Minute} {
			b.clock.Advance(gap)
			if err := b.RecordGap(b.Context()); err != nil {
				b.Fatal(err)
			}
			latest := b.clock.Now().Add(max(0, -gap))
			if _, since, err := b.Complete(b.Context(), "", ""); err != nil || !since.Equal(latest) {
				b.Errorf("since %s, want %s: %v", since, latest, err)
			}
		}
	})
}

// If rg:since holds no unix ms, history is incomplete and the log reports the key.
func TestBrokenSince(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, c config.Redis, s *store.Client) {
		seen, lines := observer.New(zap.WarnLevel)
		set := settings(0, time.Now)
		set.Log = record.RateLimit(zap.New(seen), time.Now)
		w, _ := newStore(t, s, set)
		if err := s.Set(t.Context(), "rg:since", "2026-01-01", 0).Err(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if complete, _, err := w.Complete(t.Context(), "ww1", "wk1"); complete || err != nil {
				t.Errorf("complete: %v, %v", complete, err)
			}
		}
		if all := lines.TakeAll(); len(all) != 1 || all[0].ContextMap()["key"] != "rg:since" {
			t.Errorf("logged: %v", all)
		}
	})
}

func TestLateMessageDoesNotReopen(t *testing.T) {
	each(t, 5, func(b *bench) {
		at := b.clock.Now()
		b.wrote(li, at)
		b.clock.Advance(time.Hour)
		for left := 4; left >= 0; left-- {
			b.reserve(li, window.Open, left)
		}
		b.wrote(li, at.Add(30*time.Minute)) // becomes known late, but is older than the replies
		b.reserve(li, window.Exhausted, 0)
		b.wrote(li, at) // replayed
		b.reserve(li, window.Exhausted, 0)
	})
}

func TestRejectedReplyIsReleased(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.wrote(li, b.clock.Now())
		a := b.reserve(li, window.Open, 4)
		c := b.reserve(li, window.Open, 3)
		b.settle(li, a, window.Rejected)
		b.reserve(li, window.Open, 3)
		b.settle(li, c, window.Sent)
		b.reserve(li, window.Open, 2)
	})
}

func TestSettleAppliesWeComsAnswer(t *testing.T) {
	each(t, 5, func(b *bench) {
		at := b.clock.Now()
		b.wrote(li, at)
		b.settle(li, b.reserve(li, window.Open, 4), window.QuotaExhausted)
		b.reserve(li, window.Exhausted, 0)
		b.clock.Advance(time.Minute)
		b.wrote(li, at.Add(time.Minute))
		b.settle(li, b.reserve(li, window.Open, 4), window.WindowClosed)
		b.reserve(li, window.ClosedByPlatform, 0)
		b.wrote(li, at, at.Add(time.Minute)) // a replay opens nothing
		b.reserve(li, window.ClosedByPlatform, 0)
		b.wrote(li, at.Add(2*time.Minute))
		b.reserve(li, window.Open, 4)
	})
}

func TestMessagesOutOfRange(t *testing.T) {
	each(t, 5, func(b *bench) {
		now := b.clock.Now()
		tally, err := b.Record(b.Context(), []window.Fact{
			{Key: li, At: now.Add(5*time.Minute + time.Second)},
			{Key: li, At: now.Add(-length)},
		})
		if err != nil || tally.Ahead != 1 || tally.Expired != 1 || tally.Recorded != 0 {
			b.Fatalf("Record = %+v, %v", tally, err)
		}
		b.reserve(li, window.Incomplete, -1) // the message ahead marked a gap
		b.wrote(li, now.Add(5*time.Minute))  // the largest tolerated difference
		b.reserve(li, window.Open, 4)
	})
}

func TestColdStart(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.since(-length + time.Second)
		b.reserve(li, window.Incomplete, -1)
		b.clock.Advance(time.Second)
		b.reserve(li, window.Closed, 0)
		if err := b.RecordGap(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.reserve(li, window.Incomplete, -1)
		if err := b.rdb.Del(b.Context(), "rg:since").Err(); err != nil { // state was lost
			b.Fatal(err)
		}
		b.reserve(li, window.Incomplete, -1)
		if n := b.rdb.Exists(b.Context(), "rg:since").Val(); n != 1 {
			b.Fatal("history does not begin anew after a loss of state")
		}
	})
}

func TestUncountedReplies(t *testing.T) {
	each(t, 0, func(b *bench) {
		b.wrote(li, b.clock.Now())
		for range 20 {
			b.reserve(li, window.Open, -1)
		}
	})
}

// Of fifty concurrent replies through two gateways exactly five are open.
func TestReservationsAreAtomic(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.wrote(li, b.clock.Now())
		other := b.other()
		gateways := []*window.Store{b.Store, other}
		var open, full sync.Map
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				switch a := settled(window.Exhausted, func() window.Answer { return gateways[i%2].Reserve(context.Background(), li) }); a.State {
				case window.Open:
					open.Store(i, a)
				case window.Exhausted:
					full.Store(i, a)
				default:
					b.Errorf("Reserve = state %d", a.State)
				}
			})
		}
		all.Wait()
		if n, m := size(&open), size(&full); n != 5 || m != 45 {
			b.Fatalf("%d replies are open and %d exhausted; want 5 and 45", n, m)
		}
	})
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func TestLayout(t *testing.T) {
	each(t, 5, func(b *bench) {
		at := b.clock.Now()
		k := window.Key{Corp: "ww1", Channel: "wk:1", Customer: "wm}Ü*"}
		b.wrote(k, at)
		b.clock.Advance(90 * time.Second)
		b.reserve(k, window.Open, 4)
		key := "rg:window:{ww1:wk%3A1:wm%7D%C3%9C%2A}"
		h, err := b.rdb.HGetAll(b.Context(), key).Result()
		if err != nil || len(h) != 2 || h["last"] != fmt.Sprint(at.UnixMilli()) || h["sent"] != fmt.Sprint(b.clock.Now().UnixMilli()) {
			b.Fatalf("hash = %v, %v", h, err)
		}
		if ttl := b.rdb.PTTL(b.Context(), key).Val(); ttl > length || ttl < length-time.Minute {
			b.Fatalf("PTTL = %s, want about %s", ttl, length)
		}
		e, found, err := b.Show(b.Context(), k)
		if err != nil || !found || e.Key != k || e.State != window.Open || e.Left != 4 || !e.Closes.Equal(at.Add(length)) {
			b.Fatalf("Show = %+v, %v, %v", e, found, err)
		}
	})
}

func TestScan(t *testing.T) {
	each(t, 5, func(b *bench) {
		for i := range 30 {
			b.wrote(window.Key{Corp: fmt.Sprintf("ww%d", i%3), Customer: fmt.Sprintf("wm%d", i)}, b.clock.Now())
		}
		if all := scanAll(b.T, b.Store, "", 4); len(all) != 30 {
			b.Errorf("%d windows", len(all))
		}
		of := scanAll(b.T, b.Store, "ww1", 4)
		for k := range of {
			if k.Corp != "ww1" {
				b.Errorf("%v belongs to another corp", k)
			}
		}
		if len(of) != 10 {
			b.Errorf("%d windows of one corp", len(of))
		}
	})
}

// The store agrees with the functions of window.go after every step of random histories.
func TestStoreFollowsTheModel(t *testing.T) {
	each(t, 3, func(b *bench) {
		for history := range many(60) {
			b.follow(window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", history)}, rand.New(rand.NewPCG(1, uint64(history))))
		}
	})
}

func (b *bench) follow(k window.Key, random *rand.Rand) {
	b.Helper()
	var model window.Window
	type reservation struct {
		answer window.Answer
		last   int64
		stamp  int64
	}
	var reserved []reservation
	for range 40 {
		now := b.clock.Now()
		switch random.IntN(6) {
		case 0, 1: // a message, perhaps a late one
			at := now.Add(-time.Duration(random.IntN(5000)) * time.Millisecond)
			b.wrote(k, at)
			model = model.Record(at.UnixMilli())
		case 2, 3:
			want := model.Judge(now.UnixMilli(), length, 3)
			a := settled(want, func() window.Answer { return b.Reserve(b.Context(), k) })
			if a.State != want {
				b.Fatalf("state %d, the model has %d: %+v", a.State, want, model)
			}
			if want == window.Open {
				var stamp int64
				model, stamp = model.Reserve(now.UnixMilli(), 0)
				reserved = append(reserved, reservation{a, model.Last, stamp})
				if a.Left != model.Left(3) {
					b.Fatalf("left %d, the model has %d: %+v", a.Left, model.Left(3), model)
				}
			}
		case 4:
			if len(reserved) == 0 {
				continue
			}
			r := reserved[0]
			reserved = reserved[1:]
			o := window.Outcome(random.IntN(4))
			b.settle(k, r.answer, o)
			switch o {
			case window.Rejected:
				model = model.Release(r.stamp)
			case window.QuotaExhausted:
				model = model.Exhaust(r.last, r.stamp, 3)
			case window.WindowClosed:
				model = model.Release(r.stamp).Close(r.last)
			}
		case 5:
			b.clock.Advance(time.Duration(random.IntN(3000)) * time.Millisecond)
		}
		e, found, err := b.Show(b.Context(), k)
		if err != nil || found != (model.Last != 0) {
			b.Fatalf("Show: found %v, %v; the model: %+v", found, err, model)
		}
		if found && asText(e.Window) != asText(model) {
			b.Fatalf("store %+v, model %+v", e.Window, model)
		}
	}
}

// Facts commute: messages and replies in any order give the same state.
func TestFactsCommute(t *testing.T) {
	each(t, 5, func(b *bench) {
		start := b.clock.Now()
		for n := range many(40) {
			random := rand.New(rand.NewPCG(2, uint64(n)))
			var facts []window.Fact
			for range 8 {
				at := start.Add(-time.Duration(random.IntN(20_000)) * time.Millisecond)
				facts = append(facts, window.Fact{At: at})
			}
			var states []string
			for order := range 4 {
				k := window.Key{Corp: "ww1", Customer: fmt.Sprintf("wm%d-%d", n, order)}
				// Replies at fixed times, while only the first message is known.
				b.wrote(k, start.Add(-time.Minute))
				for i := range 3 {
					b.clock.Set(start.Add(-time.Duration(15-5*i) * time.Second))
					b.reserve(k, window.Open, 4-i)
				}
				b.clock.Set(start)
				random.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
				for i := range facts {
					facts[i].Key = k
				}
				if _, err := b.Record(b.Context(), facts); err != nil { // in one page
					b.Fatal(err)
				}
				for _, f := range facts { // and once more, one by one
					b.wrote(k, f.At)
				}
				e, _, err := b.Show(b.Context(), k)
				if err != nil {
					b.Fatal(err)
				}
				states = append(states, asText(e.Window))
			}
			for _, s := range states {
				if s != states[0] {
					b.Fatalf("the order of facts matters: %q", states)
				}
			}
		}
	})
}

func TestKeysDiffer(t *testing.T) {
	clock := wecomtest.NewClock()
	s := storetest.Open(t, storetest.Embedded(t), clock.Now)
	w, _ := newStore(t, s, settings(5, clock.Now))
	ids := []string{"", "a", "A", "a:b", "{a}", "a%3Ab", "ü"}
	n := 0
	for _, corp := range ids[1:] {
		for _, channel := range ids {
			for _, customer := range ids[1:] {
				if _, err := w.Record(t.Context(), []window.Fact{{Key: window.Key{Corp: corp, Channel: channel, Customer: customer}, At: clock.Now()}}); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
	}
	if all := scanAll(t, w, "", 1000); len(all) != n {
		t.Fatalf("%d identities left %d windows", n, len(all))
	}
}

// While a gateway may hold what Redis lacks, no record proves that the customer has not written.
func TestDegraded(t *testing.T) {
	each(t, 1, func(b *bench) {
		now := b.clock.Now()
		key := func(name string) window.Key { return window.Key{Corp: "ww1", Channel: "wk1", Customer: name} }
		b.wrote(key("wmOld"), now.Add(-length))
		for _, name := range []string{"wmFull", "wmShut", "wmOpen"} {
			b.wrote(key(name), now)
		}
		b.reserve(key("wmFull"), window.Open, 0)
		if _, err := b.Close(b.Context(), key("wmShut")); err != nil {
			b.Fatal(err)
		}
		for _, row := range []struct {
			customer         string
			proven, degraded window.State
		}{
			{"wmNever", window.Closed, window.Unproven},
			{"wmOld", window.Closed, window.Unproven},
			{"wmFull", window.Exhausted, window.Unproven},
			{"wmShut", window.ClosedByPlatform, window.Unavailable}, // an operator may have shut it
			{"wmOpen", window.Open, window.Open},
		} {
			peek := func(want window.State) {
				b.Helper()
				if a := settled(want, func() window.Answer { return b.Peek(b.Context(), key(row.customer))[0] }); a.State != want {
					b.Errorf("%s: Peek = %s, want %s", row.customer, a.State, want)
				}
			}
			peek(row.proven)
			undo := b.degrade()
			peek(row.degraded)
			undo()
			peek(row.proven)
		}
		undo := b.degrade()
		if a := b.reserve(key("wmFull"), window.Unproven, -1); !a.Last.Equal(now) || a.Reserved() {
			b.Errorf("Reserve = %+v", a)
		}
		b.reserve(key("wmNever"), window.Unproven, -1)
		b.reserve(key("wmShut"), window.Unavailable, -1)
		b.since(0)
		b.reserve(key("wmNever"), window.Unproven, -1)
		undo()
		b.reserve(key("wmNever"), window.Incomplete, -1)
	})
}

func TestRedisAway(t *testing.T) {
	slow(t, "kills redis-server twice")
	clock := wecomtest.NewClock()
	server := storetest.Start(t)
	c := server.Config()
	c.Timeout = 300 * time.Millisecond
	s := storetest.Open(t, c, clock.Now)
	set := settings(5, clock.Now)
	set.Timeout = c.Timeout
	b := newBench(t, s, clock, set)
	b.wrote(li, clock.Now())
	b.reserve(li, window.Open, 4)
	server.Down()
	b.reserve(li, window.Cached, -1)
	b.reserve(window.Key{Corp: "ww1", Customer: "wmOther"}, window.Unavailable, -1)
	if err := b.RecordGap(t.Context()); err == nil {
		t.Fatal("RecordGap succeeds without Redis")
	}
	server.Up() // empty: it has lost its state
	storetest.AwaitServing(t, s)
	b.reserve(window.Key{Corp: "ww1", Customer: "wmOther"}, window.Incomplete, -1)
	clock.Advance(length) // a cached window closes too
	server.Down()
	b.reserve(li, window.Unavailable, -1)
}
