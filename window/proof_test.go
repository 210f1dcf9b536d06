package window_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"replygate/record"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// answers are what a gateway answers about a customer who never wrote, one whose replies are used,
// and a code that was never seen.
type answers struct {
	never, full window.State
	code        window.CodeState
	corp        bool // the corp of the code is known to be none
}

func (b *bench) answers() answers {
	b.Helper()
	peeked := b.Peek(b.Context(), on("ww1", "wk1"), key("wmFull"))
	_, err := b.CorpOfCode(b.Context(), "NEVER")
	got := answers{never: peeked[0].State, full: peeked[1].State, code: b.PeekCode(b.Context(), "ww1", "NEVER").State, corp: err == nil}
	for i, k := range []window.Key{on("ww1", "wk1"), key("wmFull")} {
		a := b.Reserve(b.Context(), k)
		if a.State == peeked[i].State || passing(a.State) || passing(peeked[i].State) {
			continue
		}
		if again := b.Peek(b.Context(), k)[0].State; again == peeked[i].State { // else the answer changed in between
			b.Errorf("%s: Reserve = %s, Peek = %s", k.Customer, a.State, again)
		}
	}
	if a := b.ConsumeCode(b.Context(), "ww1", "NEVER"); a.State != got.code && a.State != window.CodeUnavailable && got.code != window.CodeUnavailable {
		b.Errorf("ConsumeCode = %s, PeekCode = %s", a.State, got.code)
	}
	return got
}

func key(customer string) window.Key {
	return window.Key{Corp: "ww1", Channel: "wk1", Customer: customer}
}

var (
	refusing   = answers{window.Closed, window.Exhausted, window.CodeUnknown, true}
	unproven   = answers{window.Unproven, window.Unproven, window.CodeUnavailable, false}
	incomplete = answers{window.Incomplete, window.Incomplete, window.CodeIncomplete, true}
)

// Why a missing record proves nothing, what is answered meanwhile, and what afterwards.
func TestCauses(t *testing.T) {
	slow(t, "waits for leases to expire")
	for _, c := range []struct {
		name  string
		size  int64 // of the journal
		begin func(b *bench, f *fault, server *storetest.Server)
		cause string
		end   func(b *bench, f *fault, server *storetest.Server)
		after answers
		slow  bool
	}{
		{name: "another member without a lease", begin: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.HSet(b.Context(), "rg:members:{0}", "ghost", "run boot 5")
		}, cause: window.CauseMember, end: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.HDel(b.Context(), "rg:members:{0}", "ghost")
		}, after: refusing},
		{name: "another member with a lease in another process of Redis", begin: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.Set(b.Context(), "rg:lease:{0}:ghost", "held boot.1 1 run", 0)
			b.rdb.HSet(b.Context(), "rg:members:{0}", "ghost", "run boot 5")
		}, cause: window.CauseMember, end: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.HDel(b.Context(), "rg:members:{0}", "ghost")
		}, after: refusing},
		{name: "the journal is not empty", begin: func(b *bench, f *fault, _ *storetest.Server) {
			f.set("wmSpilled")
			b.wrote(key("wmSpilled"), b.clock.Now())
		}, cause: window.CauseJournal, end: func(b *bench, f *fault, _ *storetest.Server) { f.set("") }, after: refusing},
		{name: "a gap is pending", size: full, begin: func(b *bench, f *fault, _ *storetest.Server) {
			f.set("rg:gap:wkElse")
			if _, err := b.RecordGaps(b.Context(), window.Loss{Corp: "wwElse", Channel: "wkElse", Messages: true}); err == nil {
				b.Fatal("the gap is written")
			}
		}, cause: window.CauseGap, end: func(b *bench, f *fault, _ *storetest.Server) { f.set("") }, after: refusing},
		{name: "Redis may evict", begin: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.ConfigSet(b.Context(), "maxmemory-policy", "allkeys-lru")
		}, cause: window.CauseEviction, end: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.ConfigSet(b.Context(), "maxmemory-policy", "noeviction")
		}, after: incomplete},
		{name: "lost writes are not repeated yet", begin: func(b *bench, f *fault, _ *storetest.Server) {
			f.set("wmFull") // of its window
			p := b.rdb.TxPipeline()
			p.HSet(b.Context(), "rg:members:{0}", b.id(), "older boot 5")
			p.Del(b.Context(), "rg:lease:{0}:"+b.id())
			if _, err := p.Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}, cause: window.CauseRewrite, end: func(b *bench, f *fault, _ *storetest.Server) { f.set("") }, after: incomplete},
		{name: "Redis is away", slow: true, begin: func(b *bench, _ *fault, server *storetest.Server) { server.Down() }, cause: window.CauseRedis,
			end: func(b *bench, _ *fault, server *storetest.Server) { server.Up() }, after: refusing},
		{name: "Redis has lost its scripts", begin: func(b *bench, _ *fault, _ *storetest.Server) {
			b.rdb.ScriptFlush(b.Context())
		}, after: refusing},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow {
				slow(t, "kills redis-server")
			}
			if c.size == 0 {
				c.size = 1 << 20
			}
			server := storetest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			b, _ := journaled(t, storetest.Open(t, server.Config(), time.Now), server.Config(), c.size)
			f := newFault(t, b.rdb)
			b.wrote(key("wmFull"), b.clock.Now())
			b.learn("KNOWN", window.Code{Key: li, Kind: "to_queue", Deadline: b.clock.Now().Add(time.Hour)})
			b.clock.Advance(time.Minute)
			for left := 4; left >= 0; left-- {
				b.reserve(key("wmFull"), window.Open, left)
			}
			become := func(want answers) {
				t.Helper()
				var got answers
				for deadline := time.Now().Add(20 * time.Second); got != want; time.Sleep(2 * time.Millisecond) {
					if got = b.answers(); time.Now().After(deadline) {
						t.Fatalf("the answers are %+v, want %+v; %+v", got, want, b.Status())
					}
				}
			}
			become(refusing)
			b.clock.Advance(time.Minute)
			c.begin(b, f, server)
			switch c.cause {
			case "":
			case window.CauseRedis:
				become(answers{window.Unavailable, window.Cached, window.CodeUnavailable, false})
			default:
				become(unproven)
				within(t, "the cause of a proof", func() bool {
					cause, err := b.ProofCause(t.Context(), on("ww1", "wk1"))
					return err == nil && cause == c.cause
				})
				b.wrote(li, b.clock.Now()) // what is on record needs no proof
				b.reserve(li, window.Open, 4)
				if a := b.PeekCode(t.Context(), "ww1", "KNOWN"); a.State != window.CodeTaken {
					t.Errorf("a code on record is %s", a.State)
				}
				if corp, err := b.CorpOfCode(t.Context(), "KNOWN"); corp != "ww1" || err != nil {
					t.Errorf("the corp of a code on record is %q, %v", corp, err)
				}
				if a := b.PeekCode(t.Context(), "ww2", "KNOWN"); a.State != window.CodeUnknown {
					t.Errorf("another corp's code is %s", a.State)
				}
			}
			if c.cause != "" {
				within(t, "the cause in the status", func() bool { return slices.Contains(b.Status().Causes, c.cause) })
				c.end(b, f, server)
			}
			b.clock.Advance(time.Second)
			become(c.after)
			within(t, "no cause in the status", func() bool { return len(b.Status().Causes) == 0 })
		})
	}
}

