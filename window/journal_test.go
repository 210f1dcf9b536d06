package window_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// customers are n keys, and a message of each.
func customers(n int, at time.Time) (keys []window.Key, facts []window.Fact) {
	for i := range n {
		keys = append(keys, window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", i)})
		facts = append(facts, window.Fact{Key: keys[i], At: at})
	}
	return keys, facts
}

// What Redis does not take is acknowledged out of the journal, and not before this gateway's lease
// has expired for all others.
func TestSpillWaitsForTheLease(t *testing.T) {
	slow(t, "waits for leases to expire")
	c := storetest.Start(t).Config()
	s := storetest.Open(t, c, time.Now)
	b, j := journaled(t, s, c, 1<<20)
	other := b.other()
	f := newFault(t, b.rdb)
	f.set("rg:window:|rg:code:")
	for what, record := range map[string]func() error{
		"a message": func() error {
			_, err := b.Record(t.Context(), []window.Fact{{Key: li, At: b.clock.Now()}})
			return err
		},
		"a code": func() error {
			return b.LearnCodes(t.Context(), []window.LearntCode{{Code: window.Code{Key: li, Kind: "to_queue", Deadline: b.clock.Now().Add(time.Hour)}, Text: "CODE"}})
		},
	} {
		before, end := b.Expiry(), j.End()
		if err := record(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if time.Now().Before(before) {
			t.Errorf("%s: acknowledged %s before the lease has expired", what, time.Until(before))
		}
		if j.End() == end {
			t.Errorf("%s is not in the journal", what)
		}
		if n := s.Exists(t.Context(), "rg:lease:{0}:"+j.ID()).Val(); n != 0 {
			t.Errorf("%s is acknowledged while the lease is in redis", what)
		}
		if a := other.Peek(t.Context(), li)[0]; a.State != window.Unproven {
			t.Errorf("%s is in the journal, and another gateway says %s", what, a.State)
		}
		if a := other.PeekCode(t.Context(), "ww1", "CODE"); a.State != window.CodeUnavailable {
			t.Errorf("%s is in the journal, and another gateway says %s", what, a.State)
		}
	}
	f.set("")
	within(t, "the journal is empty", j.Empty)
	agree(t, b.Store, other)
	if a := other.Peek(t.Context(), li)[0]; a.State != window.Open {
		t.Errorf("after the drain the window is %s", a.State)
	}
	if a := other.PeekCode(t.Context(), "ww1", "CODE"); a.State != window.CodeTaken {
		t.Errorf("after the drain the code is %s", a.State)
	}
	if drained, failures := b.Drained(); drained != 2 || failures == 0 {
		t.Errorf("%d records are drained after %d failures", drained, failures)
	}
}

// If Redis takes writes again before the lease has expired, a waiting callback is acknowledged, and
// later ones are too.
func TestSpillEndsAfterAShortFailure(t *testing.T) {
	slow(t, "waits for leases to expire")
	c := storetest.Start(t).Config()
	b, j := journaled(t, storetest.Open(t, c, time.Now), c, 1<<20)
	f := newFault(t, b.rdb)
	for range 3 {
		f.set("rg:window:")
		done := make(chan error, 1)
		go func() {
			_, err := b.Record(t.Context(), []window.Fact{{Key: li, At: b.clock.Now()}})
			done <- err
		}()
		within(t, "the message is in the journal", func() bool { return !j.Empty() })
		f.set("")
		within(t, "the journal is empty", j.Empty)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("redis has the message, and it is not acknowledged")
		}
		b.reserve(li, window.Open, 4)
		b.clock.Advance(time.Minute)
		b.wrote(li, b.clock.Now())
		b.clock.Advance(time.Minute)
	}
}

// A gateway for which the others do not wait acknowledges nothing that Redis does not take.
func TestSpillOfAStranger(t *testing.T) {
	c := storetest.Start(t).Config()
	s := storetest.Open(t, c, time.Now)
	for _, r := range []struct {
		name   string
		held   time.Duration // ago; 0: never
		length time.Duration
		ok     bool
	}{
		{"it never held a lease", 0, length, false},
		{"just now", time.Second, length, true},
		{"shortly within a day", 24*time.Hour - time.Minute, length, true},
		{"more than a day", 24*time.Hour + time.Minute, length, false},
		{"within half a short window", 5*time.Minute - time.Second, 10 * time.Minute, true},
		{"more than half a short window", 6 * time.Minute, 10 * time.Minute, false},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			clock := wecomtest.NewClock()
			clock.Set(time.Now())
			j := journal(t)
			if r.held > 0 {
				j.Stamp(clock.Now().Add(-r.held))
			}
			set := settings(5, clock.Now)
			set.Length = r.length
			w := window.NewShared(s.UniversalClient, &health{}, j, set) // it does not run, so it has not joined
			_, err := w.Record(t.Context(), []window.Fact{{Key: li, At: clock.Now()}})
			if r.ok != (err == nil) || r.ok == errors.Is(err, window.ErrNotMember) || j.Empty() {
				t.Errorf("Record = %v, journal empty %v", err, j.Empty())
			}
			if moved, err := w.RecordGaps(t.Context(), window.Loss{Corp: "ww1", Messages: true}); r.ok != (err == nil) || !moved {
				t.Errorf("RecordGaps = %v, %v", moved, err)
			}
			if st := w.Status(); st.Held {
				t.Error("it holds its lease")
			}
		})
	}
}

