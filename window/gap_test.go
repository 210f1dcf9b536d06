package window_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// lose marks gaps, and expects whether they are new.
func (b *bench) lose(moved bool, losses ...window.Loss) {
	b.Helper()
	if got, err := b.RecordGaps(b.Context(), losses...); err != nil || got != moved {
		b.Fatalf("RecordGaps(%+v) = %v, %v; want %v", losses, got, err, moved)
	}
}

// peek expects the state of windows without a record, from Peek and Reserve.
func (b *bench) peek(want window.State, keys ...window.Key) {
	b.Helper()
	all := b.Peek(b.Context(), keys...)
	unsure := func(a window.Answer) bool { return a.State != want && passing(a.State) }
	for deadline := time.Now().Add(20 * time.Second); slices.ContainsFunc(all, unsure) && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		all = b.Peek(b.Context(), keys...)
	}
	for i, a := range all {
		if a.State != want {
			b.Fatalf("%+v is %s, want %s", keys[i], a.State, want)
		}
		if a := settled(want, func() window.Answer { return b.Reserve(b.Context(), keys[i]) }); a.State != want {
			b.Fatalf("%+v is reserved as %s, want %s", keys[i], a.State, want)
		}
	}
}

// gap returns the instant of a gap in Redis, and its time to live.
func (b *bench) gap(key string) (at time.Time, kept time.Duration) {
	b.Helper()
	ms, err := b.rdb.Get(b.Context(), "rg:gap:"+key).Int64()
	if err != nil {
		b.Fatalf("%s: %v", key, err)
	}
	return time.UnixMilli(ms), b.rdb.PTTL(b.Context(), "rg:gap:"+key).Val()
}

func on(corp, channel string) window.Key {
	return window.Key{Corp: corp, Channel: channel, Customer: "wmNever"}
}

// A gap belongs to the channel of a loss, else to its corp, and never to others.
func TestGapScope(t *testing.T) {
	each(t, 5, func(b *bench) {
		all := []window.Key{on("ww1", "wk1"), on("ww1", "wk:1"), on("ww1", ""), on("ww2", "wk3"), on("wk1:any", "wk1:items"), on("ww", "{wk1}")}
		b.peek(window.Closed, all...)
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk1", Messages: true, Codes: true})
		b.peek(window.Incomplete, all[0])
		b.peek(window.Closed, all[1:]...)
		if at, kept := b.gap("wk1"); !at.Equal(b.clock.Now()) || kept <= length-time.Minute || kept > length {
			b.Errorf("the gap is at %s and kept %s", at, kept)
		}
		b.lose(true, window.Loss{Corp: "ww2", Messages: true, Codes: true})
		b.peek(window.Incomplete, all[0], all[3])
		b.peek(window.Closed, all[1], all[2], all[4], all[5])
		b.clock.Advance(time.Minute)
		b.lose(true, window.Loss{Corp: "ww1", Messages: true})
		b.peek(window.Incomplete, all[:3]...)
		b.peek(window.Closed, all[4:]...)
		b.lose(true, window.Loss{Channel: "wk3", Messages: true}) // the corp is unknown, the channel is known
		b.clock.Advance(length - time.Minute)
		b.peek(window.Incomplete, all[:4]...)
		b.clock.Advance(time.Minute)
		b.peek(window.Closed, all...)
	})
}

