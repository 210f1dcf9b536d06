package window_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store/storetest"
	"replygate/window"
)

// replied records a reply, d after the clock.
func (b *bench) replied(k window.Key, kind window.ReplyKind, d time.Duration, id string) {
	b.Helper()
	r := window.Reply{Key: k, Kind: kind, At: b.clock.Now().Add(d), ID: id}
	within(b.T, "a reply on record", func() bool {
		_, err := b.RecordReplies(b.Context(), []window.Reply{r})
		return err == nil
	})
}

// waiting returns the customers that wait, in the order in which their windows close.
func (b *bench) waiting(q window.Query) (customers []string) {
	b.Helper()
	if err := b.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	q.Waiting = true
	if q.Limit == 0 {
		q.Limit = 50
	}
	b.ForgetSums()
	page, err := b.ListByClose(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range page.Entries {
		customers = append(customers, e.Key.Customer)
	}
	return customers
}

// step is something that happens to the chat of Li, at a time after the clock.
type step struct {
	what string // writes, bot, servicer, fails, recalls, page, lost, walk
	at   time.Duration
	id   string
}

// TestWaiting tells who waits, whatever the order in which facts arrive.
func TestWaiting(t *testing.T) {
	const s = time.Second
	cases := map[string]struct {
		steps []step
		want  bool
	}{
		"the customer writes":                      {[]step{{"writes", 0, ""}}, true},
		"a bot answers":                            {[]step{{"writes", 0, ""}, {"bot", 2 * s, "b1"}}, false},
		"a servicer answers":                       {[]step{{"writes", 0, ""}, {"servicer", 2 * s, "s1"}}, false},
		"in the same second":                       {[]step{{"writes", 0, ""}, {"bot", 0, "b1"}}, false},
		"before the message":                       {[]step{{"writes", -9 * s, ""}, {"bot", -s, "b1"}, {"writes", 0, ""}}, true},
		"the message becomes known late":           {[]step{{"writes", -9 * s, ""}, {"bot", -s, "b1"}, {"writes", -5 * s, ""}}, false},
		"the customer writes again":                {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"writes", 3 * s, ""}}, true},
		"and gets an answer":                       {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"writes", 3 * s, ""}, {"servicer", 4 * s, "s1"}}, false},
		"a page comes again":                       {[]step{{"writes", 0, ""}, {"servicer", s, "s1"}, {"writes", 0, ""}, {"servicer", s, "s1"}}, false},
		"the reply is not delivered":               {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"fails", 2 * s, "b1"}}, true},
		"another reply is not delivered":           {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"fails", 2 * s, "b0"}}, false},
		"of two replies the newest fails":          {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"bot", 2 * s, "b2"}, {"fails", 3 * s, "b2"}}, false},
		"of two replies both fail":                 {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"bot", 2 * s, "b2"}, {"fails", 3 * s, "b2"}, {"fails", 3 * s, "b1"}}, true},
		"the failure becomes known first":          {[]step{{"writes", 0, ""}, {"fails", 2 * s, "b1"}, {"bot", s, "b1"}}, true},
		"the servicer recalls":                     {[]step{{"writes", 0, ""}, {"servicer", s, "s1"}, {"recalls", 2 * s, "s1"}}, true},
		"the recalled message comes again":         {[]step{{"writes", 0, ""}, {"servicer", s, "s1"}, {"recalls", 2 * s, "s1"}, {"servicer", s, "s1"}}, true},
		"the servicer recalls, the bot answered":   {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"servicer", s, "s1"}, {"recalls", 2 * s, "s1"}}, false},
		"more replies than are kept, all recalled": {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"bot", 2 * s, "b2"}, {"bot", 3 * s, "b3"}, {"bot", 4 * s, "b4"}, {"fails", 5 * s, "b4"}, {"fails", 5 * s, "b3"}, {"fails", 5 * s, "b2"}}, false},
		"a page is read twice":                     {[]step{{"writes", 0, ""}, {"page", 0, ""}, {"page", 0, ""}, {"bot", s, "b1"}, {"page", 0, ""}}, false},
		"read twice, and still waiting":            {[]step{{"writes", 0, ""}, {"page", 0, ""}, {"page", 0, ""}}, true},
		"the list is lost":                         {[]step{{"writes", 0, ""}, {"lost", 0, ""}}, false},
		"the list is lost and restored":            {[]step{{"writes", 0, ""}, {"lost", 0, ""}, {"walk", 0, ""}}, true},
		"an answered chat is not restored":         {[]step{{"writes", 0, ""}, {"bot", s, "b1"}, {"lost", 0, ""}, {"walk", 0, ""}}, false},
	}
	each(t, 5, func(b *bench) {
		for name, c := range cases {
			k := window.Key{Corp: "ww " + name, Channel: "wk1", Customer: "wmLi"}
			for _, st := range c.steps {
				b.take(k, st)
			}
			if got := len(b.waiting(window.Query{Corps: []string{k.Corp}})) == 1; got != c.want {
				b.Errorf("%s: waiting = %v, want %v", name, got, c.want)
			}
		}
	})
}

