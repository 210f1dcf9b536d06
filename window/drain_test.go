package window

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
	"replygate/store/storetest"
)

// The size of a chunk halves with each failure and doubles with each success.
func TestChunkSize(t *testing.T) {
	t.Parallel()
	var c chunk
	failed := errors.New("failed")
	for i, step := range []struct {
		err  error
		want int
	}{
		{nil, 256}, {failed, 128}, {failed, 64}, {nil, 128}, {nil, 256}, {nil, 256},
		{failed, 128}, {failed, 64}, {failed, 32}, {failed, 16}, {failed, 8}, {failed, 4}, {failed, 2}, {failed, 1}, {failed, 1}, {nil, 2},
	} {
		if err := c.done(step.err); err != step.err || c.size() != step.want {
			t.Errorf("step %d: %d, want %d; %v", i, c.size(), step.want, err)
		}
	}
}

// checked is a Redis that has answered.
type checked struct{ oneKey bool }

func (checked) Checked() bool                     { return true }
func (checked) RedisTime(string, time.Time) int64 { return 0 }
func (c checked) MultiKey() bool                  { return !c.oneKey }

// openJournal returns an empty journal.
func openJournal(t *testing.T) *store.Journal {
	t.Helper()
	j, _, _, err := store.OpenJournal(filepath.Join(t.TempDir(), "journal"), 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// joined is a Store that has joined a Redis, and does nothing by itself.
func joined(t *testing.T, s *store.Client) *Store {
	t.Helper()
	return joinedWith(t, s, openJournal(t))
}

func joinedWith(t *testing.T, s *store.Client, j *store.Journal) *Store {
	t.Helper()
	w := NewShared(s.UniversalClient, checked{oneKey: !s.MultiKey()}, j, Settings{Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: 5 * time.Second, Now: time.Now})
	for !w.recent.covers(w.stampNow()) { // what was written in the millisecond of the start is unknown
		time.Sleep(time.Millisecond)
	}
	if err := w.Acquire(t.Context()); err != nil || !w.Status().Held {
		t.Fatalf("held %v, %v", w.Status().Held, err)
	}
	return w
}

// proves fails the test unless some questions get their proofs. A Store that is joined does not
// renew its lease, so one that ended while the machine was busy is renewed here.
func proves(t *testing.T, w *Store, all ...question) {
	t.Helper()
	for range 20 {
		proofs := w.prove(t.Context(), all...)
		if !slices.ContainsFunc(proofs, func(p proof) bool { return p.cause == CauseLease }) {
			for i, p := range proofs {
				if p.err != nil || p.cause != "" {
					t.Errorf("%s: %q, %v", all[i].window, p.cause, p.err)
				}
			}
			return
		}
		if err := w.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("%s: the lease ends at once, twenty times", all[0].window)
}

// pipelines records the number of writes of each pipeline, and fails some.
type pipelines struct {
	sizes []int
	fails func(n int) bool // the n-th, from 1
	then  func(n int)      // after the n-th
}

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) < 2 || !slices.Contains([]string{"evalsha", "eval"}, cmds[0].Name()) || cmds[0].Args()[1] == leaseScript.Hash() {
			return next(ctx, cmds)
		}
		p.sizes = append(p.sizes, len(cmds)-1) // without the read of the lease
		n := len(p.sizes)
		if p.fails != nil && p.fails(n) {
			for _, cmd := range cmds {
				cmd.SetErr(wrongType{})
			}
			return wrongType{}
		}
		err := next(ctx, cmds)
		if p.then != nil {
			p.then(n)
		}
		return err
	}
}

// spilled appends n messages to the journal of a Store.
func spilled(t *testing.T, w *Store, n int) {
	t.Helper()
	b := newBacklog()
	for i := range n {
		b.facts[Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprint("wm", i)}] = time.Now().UnixMilli()
	}
	records, err := b.encode()
	if err == nil {
		err = w.journal.Append(records...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// left counts the records in the journal.
func left(t *testing.T, w *Store) (n int) {
	t.Helper()
	for at := w.journal.Start(); at < w.journal.End(); {
		records, next, err := w.journal.Read(at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		n, at = n+len(records), next
	}
	return n
}

// The journal drains in chunks. After an error what was written is gone from it, and the next chunk
// is half as large.
func TestDrainKeepsProgress(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	w := joined(t, s)
	p := &pipelines{fails: func(n int) bool { return n == 4 || n == 5 }} // the first has no script yet, and is sent twice
	s.AddHook(p)
	spilled(t, w, 1000)
	w.drain(t.Context())
	if n := left(t, w); n != 1000-2*256 {
		t.Errorf("%d records are left after an error in the third chunk; pipelines of %v", n, p.sizes)
	}
	if drained, failures := w.Drained(); drained != 512 || failures != 1 {
		t.Errorf("%d are drained, %d failures", drained, failures)
	}
	w.drain(t.Context())
	if n := left(t, w); n != 488 {
		t.Errorf("%d records are left after an error in the first chunk", n)
	}
	w.drain(t.Context())
	if want := []int{256, 256, 256, 256, 128, 64, 128, 256, 40}; !slices.Equal(p.sizes, want) || !w.journal.Empty() {
		t.Errorf("pipelines of %v, want %v; journal empty %v", p.sizes, want, w.journal.Empty())
	}
	if drained, failures := w.Drained(); drained != 1000 || failures != 2 {
		t.Errorf("%d are drained, %d failures", drained, failures)
	}
	if n := len(s.Keys(t.Context(), "rg:window:*").Val()); n != 1000 {
		t.Errorf("%d windows", n)
	}
}

// A long journal is dropped from the file while it drains, so that a crash repeats little of it.
func TestDrainDropsOnItsWay(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: drains 80,000 records")
	}
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	w := joined(t, s)
	spilled(t, w, 80_000)
	if w.journal.End() < 2*dropAfter {
		t.Fatalf("the journal has %d bytes alone", w.journal.End())
	}
	var ends []int64
	p := &pipelines{then: func(int) { ends = append(ends, w.journal.End()) }}
	s.AddHook(p)
	w.drain(t.Context())
	slices.Sort(ends)
	if n := len(slices.Compact(ends)); n < 2 || !w.journal.Empty() {
		t.Errorf("the file had %d sizes meanwhile; empty at the end: %v", n, w.journal.Empty())
	}
}

// Where a part cannot be dropped, as on a full disk, the whole journal is written once and dropped
// at its end.
func TestDrainWithoutRoomForACopy(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: drains 80,000 records")
	}
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j, _, _, err := store.OpenJournal(filepath.Join(dir, "journal"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	w := joinedWith(t, s, j)
	const records = 80_000
	spilled(t, w, records)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	w.drain(t.Context())
	if drained, failures := w.Drained(); drained != records || failures != 1 || !j.Empty() {
		t.Errorf("%d records are drained, %d failures, empty %v", drained, failures, j.Empty())
	}
}

// A record that cannot be read stops the drain, and stays.
func TestDrainStopsAtAnotherKind(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	w := joined(t, s)
	spilled(t, w, 3)
	if err := w.journal.Append([]byte(`K{"key":"rg:a"}`)); err != nil {
		t.Fatal(err)
	}
	for range 12 { // until a chunk has that record alone
		w.drain(t.Context())
	}
	if n := left(t, w); n != 1 {
		t.Errorf("%d records are left", n)
	}
	if _, failures := w.Drained(); failures != 12 || w.clean() {
		t.Errorf("%d failures, clean %v", failures, w.clean())
	}
}