// A loss without corp and channel marks the accounts without a page through any gateway, and no
// others.
func TestLossOfUnknownCorp(t *testing.T) {
	slow(t, "waits for leases to expire")
	each(t, 5, func(b *bench) {
		accounts := []string{"wwOwn", "wwOther", "wwSilent", "wwLong"}
		b.PagePassed(b.Context(), "wwLong")
		b.clock.Advance(length)
		b.PagePassed(b.Context(), "wwOwn")
		b.other().PagePassed(b.Context(), "wwOther")
		b.clock.Advance(30 * time.Hour)
		b.PagePassed(b.Context(), "wwOwn")
		list := func(s *window.Store) {
			if err := s.ListAccounts(b.Context(), accounts, accounts); err != nil {
				b.Fatal(err)
			}
		}
		list(b.Store)
		b.lose(true, window.Loss{Messages: true, Codes: true})
		b.peek(window.Closed, on("wwOwn", "wk1"), on("wwOther", "wk2"), on("wwElse", "wk3"))
		b.peek(window.Incomplete, on("wwSilent", "wk4"), on("wwLong", "wk5"))
		b.clock.Advance(length - time.Millisecond)
		other := b.other()
		list(other)
		if _, err := other.RecordGaps(b.Context(), window.Loss{Messages: true}); err != nil {
			b.Fatal(err)
		}
		b.peek(window.Closed, on("wwOwn", "wk1"))
		b.peek(window.Incomplete, on("wwOther", "wk2"))
	})
}

// A page that is pulled repeatedly does not move the gap of an unreadable item, also after a
// restart and through another gateway.
func TestUnreadableItemMarksItsGapOnce(t *testing.T) {
	slow(t, "waits for leases to expire")
	each(t, 5, func(b *bench) {
		began := b.clock.Now()
		dated := window.Loss{Corp: "ww1", Channel: "wk1", Messages: true, Item: &window.Item{ID: "m1", At: began.Add(-time.Hour)}}
		undated := window.Loss{Corp: "ww1", Channel: "wk2", Messages: true, Item: &window.Item{ID: "m2"}}
		ahead := window.Loss{Corp: "ww1", Channel: "wk3", Messages: true, Item: &window.Item{ID: "m3", At: began.Add(time.Hour)}}
		old := window.Loss{Corp: "ww1", Channel: "wk4", Messages: true, Item: &window.Item{ID: "m4", At: began.Add(-length)}}
		b.lose(true, dated, undated, ahead, old)
		for _, again := range []*window.Store{b.Store, b.other(), b.other()} {
			b.clock.Advance(10 * time.Minute)
			if moved, err := again.RecordGaps(b.Context(), dated, undated, ahead, old); moved || err != nil {
				b.Errorf("moved %v, %v", moved, err)
			}
			for channel, want := range map[string]time.Time{"wk1": began.Add(-time.Hour), "wk2": began, "wk3": began} {
				if at, _ := b.gap(channel); !at.Equal(want) {
					b.Errorf("the gap of %s is at %s, want %s", channel, at, want)
				}
			}
		}
		b.peek(window.Incomplete, on("ww1", "wk1"), on("ww1", "wk2"), on("ww1", "wk3"))
		b.peek(window.Closed, on("ww1", "wk4"), on("ww2", "wk5"))
		b.clock.Set(began.Add(length - time.Hour))
		b.peek(window.Closed, on("ww1", "wk1"))
		b.peek(window.Incomplete, on("ww1", "wk2"))
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk2", Messages: true, Item: &window.Item{ID: "m5"}}) // another one
		b.lose(false, undated)
		b.clock.Advance(time.Hour)
		b.peek(window.Incomplete, on("ww1", "wk2"))
		anonymous := window.Loss{Corp: "ww1", Channel: "wk2", Messages: true, Item: &window.Item{}}
		b.lose(true, anonymous)
		b.clock.Advance(time.Minute)
		b.lose(true, anonymous) // it cannot be told from another one
	})
}

// Replies before a gap of the channel do not prove that the window is exhausted.
func TestExhaustedBeforeAChannelGap(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.wrote(li, b.clock.Now())
		b.clock.Advance(time.Minute)
		for left := 4; left >= 0; left-- {
			b.reserve(li, window.Open, left)
		}
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk2", Messages: true})
		b.reserve(li, window.Exhausted, 0)
		b.clock.Advance(time.Minute)
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk1", Messages: true})
		b.reserve(li, window.Incomplete, -1)
		b.peek(window.Incomplete, li)
	})
}