func (b *bench) take(k window.Key, st step) {
	b.Helper()
	switch st.what {
	case "writes":
		b.wrote(k, b.clock.Now().Add(st.at))
	case "bot":
		b.replied(k, window.ByBot, st.at, st.id)
	case "servicer":
		b.replied(k, window.ByServicer, st.at, st.id)
	case "fails", "recalls":
		b.replied(k, window.TakenBack, st.at, st.id)
	case "page":
		b.waiting(window.Query{Corps: []string{k.Corp}})
	case "lost":
		if err := b.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.rdb.Del(b.Context(), b.WaitingKey(k.Corp))
	case "walk":
		if err := b.Walk(b.Context(), 0); err != nil {
			b.Fatal(err)
		}
	}
}

// A reply never creates a window and never moves its end. Without a window it says that messages
// bypass the gateway.
func TestReplyCreatesNoWindow(t *testing.T) {
	each(t, 5, func(b *bench) {
		ctx, key := b.Context(), li.RedisKey("rg:")
		b.replied(li, window.ByBot, 0, "b1")
		if n := b.rdb.Exists(ctx, key).Val(); n != 0 {
			b.Fatal("a reply created a window")
		}
		b.wrote(li, b.clock.Now().Add(-time.Hour))
		if got := b.waiting(window.Query{}); got != nil {
			b.Errorf("%v wait, but a reply to somebody on that channel is not on record", got)
		}
		ends := b.rdb.PExpireTime(ctx, key).Val()
		b.replied(li, window.ByBot, time.Second, "b2")
		if now := b.rdb.PExpireTime(ctx, key).Val(); now != ends {
			b.Errorf("the window ends at %v instead of %v", now, ends)
		}
		b.clock.Advance(time.Minute)
		b.wrote(li, b.clock.Now())
		if got := b.waiting(window.Query{}); len(got) != 1 {
			b.Errorf("%v wait", got)
		}
		untold, err := b.Untold(ctx, window.Query{})
		if err != nil || len(untold) != 1 || untold[0].Why != window.UntoldBypassed || !slices.Equal(untold[0].Channels, []string{li.Channel}) {
			b.Errorf("untold: %+v %v", untold, err)
		}
	})
}

// Facts lead to the same window in any order, and if they come twice.
func TestRepliesCommute(t *testing.T) {
	each(t, 5, func(b *bench) {
		ctx, random := b.Context(), rand.New(rand.NewPCG(1, 2))
		for round := range many(60) {
			var steps []step
			for range 2 + random.IntN(10) {
				what := []string{"bot", "servicer", "fails", "writes"}[random.IntN(4)]
				steps = append(steps, step{what, time.Duration(random.IntN(6)) * 700 * time.Millisecond, fmt.Sprint(random.IntN(6))})
			}
			var want map[string]string
			for again := range 4 {
				k := window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d-%d", round, again)}
				b.wrote(k, b.clock.Now().Add(-time.Second))
				for _, st := range steps {
					b.take(k, st)
				}
				got := b.rdb.HGetAll(ctx, k.RedisKey("rg:")).Val()
				if want == nil {
					want = got
				} else if fmt.Sprint(got) != fmt.Sprint(want) {
					b.Fatalf("%v\n%v\n%v", steps, got, want)
				}
				random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
				steps = append(steps, steps[0])
			}
		}
	})
}