// While all leases are held without a break, every refusal is refusing, through each of two
// gateways.
func TestHeldLeasesProve(t *testing.T) {
	each(t, 5, func(b *bench) {
		gateways := []*window.Store{b.Store, b.other()}
		for range 20 {
			var before [][]map[string]string
			for _, w := range gateways {
				before = append(before, w.Grants())
			}
			unsure := 0
			for i := range 100 {
				a := gateways[i%2].Reserve(b.Context(), window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprint("wm", i)})
				if a.State != window.Closed {
					unsure++
				}
			}
			if reflect.DeepEqual(before, [][]map[string]string{gateways[0].Grants(), gateways[1].Grants()}) {
				if unsure > 0 {
					b.Errorf("%d of 100 refusals are unsure", unsure)
				}
				return
			}
		}
		b.Error("leases break all the time")
	})
}

// A gateway that joins, or dies, costs the others their proof at once.
func TestProofNeedsEveryMember(t *testing.T) {
	each(t, 5, func(b *bench) {
		if b.client.Embedded != nil {
			b.Skip("it has no other gateways")
		}
		b.peek(window.Closed, li)
		w, _, stop := startStore(b.T, b.client, settings(5, b.clock.Now))
		agree(b.T, b.Store, w)
		if st := b.Status(); st.Members != 2 {
			b.Errorf("%+v", st)
		}
		b.peek(window.Closed, li)
		stop() // it leaves in order
		b.peek(window.Closed, li)
		within(b.T, "one member", func() bool { return b.Status().Members == 1 })
		for _, tag := range b.tags() { // it is back, and dies
			b.rdb.HSet(b.Context(), "rg:members:{"+tag+"}", "ghost", "run boot 5")
		}
		if a := b.Peek(b.Context(), li)[0]; a.State != window.Unproven {
			b.Errorf("right after another gateway died: %s", a.State)
		}
		within(b.T, "the cause", func() bool {
			st := b.Status()
			return st.Held && st.Members == 2 && slices.Equal(st.Causes, []string{window.CauseMember})
		})
	})
}