// A message too far ahead of our clock marks a gap of its channel, once.
func TestMessagesAheadMarkAGap(t *testing.T) {
	each(t, 5, func(b *bench) {
		began := b.clock.Now()
		fact := window.Fact{Key: window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmAhead"}, At: began.Add(6 * time.Minute)}
		direct := window.Fact{Key: window.Key{Corp: "ww2", Customer: "wmAhead"}, At: began.Add(6 * time.Minute)}
		record := func() {
			b.Helper()
			if tally, err := b.Record(b.Context(), []window.Fact{fact, direct}); err != nil || tally.Ahead != 2 || tally.Recorded != 0 {
				b.Fatalf("%+v, %v", tally, err)
			}
		}
		record()
		b.peek(window.Incomplete, fact.Key, on("ww1", "wk1"), direct.Key, on("ww2", "wk9"))
		b.peek(window.Closed, on("ww1", "wk2"), on("ww1", ""), on("ww3", "wk3"))
		b.clock.Advance(30 * time.Second)
		record()
		if at, _ := b.gap("wk1"); !at.Equal(began) {
			b.Errorf("the gap moved to %s", at)
		}
		b.clock.Advance(time.Minute) // within the tolerance now
		if tally, err := b.Record(b.Context(), []window.Fact{fact}); err != nil || tally.Recorded != 1 {
			b.Fatalf("%+v, %v", tally, err)
		}
		b.peek(window.Open, fact.Key)
	})
}

// A backfill ends the gaps of its channels, but not gaps of losses after it began.
func TestBackfilled(t *testing.T) {
	each(t, 5, func(b *bench) {
		fill := func(corp string, began time.Time, channels ...string) (missed []string) {
			b.Helper()
			missed, err := b.Backfilled(b.Context(), corp, channels, began)
			if err != nil {
				b.Fatal(err)
			}
			return missed
		}
		complete := func(corp string, want bool) {
			b.Helper()
			if got, since, err := b.Complete(b.Context(), corp, ""); got != want || err != nil {
				b.Fatalf("%s: complete is %v since %v, %v", corp, got, since, err)
			}
		}
		whole := func(channels ...string) {
			b.Helper()
			if err := b.CompleteCorp(b.Context(), "ww1", channels); err != nil {
				b.Fatal(err)
			}
		}
		repairable := func(want ...string) {
			b.Helper()
			got, err := b.Repairable(b.Context(), "ww1", []string{"wk1", "wk2", "wk3"})
			if !slices.Equal(got, want) || err != nil {
				b.Fatalf("repairable: %v, %v; want %v", got, err, want)
			}
		}
		wk1, wk2, wk3, theirs, direct := on("ww1", "wk1"), on("ww1", "wk2"), on("ww1", "wk3"), on("ww2", "wk4"), on("ww1", "")
		b.since(-time.Hour)
		began := b.clock.Now()
		if missed := fill("ww1", began.Add(-2*time.Hour), "wk1"); !slices.Equal(missed, []string{"wk1"}) {
			b.Fatalf("a backfill from before the records: missed %v", missed)
		}
		b.peek(window.Incomplete, wk1)
		repairable("wk1", "wk2", "wk3")
		if missed := fill("ww1", began, "wk1", "wk2"); len(missed) > 0 {
			b.Fatalf("missed %v", missed)
		}
		b.peek(window.Closed, wk1, wk2)
		b.peek(window.Incomplete, wk3, theirs, direct) // another secret sees them, or no page
		repairable("wk3")
		complete("ww1", false)
		whole("wk1", "wk2", "wk3") // wk3 was seen elsewhere
		complete("ww1", false)
		whole("wk1", "wk2")
		complete("ww1", true)
		complete("ww2", false)
		complete("", false)

		b.clock.Advance(time.Minute)
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk1", Messages: true, Codes: true})
		b.peek(window.Incomplete, wk1)
		b.peek(window.Closed, wk2)
		complete("ww1", false)
		if missed := fill("ww1", began, "wk1", "wk2"); !slices.Equal(missed, []string{"wk1"}) {
			b.Fatalf("missed %v", missed)
		}
		b.peek(window.Incomplete, wk1)
		complete("ww1", false)
		repairable("wk1", "wk3")
		if missed := fill("ww1", b.clock.Now(), "wk1", "wk2"); len(missed) > 0 {
			b.Fatalf("missed %v", missed)
		}
		b.peek(window.Closed, wk1, wk2)
		whole("wk1", "wk2")
		complete("ww1", true)

		b.clock.Advance(time.Minute)
		b.lose(true, window.Loss{Corp: "ww1", Messages: true})
		b.peek(window.Incomplete, wk1, wk2)
		if missed := fill("ww1", b.clock.Now().Add(-time.Second), "wk1", "wk2"); !slices.Equal(missed, []string{"wk1", "wk2"}) {
			b.Fatalf("missed %v", missed)
		}
		if missed := fill("ww1", b.clock.Now(), "wk1", "wk2"); len(missed) > 0 {
			b.Fatalf("missed %v", missed)
		}
		b.peek(window.Closed, wk1, wk2)
		b.clock.Advance(time.Minute)
		if err := b.RecordGap(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.peek(window.Incomplete, wk1, wk2)
		complete("ww1", false)
		if err := b.rdb.Set(b.Context(), "rg:gap:wk1", b.clock.Now().Add(time.Hour).UnixMilli(), 0).Err(); err != nil {
			b.Fatal(err)
		}
		repairable("wk2", "wk3") // a backfill ends no gap that is in the future
		if at, err := b.LastGaps(b.Context(), []string{"ww1", "ww2"}); err != nil || !at[0].Equal(b.clock.Now()) || !at[1].Equal(at[0]) {
			b.Errorf("last gaps %v, %v", at, err)
		}
	})
}

// Unreadable items do not fail a backfill, and their gaps stay.
func TestBackfillOverUnreadableItems(t *testing.T) {
	each(t, 5, func(b *bench) {
		began := b.clock.Now()
		item := func(channel string, i window.Item) window.Loss {
			return window.Loss{Corp: "ww1", Channel: channel, Messages: true, Item: &i}
		}
		b.lose(true, window.Loss{Corp: "ww1", Messages: true}) // repaired by the backfill
		b.clock.Advance(time.Minute)
		start := b.clock.Now()
		b.clock.Advance(time.Minute)
		dated := began.Add(-24 * time.Hour)
		b.lose(true, item("wk1", window.Item{ID: "m1", At: dated}), item("wk2", window.Item{ID: "m2"}))
		if missed, err := b.Backfilled(b.Context(), "ww1", []string{"wk1", "wk2", "wk3"}, start); len(missed) > 0 || err != nil {
			b.Fatalf("missed %v, %v", missed, err)
		}
		b.peek(window.Closed, on("ww1", "wk3"))
		b.peek(window.Incomplete, on("ww1", "wk1"), on("ww1", "wk2"))
		if _, since, err := b.Complete(b.Context(), "ww1", "wk1"); !since.Equal(dated) || err != nil {
			b.Errorf("complete since %s, %v; want %s", since, err, dated)
		}
		if complete, _, err := b.Complete(b.Context(), "ww1", ""); complete || err != nil {
			b.Errorf("the corp is complete: %v, %v", complete, err)
		}
		b.clock.Set(dated.Add(length))
		b.peek(window.Closed, on("ww1", "wk1"), on("ww1", "wk3"))
		b.peek(window.Incomplete, on("ww1", "wk2"))
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk2", Messages: true}) // a loss right after the item
		if missed, err := b.Backfilled(b.Context(), "ww1", []string{"wk2"}, start); !slices.Equal(missed, []string{"wk2"}) || err != nil {
			b.Errorf("missed %v, %v", missed, err)
		}
	})
}

// The history of an account begins when it is first listed.
func TestNewAccountBeginsWithAGap(t *testing.T) {
	slow(t, "waits for leases to expire")
	each(t, 5, func(b *bench) {
		list := func(s *window.Store, before []string, now ...string) {
			b.Helper()
			if err := s.ListAccounts(b.Context(), now, before); err != nil {
				b.Fatal(err)
			}
		}
		list(b.Store, nil, "ww1", "ww:2") // the first start of all: rg:since is what an operator set
		b.peek(window.Closed, on("ww1", "wk1"), on("ww:2", "wk2"))
		b.clock.Advance(time.Minute)
		list(b.Store, nil, "ww:2", "ww1") // a restart
		list(b.Store, []string{"ww1", "ww:2"}, "ww1", "ww:2", "ww3")
		b.peek(window.Closed, on("ww1", "wk1"), on("ww:2", "wk2"))
		b.peek(window.Incomplete, on("ww3", "wk3"), on("ww3", ""))
		at, _ := b.gap("ww3")
		b.clock.Advance(time.Minute)
		list(b.other(), nil, "ww1", "ww:2", "ww3") // another gateway starts with it
		if again, _ := b.gap("ww3"); !again.Equal(at) {
			b.Errorf("the gap moved from %s to %s", at, again)
		}
		list(b.other(), []string{"ww1"}, "ww1", "ww3") // a third one did not list it up to now
		if again, _ := b.gap("ww3"); !again.After(at) {
			b.Error("the gap did not move")
		}
		list(b.Store, nil, "ww1", "ww:2", "ww3")
		b.peek(window.Incomplete, on("ww:2", "wk2")) // it was taken off and came back
		b.peek(window.Closed, on("ww1", "wk1"))
		b.rdb.Del(b.Context(), "rg:accounts")
		b.rdb.Del(b.Context(), "rg:since")
		b.peek(window.Incomplete, on("ww1", "wk1"))
		b.clock.Advance(length)
		b.peek(window.Closed, on("ww1", "wk1"))
		list(b.other(), nil, "ww1", "ww:2", "ww3", "ww4") // Redis was told of the others again
		b.peek(window.Closed, on("ww1", "wk1"), on("ww3", "wk3"))
		b.peek(window.Incomplete, on("ww4", "wk4"))
	})
}

// Ten thousand new accounts are written in batches, and a later gap of one of them stays.
func TestManyNewAccounts(t *testing.T) {
	slow(t, "writes 10,000 accounts")
	each(t, 5, func(b *bench) {
		var many []string
		for i := range 10_000 {
			many = append(many, fmt.Sprintf("wwMany%d", i))
		}
		marked := window.Loss{Corp: many[7], Messages: true, Codes: true, Item: &window.Item{At: b.clock.Now().Add(time.Minute)}}
		b.lose(true, marked)
		if err := b.ListAccounts(b.Context(), many, []string{"ww1"}); err != nil {
			b.Fatal(err)
		}
		b.peek(window.Incomplete, on(many[0], "wk1"), on(many[7], "wk1"), on(many[9_999], "wk1"))
		b.peek(window.Closed, on("ww1", "wk1"))
		if at, _ := b.gap(many[7]); !at.Equal(b.clock.Now().Add(time.Minute)) {
			b.Errorf("a later gap moved back to %s", at)
		}
	})
}

// While a reload writes its new accounts, the others are refused as before: no call of a new one is
// judged yet.
func TestRefusalsStayProvenWhileAccountsAreListed(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.peek(window.Closed, on("ww1", "wk1"))
		now := []string{"ww1"}
		for i := range 1_000 {
			now = append(now, fmt.Sprintf("wwNew%d", i))
		}
		done := make(chan error, 1)
		go func() {
			err := b.ListAccounts(b.Context(), now, []string{"ww1"})
			err = errors.Join(err, b.ListAccounts(b.Context(), now, now))
			done <- errors.Join(err, b.ListAccounts(b.Context(), now[:1], now))
		}()
		for asked := 0; ; asked++ {
			select {
			case err := <-done:
				if err != nil || asked == 0 {
					b.Fatalf("asked %d times: %v", asked, err)
				}
				b.peek(window.Closed, on("ww1", "wk1"))
				return
			default:
			}
			if cause, err := b.ProofCause(b.Context(), on("ww1", "wk1")); cause == window.CauseGap || err != nil {
				b.Fatalf("%s, %v while accounts are listed", cause, err)
			}
		}
	})
}