// Replies to many customers at once lead to the same windows as one after the other, whatever is at
// the keys, and tell which windows were open.
func TestRepliesTogether(t *testing.T) {
	each(t, 5, func(b *bench) {
		ctx, random := b.Context(), rand.New(rand.NewPCG(3, 4))
		customer := func(set string, n int) window.Key {
			return window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("%s%d", set, n)}
		}
		begin := b.clock.Now()
		isOpen := make([]bool, 40)
		for n := range isOpen {
			for _, set := range []string{"single", "together"} {
				k := customer(set, n)
				switch n % 5 {
				case 0: // no window
				case 1:
					b.rdb.Set(ctx, k.RedisKey("rg:"), "not a window", time.Hour)
				case 2:
					b.wrote(k, begin.Add(-time.Minute))
					if _, err := b.Close(ctx, k); err != nil {
						b.Fatal(err)
					}
				default:
					b.wrote(k, begin.Add(-time.Minute))
					isOpen[n] = true
				}
			}
		}
		for range 4 { // rounds: the later ones find replies
			var all []window.Reply
			for n := range isOpen {
				for range 1 + random.IntN(2) {
					at, id := begin.Add(time.Duration(random.IntN(5000))*time.Millisecond), fmt.Sprint(random.IntN(4))
					kind := []window.ReplyKind{window.ByBot, window.ByBot, window.ByServicer, window.TakenBack}[random.IntN(4)]
					all = append(all, window.Reply{Key: customer("together", n), Kind: kind, At: at, ID: id})
					one := window.Reply{Key: customer("single", n), Kind: kind, At: at, ID: id}
					if _, err := b.RecordReplies(ctx, []window.Reply{one}); err != nil {
						b.Fatal(err)
					}
				}
			}
			open, err := b.RecordReplies(ctx, all)
			if err != nil {
				b.Fatal(err)
			}
			for n, want := range isOpen {
				if got := open[customer("together", n)]; got != want {
					b.Errorf("window %d open: %v", n, got)
				}
			}
		}
		for n := range isOpen {
			single, together := customer("single", n).RedisKey("rg:"), customer("together", n).RedisKey("rg:")
			if n%5 < 2 { // there is still no window
				if one, other := b.rdb.Type(ctx, single).Val(), b.rdb.Type(ctx, together).Val(); one != other || one == "hash" {
					b.Errorf("%d: %s, %s", n, one, other)
				}
				continue
			}
			want, got := b.rdb.HGetAll(ctx, single).Val(), b.rdb.HGetAll(ctx, together).Val()
			if fmt.Sprint(got) != fmt.Sprint(want) || want["last"] == "" {
				b.Errorf("%d: together %v, one by one %v", n, got, want)
			}
		}
	})
}