// Without a lease for longer than a day a gateway stops to acknowledge, and goes on once it holds
// one again.
func TestSpillEndsAfterADay(t *testing.T) {
	slow(t, "waits for leases to expire")
	c := storetest.Start(t).Config()
	b, j := journaled(t, storetest.Open(t, c, time.Now), c, 1<<20)
	f := newFault(t, b.rdb)
	f.set("rg:window:")
	record := func() error {
		_, err := b.Record(t.Context(), []window.Fact{{Key: li, At: b.clock.Now()}})
		return err
	}
	if err := record(); err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(23 * time.Hour)
	if err := record(); err != nil {
		t.Errorf("within a day: %v", err)
	}
	b.clock.Advance(2 * time.Hour)
	end := j.End()
	if err := record(); !errors.Is(err, window.ErrNotMember) || j.End() == end {
		t.Errorf("after a day: %v", err)
	}
	f.set("")
	within(t, "the journal is empty", j.Empty)
	agree(t, b.Store)
	f.set("rg:window:")
	if err := record(); err != nil {
		t.Errorf("after another lease: %v", err)
	}
}

// A journal without room is an error, and nothing is acknowledged. Afterwards all goes on.
func TestSpillIntoAFullJournal(t *testing.T) {
	c := storetest.Start(t).Config()
	b, j := journaled(t, storetest.Open(t, c, time.Now), c, full)
	f := newFault(t, b.rdb)
	f.set("rg:window:")
	if _, err := b.Record(t.Context(), []window.Fact{{Key: li, At: b.clock.Now()}}); !errors.Is(err, store.ErrJournalFull) || !j.Empty() {
		t.Errorf("Record = %v", err)
	}
	f.set("")
	b.peek(window.Closed, li)
	b.wrote(li, b.clock.Now())
	b.reserve(li, window.Open, 4)
}