// While new accounts cannot be written, nothing is refused. Once they can, all of them begin with a
// gap, also those that were written before the failure.
func TestNewAccountsAfterAFailure(t *testing.T) {
	slow(t, "waits for leases to expire")
	each(t, 5, func(b *bench) {
		if err := b.ListAccounts(b.Context(), []string{"ww1"}, nil); err != nil {
			b.Fatal(err)
		}
		b.peek(window.Closed, on("ww1", "wk1"))
		listed := b.rdb.Get(b.Context(), "rg:accounts").Val()
		many := []string{"ww1"}
		for i := range 2_000 {
			many = append(many, fmt.Sprintf("wwMany%04d", i))
		}
		f := newFault(b.T, b.rdb)
		f.set("rg:gap:wwMany1500")
		if err := b.ListAccounts(b.Context(), many, []string{"ww1"}); err == nil {
			b.Fatal("no chunk failed")
		}
		b.peek(window.Unproven, on("ww1", "wk1"))
		if got := b.rdb.Get(b.Context(), "rg:accounts").Val(); got != listed {
			b.Fatalf("the list is %.100q before all gaps are written", got)
		}
		first := b.clock.Now()
		b.clock.Advance(time.Minute)
		f.set("")
		b.peek(window.Incomplete, on(many[1], "wk1"), on(many[1_501], "wk1"), on(many[2_000], "wk1"))
		b.peek(window.Closed, on("ww1", "wk1"))
		for _, corp := range many[1:] {
			if at, _ := b.gap(corp); at.Before(first) || at.After(b.clock.Now()) {
				b.Fatalf("the gap of %s is %s", corp, at)
			}
		}
		if got := b.rdb.Get(b.Context(), "rg:accounts").Val(); strings.Count(got, ",") != 2_000 {
			b.Errorf("%d accounts are listed", strings.Count(got, ",")+1)
		}
	})
}