// Changes of the lists that Redis does not take are written again, and hold up those of no other
// corp. Messages of the others are counted once.
func TestListsOfOtherCorps(t *testing.T) {
	each(t, 5, func(b *bench) {
		ctx := b.Context()
		if err := b.rdb.Set(ctx, b.WaitingKey("ww1"), "no list", 0).Err(); err != nil {
			b.Fatal(err)
		}
		for n := range 1200 { // several parts
			corp := []string{"ww1", "ww2"}[n%2]
			b.wrote(window.Key{Corp: corp, Channel: "wk1", Customer: fmt.Sprint("wm", n)}, b.clock.Now())
		}
		for range 3 {
			if b.Flush(ctx) == nil {
				b.Error("the list of ww1 is written")
			}
		}
		messages := func(corp string) (n int) {
			for field, count := range b.rdb.HGetAll(ctx, "rg:channels:{"+corp+"}").Val() {
				if strings.HasPrefix(field, "wk1|") && !strings.HasSuffix(field, "replied") {
					n, _ = strconv.Atoi(count)
				}
			}
			return n
		}
		if listed, counted := b.rdb.ZCard(ctx, b.WaitingKey("ww2")).Val(), messages("ww2"); listed != 600 || counted != 600 {
			b.Errorf("of another corp %d chats are listed and %d messages counted", listed, counted)
		}
		b.rdb.Del(ctx, b.WaitingKey("ww1"))
		if err := b.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		if listed := b.rdb.ZCard(ctx, b.WaitingKey("ww1")).Val(); listed != 600 {
			b.Errorf("in the end %d chats are listed", listed)
		}
	})
}

// Only the first reply to a message changes the list of waiting chats, also if it is repeated since
// Redis did not answer.
func TestLaterRepliesChangeNoList(t *testing.T) {
	each(t, 5, func(b *bench) {
		reply := window.Reply{Key: li, Kind: window.ByBot, At: b.clock.Now(), ID: "b1"}
		b.wrote(li, b.clock.Now().Add(-time.Minute))
		changes := func() int {
			b.Helper()
			if _, err := b.RecordReplies(b.Context(), []window.Reply{reply}); err != nil {
				b.Fatal(err)
			}
			return b.TakeChanges()
		}
		b.TakeChanges() // of the message
		for range 2 {
			if n := changes(); n != 1 {
				b.Errorf("the first reply changes %d chats", n)
			}
		}
		reply.At, reply.ID = reply.At.Add(time.Second), "b2"
		if n := changes(); n != 0 {
			b.Errorf("the second reply changes %d chats", n)
		}
		reply.Kind = window.TakenBack
		if n := changes(); n != 0 {
			b.Errorf("the second reply is taken back, and changes %d chats", n)
		}
		reply.ID = "b1"
		if n := changes(); n != 1 {
			b.Errorf("the first reply is taken back too, and changes %d chats", n)
		}
		reply.Kind, reply.At = window.ByBot, reply.At.Add(time.Hour) // it answers a message that comes now
		b.wrote(li, b.clock.Now().Add(time.Minute))
		b.TakeChanges()
		if n := changes(); n != 1 {
			b.Errorf("the first reply to the next message changes %d chats", n)
		}
	})
}