// A gateway that starts while another one is about to find out whether Redis is complete waits for
// that one. If nobody can tell, records begin anew.
func TestProofOfAStart(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, client: s, health: &health{}, Store: window.NewShared(s.UniversalClient, &health{}, journal(t), settings(5, clock.Now))}
	b.since(-2 * length)
	if st := b.Status(); st.Held || !slices.Equal(st.Causes, []string{window.CauseLease}) {
		t.Errorf("before it joins: %+v", st)
	}
	b.rdb.HSet(t.Context(), "rg:members:{0}", "ghost", "before boot 5")
	b.rdb.Set(t.Context(), "rg:lease:{0}:ghost", "joining boot2.1 1 run", 0)
	for range 3 {
		if err := b.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The lease of a member that it meets is read from the second exchange on.
	if a := b.Peek(t.Context(), li)[0]; a.State != window.Unproven {
		t.Errorf("with a member that may know more: %s", a.State)
	}
	b.rdb.Del(t.Context(), "rg:lease:{0}:ghost")
	run := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(run)
		b.Store.Run(ctx)
	}()
	defer func() { stop(); <-run }()
	within(t, "the gap is counted", func() bool { // once the others surely know of this gateway
		b.clock.Advance(time.Millisecond)
		return len(b.GapCounts()) > 0
	})
	if gaps := b.GapCounts(); gaps["unvouched"] != 1 || len(gaps) != 1 {
		t.Errorf("gaps: %v", gaps)
	}
	if a := b.Peek(t.Context(), li)[0]; a.State != window.Unproven {
		t.Errorf("with a gap, and a member that may hold messages: %s", a.State)
	}
	b.rdb.HDel(t.Context(), "rg:members:{0}", "ghost")
	b.peek(window.Incomplete, li)
}

// If Redis loses everything, a gap is marked and recent writes are repeated before anything is
// refused again.
func TestProofAfterAFlush(t *testing.T) {
	each(t, 5, func(b *bench) {
		if b.client.Embedded != nil {
			b.Skip("it has no leases")
		}
		keys, facts := customers(300, b.clock.Now())
		if _, err := b.Record(b.Context(), facts); err != nil {
			b.Fatal(err)
		}
		b.peek(window.Closed, li)
		if err := b.rdb.(interface {
			FlushAll(context.Context) *redis.StatusCmd
		}).FlushAll(b.Context()).Err(); err != nil {
			b.Fatal(err)
		}
		b.since(-2 * length) // as if a backup had it
		for deadline := time.Now().Add(20 * time.Second); ; {
			if a := b.Peek(b.Context(), li)[0]; a.State == window.Incomplete {
				break
			} else if a.State == window.Closed {
				b.Fatal("it is refused")
			}
			if time.Now().After(deadline) {
				b.Fatalf("%+v", b.Status())
			}
		}
		within(b.T, "all windows are back", func() bool {
			return !slices.ContainsFunc(b.Peek(b.Context(), keys...), func(a window.Answer) bool { return a.State != window.Open })
		})
		agree(b.T, b.Store)
		b.peek(window.Incomplete, li)
		if gaps := b.GapCounts(); gaps["flushed"] == 0 {
			b.Errorf("gaps: %v", gaps)
		}
	})
}

// The log has one line when refusals become unsure, with the cause, and one when they are possible
// again.
func TestReport(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	seen, lines := observer.New(zap.InfoLevel)
	set := settings(5, time.Now)
	set.Log = record.RateLimit(zap.New(seen), time.Now)
	w, h := newStore(t, s, set)
	clock := wecomtest.NewClock()
	clock.Set(time.Now())
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, client: s, health: h, Store: w}
	said := func(n int, text string) observer.LoggedEntry {
		t.Helper()
		within(t, text, func() bool { return lines.Len() >= n })
		all := lines.All()
		if all[n-1].Message != text || len(all) != n {
			t.Fatalf("logged: %+v, want %q", all, text)
		}
		return all[n-1]
	}
	undo := b.degrade()
	unsure := said(1, "refusals because a message is missing are unsure").ContextMap()
	if unsure["cause"] != window.CauseMember || !strings.HasPrefix(window.Sentence(window.CauseMember), fmt.Sprint(unsure["why"])) {
		t.Errorf("fields: %v", unsure)
	}
	undo()
	if members := said(2, "refusals are possible again").ContextMap()["members"]; members != int64(1) {
		t.Errorf("members: %v", members)
	}
}

// Every cause has a sentence of its own, which says what follows.
func TestSentences(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, cause := range window.Causes() {
		text := window.Sentence(cause)
		what, follows, _ := strings.Cut(text, "; ")
		if what == "" || !strings.Contains(follows, "is unsure, not refused") || seen[what] {
			t.Errorf("%s: %q", cause, text)
		}
		seen[what] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d causes", len(seen))
	}
}

// An embedded store is a member by itself, and holds its lease always.
func TestStatusOfAnEmbeddedStore(t *testing.T) {
	s := storetest.Open(t, storetest.Embedded(t), time.Now)
	w := window.NewEmbedded(s.UniversalClient, &health{}, settings(5, time.Now))
	if st := w.Status(); !st.Held || st.Members != 1 || len(st.Causes) > 0 {
		t.Errorf("%+v", st)
	}
	f := newFault(t, s.UniversalClient)
	f.set("rg:gap:")
	if _, err := w.RecordGaps(t.Context(), window.Loss{Corp: "ww1", Messages: true}); errors.Is(err, window.ErrNotMember) || err == nil {
		t.Errorf("RecordGaps = %v", err)
	}
	if st := w.Status(); !st.Held || !slices.Equal(st.Causes, []string{window.CauseGap}) {
		t.Errorf("%+v", st)
	}
}