// A gap that holds no time makes history incomplete, and the next gap replaces it.
func TestBrokenGap(t *testing.T) {
	each(t, 5, func(b *bench) {
		b.rdb.Set(b.Context(), "rg:gap:wk1", "yesterday", 0)
		b.rdb.HSet(b.Context(), "rg:gap:ww2", "a", "b")
		b.rdb.Set(b.Context(), "rg:backfill:wk3", "x:y", 0)
		b.peek(window.Incomplete, on("ww1", "wk1"), on("ww2", "wk2"))
		b.peek(window.Closed, on("ww3", "wk3"))
		b.lose(true, window.Loss{Corp: "ww1", Channel: "wk1", Messages: true}, window.Loss{Corp: "ww2", Messages: true})
		b.clock.Advance(length)
		b.peek(window.Closed, on("ww1", "wk1"), on("ww2", "wk2"))
	})
}

// A gap only moves forward, in whatever order it is written.
func TestGapsMoveForward(t *testing.T) {
	each(t, 5, func(b *bench) {
		loss := window.Loss{Corp: "ww1", Channel: "wk1", Messages: true}
		latest := b.clock.Now()
		b.lose(true, loss)
		b.clock.Advance(-time.Minute)
		b.lose(false, loss)
		if at, _ := b.gap("wk1"); !at.Equal(latest) {
			b.Errorf("the gap is at %s, want %s", at, latest)
		}
		b.clock.Advance(2 * time.Minute)
		b.lose(true, loss)
		if at, _ := b.gap("wk1"); !at.Equal(latest.Add(time.Minute)) {
			b.Errorf("the gap is at %s", at)
		}
	})
}