// Pages follow each other without a repetition or a hole, over corps, ties and answered chats, and
// no page scans, lists keys or runs a script.
func TestPagesOfWaiting(t *testing.T) {
	each(t, 5, func(b *bench) {
		var facts []window.Fact
		var want []string
		for i := range 90 {
			k := window.Key{Corp: fmt.Sprintf("ww%d", i%7), Channel: "wk:1", Customer: fmt.Sprintf("wm%02d", i)}
			facts = append(facts, window.Fact{Key: k, At: b.clock.Now().Add(time.Duration(i/10)*time.Hour - 40*time.Hour)})
			if i%3 != 0 {
				want = append(want, k.Customer)
			}
		}
		if _, err := b.Record(b.Context(), facts); err != nil {
			b.Fatal(err)
		}
		if err := b.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		for i, f := range facts {
			if i%3 == 0 {
				b.rdb.HSet(b.Context(), f.Key.RedisKey("rg:"), "answered", b.clock.Now().UnixMilli()) // and the list does not know
			}
		}
		if err := b.Sum(b.Context()); err != nil {
			b.Fatal(err)
		}
		reads := newReadsOnly(b.T, b.rdb)
		b.ForgetSums()
		var got []string
		q := window.Query{Waiting: true, Limit: 7}
		for range 20 {
			page, err := b.ListByClose(b.Context(), q)
			if err != nil {
				b.Fatal(err)
			}
			for _, e := range page.Entries {
				got = append(got, e.Key.Customer)
			}
			if q.After = page.Next; q.After == nil {
				break
			}
		}
		sum, err := b.CountWaiting(b.Context(), window.Query{})
		if err != nil || sum.All != len(want) || sum.Within(24) != len(want) || sum.Within(7) != 0 {
			b.Errorf("counted %+v %v", sum, err)
		}
		if _, err := b.FindCustomer(b.Context(), "ww1", "wm01"); err != nil {
			b.Error(err)
		}
		if _, err := b.Untold(b.Context(), q); err != nil {
			b.Error(err)
		}
		if bad := reads.bad.Load(); bad != nil {
			b.Errorf("a page sent %s", *bad)
		}
		visited := func(q window.Query) (all []string) {
			if err := b.VisitByClose(b.Context(), q, func(some []window.Entry) error {
				for _, e := range some {
					all = append(all, e.Key.Customer)
				}
				return nil
			}); err != nil {
				b.Error(err)
			}
			slices.Sort(all)
			return all
		}
		if all := visited(window.Query{Waiting: true}); !slices.Equal(all, want) {
			b.Errorf("visited %v\nwant %v", all, want)
		}
		some := window.Query{Waiting: true, Within: 10 * time.Hour, After: &window.Position{Last: b.clock.Now().Add(-39 * time.Hour).UnixMilli()}}
		if between := slices.DeleteFunc(slices.Clone(want), func(c string) bool { return c < "wm10" || c > "wm29" }); !slices.Equal(visited(some), between) {
			b.Errorf("visited %v\nwant %v", visited(some), between)
		}
		closing := slices.Clone(got)
		if slices.Sort(got); !slices.Equal(got, want) {
			b.Errorf("got  %v\nwant %v", got, want)
		}
		for i := 1; i < len(closing); i++ {
			if closing[i-1][2] > closing[i][2] { // tens of wmNN are hours
				b.Errorf("%s comes before %s", closing[i-1], closing[i])
			}
		}
		if n := b.rdb.ZCard(b.Context(), "rg:waiting:{ww0}").Val(); n == 13 {
			b.Error("answered chats stay in the list")
		}
	})
}