// openJournal opens a journal until the test ends.
func openJournal(t *testing.T, path string) *store.Journal {
	t.Helper()
	j, _, _, err := store.OpenJournal(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// A journal that cannot be read from a record on has lost messages that were acknowledged: refusals
// are history_incomplete, also if the gateway is killed before Redis knows.
func TestDamagedJournal(t *testing.T) {
	slow(t, "waits for leases to expire")
	c := storetest.Start(t).Config()
	s := storetest.Open(t, c, time.Now)
	path := filepath.Join(t.TempDir(), "journal")
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	f := newFault(t, s.UniversalClient)
	j := openJournal(t, path)
	first := window.NewShared(s.UniversalClient, &health{}, j, settings(5, clock.Now))
	stop := run(t, first)
	if err := s.Set(t.Context(), "rg:since", clock.Now().Add(-2*length).UnixMilli(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	f.set("rg:window:")
	_, facts := customers(3, clock.Now())
	if _, err := first.Record(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	stop()
	middle := (j.Start() + j.End()) / 2
	j.Close()
	f.set("")
	flipBit(t, path, middle)
	for range 2 { // the first of these is killed at once
		j = openJournal(t, path)
		w := window.NewShared(s.UniversalClient, &health{}, j, settings(5, clock.Now))
		if err := w.CheckJournal(); err != nil {
			t.Fatal(err)
		}
		if j.Empty() || j.Damaged() {
			t.Fatalf("empty: %v, damaged: %v", j.Empty(), j.Damaged())
		}
		j.Close()
	}
	j = openJournal(t, path)
	last := window.NewShared(s.UniversalClient, &health{}, j, settings(5, clock.Now))
	run(t, last)
	within(t, "the journal is empty", j.Empty)
	if a := last.Peek(t.Context(), li)[0]; a.State != window.Incomplete {
		t.Errorf("a customer whose message may be lost: %s", a.State)
	}
	if n := last.GapCounts()["damaged"]; n != 1 {
		t.Errorf("%d gaps", n)
	}
}

// A gap that neither Redis nor a full journal took is not forgotten when the gateway ends: the next
// process refuses nothing before it has marked a gap.
func TestUnwrittenGapOutlivesItsProcess(t *testing.T) {
	slow(t, "waits for leases to expire")
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	path := filepath.Join(t.TempDir(), "journal")
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	if err := s.Set(t.Context(), "rg:since", clock.Now().Add(-2*length).UnixMilli(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	f := newFault(t, s.UniversalClient)
	begin := func(most int64) (*store.Journal, *window.Store) {
		j, _, _, err := store.OpenJournal(path, most)
		if err != nil {
			t.Fatal(err)
		}
		w := window.NewShared(s.UniversalClient, &health{}, j, settings(5, clock.Now))
		if err := w.CheckJournal(); err != nil {
			t.Fatal(err)
		}
		return j, w
	}
	j, first := begin(full)
	stop := run(t, first)
	within(t, "the lease is held", func() bool { return first.Peek(t.Context(), li)[0].State == window.Closed })
	f.set("rg:gap:")
	if _, err := first.RecordGaps(t.Context(), window.Loss{Corp: li.Corp, Channel: li.Channel, Messages: true, Reason: "unrecorded"}); !errors.Is(err, store.ErrJournalFull) {
		t.Fatal(err)
	}
	stop()
	j.Close()
	f.set("")
	for range 2 { // the first of these is killed at once
		j, _ = begin(full)
		j.Close()
	}
	j, last := begin(full)
	defer j.Close()
	if a := last.Peek(t.Context(), li)[0]; a.State == window.Closed {
		t.Error("refused before the gap is written")
	}
	stop = run(t, last)
	defer stop()
	within(t, "it is sure again", func() bool { return len(last.Status().Causes) == 0 && !j.Incomplete() })
	if a := last.Peek(t.Context(), li)[0]; a.State != window.Incomplete {
		t.Errorf("a customer whose message may be lost: %s", a.State)
	}
}

// flipBit damages a byte of a file.
func flipBit(t *testing.T, path string, at int64) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[at] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An embedded store acknowledges nothing that its journal has not taken.
func TestEmbeddedJournalIsFull(t *testing.T) {
	clock := wecomtest.NewClock()
	c := storetest.Embedded(t)
	jc := storetest.Journal(t, c)
	jc.MaxBytes = full
	s, err := store.Open(t.Context(), c, jc, clock.Now, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w := window.NewEmbedded(s.UniversalClient, s, settings(5, clock.Now))
	_, message := w.Record(t.Context(), []window.Fact{{Key: li, At: clock.Now()}})
	code := w.LearnCodes(t.Context(), []window.LearntCode{{Code: window.Code{Key: li, Kind: "to_queue", Deadline: clock.Now().Add(time.Hour)}, Text: "CODE"}})
	_, gap := w.RecordGaps(t.Context(), window.Loss{Corp: "ww1", Messages: true, Reason: "unrecorded"})
	for what, err := range map[string]error{"a message": message, "a code": code, "a gap": gap} {
		if !errors.Is(err, store.ErrJournalFull) {
			t.Errorf("%s is acknowledged: %v", what, err)
		}
	}
}

// A restart drains the journal of the process before. Until then nothing is refused.
func TestJournalOfAnEarlierProcess(t *testing.T) {
	slow(t, "waits for leases to expire")
	c := storetest.Start(t).Config()
	s := storetest.Open(t, c, time.Now)
	path := filepath.Join(t.TempDir(), "journal")
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	f := newFault(t, s.UniversalClient)
	j := openJournal(t, path)
	first := window.NewShared(s.UniversalClient, &health{}, j, settings(5, clock.Now))
	stop := run(t, first)
	f.set("rg:window:")
	keys, facts := customers(300, clock.Now())
	if _, err := first.Record(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	stop()
	j.Close()
	j = openJournal(t, path)
	second := window.NewShared(s.UniversalClient, &health{}, j, settings(5, clock.Now))
	if err := second.CheckJournal(); err != nil {
		t.Error(err)
	}
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, client: s, health: &health{}, Store: second}
	b.since(-2 * length)
	third := window.NewShared(s.UniversalClient, &health{}, journal(t), settings(5, clock.Now))
	run(t, third)
	if a := third.Peek(t.Context(), li)[0]; a.State != window.Unproven {
		t.Errorf("the other is stopped with a journal, and a third gateway says %s", a.State)
	}
	f.set("")
	if err := second.Acquire(t.Context()); err != nil || second.Status().Held {
		t.Errorf("with a journal: held %v, %v", second.Status().Held, err)
	}
	run(t, second)
	within(t, "the journal is empty", j.Empty)
	agree(t, second, third)
	var all sync.WaitGroup
	for _, k := range keys {
		all.Go(func() {
			if a := third.Reserve(t.Context(), k); a.State != window.Open {
				t.Errorf("%s: %s", k.Customer, a.State)
			}
		})
	}
	all.Wait()
	if drained, _ := second.Drained(); drained != 300 {
		t.Errorf("%d records are drained", drained)
	}
}

// A journal of the embedded store cannot be written to a shared Redis: that is found at the start.
func TestCheckJournal(t *testing.T) {
	c := storetest.Start(t).Config()
	s := storetest.Open(t, c, time.Now)
	j := journal(t)
	w := window.NewShared(s.UniversalClient, &health{}, j, settings(5, time.Now))
	if err := w.CheckJournal(); err != nil {
		t.Errorf("an empty journal: %v", err)
	}
	if err := j.Append([]byte(`L{"Corp":"ww1"}`), []byte(`K{"key":"rg:a"}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.CheckJournal(); err == nil {
		t.Error("a record of another kind is accepted")
	}
	if err := window.NewEmbedded(s.UniversalClient, &health{}, settings(5, time.Now)).CheckJournal(); err != nil {
		t.Errorf("an embedded store: %v", err)
	}
}