// gapCases are losses on an unknown, a known and no channel, and one of an item without a time.
func gapCases() []window.Loss {
	return []window.Loss{
		{Corp: "ww1", Channel: "wk1", Messages: true, Codes: true, Reason: "page"},
		{Messages: true, Reason: "page"},
		{Corp: "ww1", Channel: "wk2", Messages: true, Item: &window.Item{ID: "m"}, Reason: "item"},
	}
}

// journaled is a bench whose gateway has a journal of a size of its own.
func journaled(t *testing.T, s *store.Client, c config.Redis, size int64) (*bench, *store.Journal) {
	t.Helper()
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	set := settings(5, clock.Now)
	set.Timeout = c.Timeout
	j, _, _, err := store.OpenJournal(filepath.Join(t.TempDir(), "journal"), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, client: s, health: &health{}, Store: window.NewShared(s.UniversalClient, &health{}, j, set), journal: j}
	run(t, b.Store)
	b.since(-2 * length)
	if err := b.ListAccounts(t.Context(), []string{"ww1", "ww2", "ww3"}, nil); err != nil {
		t.Fatal(err)
	}
	b.PagePassed(t.Context(), "ww1")
	b.PagePassed(t.Context(), "ww3")
	b.peek(window.Closed, on("ww1", "wk1"), on("ww2", "wk9"))
	return b, j
}