// All chats of one corp are visited once, in however many reads, also those of the same instant.
func TestVisitManyOfOneCorp(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	w, _ := newStore(t, s, settings(5, time.Now))
	const many = 1700
	now := time.Now()
	p := s.Pipeline()
	for i := range many {
		last, member := now.Add(-time.Duration(i/800)*time.Hour).UnixMilli(), fmt.Sprintf("wk:wm%04d", i)
		p.HSet(t.Context(), "rg:window:{ww1:"+member+"}", "last", last)
		p.ZAdd(t.Context(), "rg:waiting:{ww1}", redis.Z{Score: float64(last), Member: member})
	}
	p.SAdd(t.Context(), "rg:waiting-corps", "ww1")
	if _, err := p.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	if err := w.VisitByClose(t.Context(), window.Query{Waiting: true}, func(some []window.Entry) error {
		for _, e := range some {
			seen[e.Key.Customer]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != many {
		t.Errorf("%d chats", len(seen))
	}
	for customer, n := range seen {
		if n != 1 {
			t.Errorf("%s is visited %d times", customer, n)
		}
	}
}

// readsOnly notes a command that no page may send.
type readsOnly struct{ bad atomic.Pointer[string] }

func newReadsOnly(t *testing.T, rdb redis.UniversalClient) *readsOnly {
	r := &readsOnly{}
	if c, cluster := rdb.(*redis.ClusterClient); cluster {
		if err := c.ForEachMaster(t.Context(), func(_ context.Context, node *redis.Client) error {
			node.AddHook(r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	rdb.AddHook(r)
	return r
}

func (r *readsOnly) look(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		switch name := strings.ToLower(cmd.Name()); name {
		case "scan", "keys", "eval", "evalsha", "fcall", "smembers", "hgetall":
			text := cmd.String()
			if (name == "smembers" || name == "hgetall") && !strings.Contains(text, "rg:window") || strings.Contains(text, "rg:lease") || strings.Contains(text, "rg:members") {
				continue // the leases go on meanwhile
			}
			r.bad.Store(&text)
		}
	}
}

func (r *readsOnly) DialHook(next redis.DialHook) redis.DialHook { return next }
func (r *readsOnly) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.look(cmd)
		return next(ctx, cmd)
	}
}
func (r *readsOnly) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.look(cmds...)
		return next(ctx, cmds)
	}
}

// What cannot be told is never listed as waiting.
func TestUntold(t *testing.T) {
	each(t, 5, func(b *bench) {
		key := func(channel, customer string) window.Key {
			return window.Key{Corp: "ww1", Channel: channel, Customer: customer}
		}
		b.wrote(key("wkA", "old"), b.clock.Now().Add(-time.Hour))
		b.wrote(key("wkB", "other"), b.clock.Now().Add(-time.Hour))
		b.MarkUntold("ww1", "wkA", b.clock.Now().Add(-time.Minute), window.UntoldDropped)
		b.MarkUntold("ww1", "wkA", b.clock.Now().Add(-2*time.Hour), window.UntoldUnread) // an older mark
		b.wrote(key("wkA", "new"), b.clock.Now())
		for i := range 20 {
			b.wrote(key("wkC", fmt.Sprint("silent", i)), b.clock.Now())
			b.clock.Advance(time.Millisecond)
		}
		if got := b.waiting(window.Query{}); !slices.Equal(got, []string{"other", "new"}) {
			b.Errorf("%v wait", got)
		}
		if sum, err := b.CountWaiting(b.Context(), window.Query{}); err != nil || sum.All != 2 {
			b.Errorf("counted %+v %v", sum, err)
		}
		b.replied(key("wkC", "silent3"), window.ByServicer, time.Second, "s1")
		if got := b.waiting(window.Query{}); len(got) != 2+19 {
			b.Errorf("after a reply on the channel %v wait", got)
		}
		b.MarkUntold("ww1", window.AllChannels, b.clock.Now().Add(time.Second), window.UntoldDropped)
		if got := b.waiting(window.Query{}); got != nil {
			b.Errorf("%v wait", got)
		}
		b.clock.Advance(length + time.Second)
		if untold, err := b.Untold(b.Context(), window.Query{}); err != nil || len(untold) != 0 {
			b.Errorf("after a window's length: %+v %v", untold, err)
		}
	})
}

// Of many corps the sums name those of which something cannot be told, also if none of their chats
// is counted.
func TestUntoldOfManyCorps(t *testing.T) {
	each(t, 5, func(b *bench) {
		for i := range 20 {
			b.wrote(window.Key{Corp: fmt.Sprint("ww", i), Channel: "wk", Customer: "wm"}, b.clock.Now())
		}
		b.MarkUntold("ww3", window.AllChannels, b.clock.Now().Add(time.Second), window.UntoldDropped)
		b.MarkUntold("ww7", "wk2", b.clock.Now(), window.UntoldUnread)
		if err := errors.Join(b.Flush(b.Context()), b.Sum(b.Context())); err != nil {
			b.Fatal(err)
		}
		b.ForgetSums()
		untold, err := b.Untold(b.Context(), window.Query{})
		if want := "[{ww3 [] dropped} {ww7 [wk2] unread}]"; err != nil || fmt.Sprint(untold) != want {
			b.Errorf("%v %v, want %s", untold, err, want)
		}
		unobserved := func(corp string) bool { return corp == "ww11" }
		untold, err = b.Untold(b.Context(), window.Query{Unobserved: unobserved})
		if want := "[{ww11 [] not_observed} {ww3 [] dropped} {ww7 [wk2] unread}]"; err != nil || fmt.Sprint(untold) != want {
			b.Errorf("%v %v, want %s", untold, err, want)
		}
	})
}