// full is the size of a journal that takes no record.
const full = 60

// Gaps that Redis does not take are journal records. Once Redis takes them, they are marked at the
// time of the loss, and no refusal comes in between.
func TestGapsGoToTheJournal(t *testing.T) {
	c := storetest.Start(t).Config()
	b, j := journaled(t, storetest.Open(t, c, time.Now), c, 1<<20)
	f := newFault(t, b.rdb)
	f.set("rg:gap:")
	lost := b.clock.Now()
	for i, l := range gapCases() {
		before := b.Expiry()
		if moved, err := b.RecordGaps(t.Context(), l); !moved || err != nil {
			t.Fatalf("RecordGaps: %v, %v", moved, err)
		}
		if time.Now().Before(before) {
			t.Error("it returns while the others may count a lease")
		}
		if records, _, err := j.Read(j.Start(), 100); len(records) != i+1 || err != nil || records[i][0] != 'L' {
			t.Fatalf("the journal holds %q, %v", records, err)
		}
	}
	b.peek(window.Unproven, on("ww1", "wk1"), on("ww3", "wk9"))
	if st := b.Status(); st.Held || !slices.Equal(st.Causes, []string{window.CauseJournal}) {
		t.Errorf("held %v, causes %v", st.Held, st.Causes)
	}
	b.clock.Advance(time.Minute)
	f.set("")
	within(t, "the journal is empty", j.Empty)
	b.peek(window.Incomplete, on("ww1", "wk1"), on("ww1", "wk2"), on("ww2", "wk3"))
	b.peek(window.Closed, on("ww1", "wk5"), on("ww3", "wk6"))
	for _, gap := range []string{"wk1", "wk2", "ww2"} {
		if at, _ := b.gap(gap); !at.Equal(lost) {
			t.Errorf("the gap of %s is at %s, want %s", gap, at, lost)
		}
	}
	if counts := b.GapCounts(); counts["page"] == 0 || counts["page"]+counts["item"] > 3 { // once for each chunk of the journal
		t.Errorf("gaps by reason: %v", counts)
	}
	if drained, _ := b.Drained(); drained != 3 {
		t.Errorf("%d records are drained", drained)
	}
	if moved, err := b.RecordGaps(t.Context(), gapCases()[2]); moved || err != nil {
		t.Errorf("the item is reported again: moved %v, %v", moved, err)
	}
}

// Gaps that the journal does not take either are kept in memory. They are an error, and nothing is
// refused until they are in Redis.
func TestGapsWithoutAJournal(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, c config.Redis, s *store.Client) {
		var b *bench
		if s.Embedded != nil {
			clock := wecomtest.NewClock()
			clock.Set(time.Now().Truncate(time.Second))
			b = newBench(t, s, clock, settings(5, clock.Now))
			if err := b.ListAccounts(t.Context(), []string{"ww2", "ww3"}, nil); err != nil {
				t.Fatal(err)
			}
			b.PagePassed(t.Context(), "ww3")
		} else {
			b, _ = journaled(t, s, c, full)
		}
		f := newFault(t, b.rdb)
		f.set("rg:gap:")
		lost := b.clock.Now()
		for _, l := range gapCases() {
			if moved, err := b.RecordGaps(t.Context(), l); !moved || err == nil {
				t.Fatalf("RecordGaps: %v, %v", moved, err)
			}
		}
		b.peek(window.Unproven, on("ww1", "wk1"), on("ww3", "wk9"))
		b.wrote(li, lost)
		b.reserve(li, window.Open, 4) // this needs no proof
		within(t, "the cause is known", func() bool { return slices.Contains(b.Status().Causes, window.CauseGap) })
		if _, err := b.Backfilled(t.Context(), "ww1", []string{"wk1"}, lost); err == nil {
			t.Error("a backfill ends a gap that is not written yet")
		}
		b.clock.Advance(time.Minute)
		f.set("")
		b.peek(window.Incomplete, on("ww1", "wk1"), on("ww1", "wk2"), on("ww2", "wk3"))
		b.peek(window.Closed, on("ww1", "wk5"), on("ww3", "wk6"))
		for _, gap := range []string{"wk1", "wk2", "ww2"} {
			if at, _ := b.gap(gap); !at.Equal(lost) {
				t.Errorf("the gap of %s is at %s, want %s", gap, at, lost)
			}
		}
		within(t, "no cause is left", func() bool { return len(b.Status().Causes) == 0 })
	})
}

// If there are more unwritten gaps than are kept apart, they become one of every corp.
func TestTooManyGaps(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, c config.Redis, s *store.Client) {
		if s.Embedded != nil {
			t.Skip("its gaps need no journal")
		}
		b, _ := journaled(t, s, c, full)
		f := newFault(t, b.rdb)
		f.set("rg:gap:|rg:since")
		losses := make([]window.Loss, 1200)
		for i := range losses {
			losses[i] = window.Loss{Corp: "ww3", Channel: fmt.Sprintf("wkMany%d", i), Messages: true}
		}
		if _, err := b.RecordGaps(t.Context(), losses...); err == nil {
			t.Fatal("the gaps are written")
		}
		b.peek(window.Unproven, on("ww3", "wkMany0"), on("ww1", "wk1"))
		lost := b.clock.Now()
		b.clock.Advance(time.Minute)
		f.set("")
		b.peek(window.Incomplete, on("ww3", "wkMany0"), on("ww3", "wkMany1199"), on("ww1", "wk1"))
		if _, since, err := b.Complete(t.Context(), "", ""); err != nil || !since.Equal(lost) {
			t.Errorf("records are complete since %s, want %s: %v", since, lost, err)
		}
	})
}

// A list of accounts that Redis does not take is written by Run. Until then nothing is refused.
func TestAccountsWhileRedisIsAway(t *testing.T) {
	slow(t, "kills redis-server")
	server := storetest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := server.Config()
	c.Timeout = 300 * time.Millisecond
	b, j := journaled(t, storetest.Open(t, c, time.Now), c, 1<<20)
	server.Down()
	if err := b.ListAccounts(t.Context(), []string{"ww1", "ww2", "ww3", "ww4"}, []string{"ww1", "ww2", "ww3"}); err == nil {
		t.Fatal("ListAccounts without Redis")
	}
	lost := b.clock.Now()
	if moved, err := b.RecordGaps(t.Context(), gapCases()[0]); !moved || err != nil {
		t.Fatalf("RecordGaps without Redis: %v, %v", moved, err)
	}
	b.peek(window.Unavailable, on("ww1", "wk1"), on("ww3", "wk9"))
	b.clock.Advance(time.Minute)
	server.Up()
	within(t, "the journal is empty", j.Empty)
	b.peek(window.Incomplete, on("ww1", "wk1"), on("ww4", "wk4"))
	if at, _ := b.gap("wk1"); !at.Equal(lost) {
		t.Errorf("the gap is at %s, want %s", at, lost)
	}
	b.peek(window.Closed, on("ww1", "wk5"), on("ww3", "wk6"))
}
