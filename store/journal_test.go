package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/store"
)

func journal(t *testing.T, path string, limit int64) *store.Journal {
	t.Helper()
	j, _, lost, err := store.OpenJournal(path, limit)
	if err != nil || lost != 0 {
		t.Fatalf("lost %d, %v", lost, err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func contents(t *testing.T, j *store.Journal) (all []string) {
	t.Helper()
	for at := j.Start(); at < j.End(); {
		records, next, err := j.Read(at, 2)
		if err != nil || len(records) > 2 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		for _, r := range records {
			all = append(all, string(r))
		}
		at = next
	}
	return all
}

func appends(t *testing.T, j *store.Journal, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := j.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
}

func wantContents(t *testing.T, j *store.Journal, want ...string) {
	t.Helper()
	if got := contents(t, j); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the journal holds %q, want %q", got, want)
	}
}

func TestJournalSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	appends(t, j, "one", "two", "three")
	if _, _, _, err := store.OpenJournal(path, 1<<20); err == nil {
		t.Fatal("it can be opened twice")
	}
	j.Close()
	j = journal(t, path, 1<<20)
	wantContents(t, j, "one", "two", "three")
	_, next, err := j.Read(j.Start(), 3)
	if err != nil {
		t.Fatal(err)
	}
	appends(t, j, "four")
	if err := j.Drop(next); err != nil {
		t.Fatal(err)
	}
	wantContents(t, j, "four")
	appends(t, j, "five")
	j.Close()
	j = journal(t, path, 1<<20)
	wantContents(t, j, "four", "five")
	if err := j.Drop(j.End()); err != nil || !j.Empty() {
		t.Fatalf("not empty, %v", err)
	}
	appends(t, j, "six")
	wantContents(t, j, "six")
}

// The journal's id and stamp are in the file: the id is unique, and both stay when the file is
// rewritten or moved.
func TestJournalID(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := journal(t, path, 1<<20)
	id := j.ID()
	if other := journal(t, filepath.Join(dir, "other"), 1<<20); id == "" || other.ID() == id {
		t.Fatalf("two journals have the ids %q and %q", id, other.ID())
	}
	appends(t, j, "one", "two")
	at := time.UnixMilli(1_790_000_000_123)
	j.Stamp(at)
	if err := j.Drop(j.Start() + 8 + 3); err != nil {
		t.Fatal(err)
	}
	j.Close()
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	j = journal(t, moved, 1<<20)
	if wantContents(t, j, "two"); j.ID() != id || !j.Stamped().Equal(at) {
		t.Errorf("the id was %q and is %q, the stamp was %s and is %s", id, j.ID(), at, j.Stamped())
	}
}

// A file that ends at any byte keeps every complete record, and accepts more.
func TestJournalTornTail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := journal(t, path, 1<<20)
	appends(t, j, "one", "two", "three")
	j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		cut := filepath.Join(dir, fmt.Sprint("cut", n))
		if err := os.WriteFile(cut, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j := journal(t, cut, 1<<20)
		var want []string
		for i, end := range []int{8 + 3, 2 * (8 + 3), 2*(8+3) + 8 + 5} {
			if n >= int(j.Start())+end {
				want = append(want, []string{"one", "two", "three"}[i])
			}
		}
		wantContents(t, j, want...)
		appends(t, j, "more")
		wantContents(t, j, append(want, "more")...)
	}
}

// A flipped bit is detected at every byte; the records before it are kept.
func TestJournalDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := journal(t, path, 1<<20)
	appends(t, j, "one", "two", "three")
	j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := int(j.Start()); n < len(whole); n++ {
		bad := bytes.Clone(whole)
		bad[n] ^= 0x40
		file := filepath.Join(dir, fmt.Sprint("bad", n))
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j, _, lost, err := store.OpenJournal(file, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		kept := contents(t, j)
		if len(kept) >= 3 || lost == 0 && len(kept) < 2 { // the length of the last one may be a torn record's
			t.Errorf("byte %d: kept %q, lost %d", n, kept, lost)
		}
		if j.Damaged() != (lost > 0) {
			t.Errorf("byte %d: lost %d, and it is damaged: %v", n, lost, j.Damaged())
		}
		j.Close()
		j, _, again, err := store.OpenJournal(file, 1<<20) // as after a crash
		if err != nil || again != lost {
			t.Fatalf("byte %d: lost %d, and at the next start %d, %v", n, lost, again, err)
		}
		appends(t, j, "x")
		j.Close()
		if j, _, again, err = store.OpenJournal(file, 1<<20); err != nil || again != 0 || j.Damaged() {
			t.Fatalf("byte %d: after an append %d bytes are lost, %v", n, again, err)
		}
		if kept = append(kept, "x"); !slices.Equal(contents(t, j), kept) {
			t.Errorf("byte %d: after an append it holds %q, want %q", n, contents(t, j), kept)
		}
		j.Close()
	}
	zeros := filepath.Join(dir, "zeros") // as a crash leaves a file whose new size alone is on the disk
	if err := os.WriteFile(zeros, append(bytes.Clone(whole), make([]byte, 100_000)...), 0o600); err != nil {
		t.Fatal(err)
	}
	j, _, lost, err := store.OpenJournal(zeros, 1<<20)
	if err != nil || lost != 0 {
		t.Fatalf("zeros at the end: lost %d, %v", lost, err)
	}
	wantContents(t, j, "one", "two", "three")
	j.Close()
	for _, text := range []string{"something", "something else entirely, as long as a journal or longer", string(whole[:5]) + "?"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := store.OpenJournal(path, 1<<20); err == nil {
			t.Errorf("%q is opened as a journal", text)
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	j := journal(t, filepath.Join(t.TempDir(), "journal"), 100)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = j.Append(make([]byte, 10))
	}
	if !errors.Is(err, store.ErrJournalFull) || n > 6 {
		t.Fatalf("after %d records: %v", n, err)
	}
	if err := j.Drop(j.End()); err != nil {
		t.Fatal(err)
	}
	appends(t, j, "room again")
}

// A disk without room for the header fails the start.
func TestJournalOnAFullDisk(t *testing.T) {
	j, _, _, err := store.OpenJournal("/dev/full", 1<<20)
	if err == nil {
		j.Close()
		t.Error("a journal on /dev/full opens")
	}
}

func TestJournalConcurrentAppends(t *testing.T) {
	j := journal(t, filepath.Join(t.TempDir(), "journal"), 1<<20)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if err := errors.Join(j.Append([]byte(fmt.Sprint("record ", i))), j.Sync()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(contents(t, j)); n != 50 {
		t.Errorf("%d records", n)
	}
}

// Append takes all of several records or none, and no record without bytes or above the limit.
func TestJournalAppendIsAtomic(t *testing.T) {
	t.Parallel()
	big := make([]byte, 1<<20)
	for _, c := range []struct {
		name    string
		limit   int64
		records [][]byte
		ok      bool
	}{
		{"one", 1 << 22, [][]byte{{1}}, true},
		{"the largest", 1 << 22, [][]byte{big}, true},
		{"no record", 1 << 22, nil, true},
		{"an empty one", 1 << 22, [][]byte{{1}, {}}, false},
		{"one too large", 1 << 22, [][]byte{{1}, append(big, 1)}, false},
		{"the second does not fit", 100, [][]byte{make([]byte, 20), make([]byte, 60)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := journal(t, filepath.Join(t.TempDir(), "journal"), c.limit)
			err := j.Append(c.records...)
			if (err == nil) != c.ok {
				t.Fatalf("Append = %v", err)
			}
			want := 0
			if c.ok {
				want = len(c.records)
			}
			if n := len(contents(t, j)); n != want {
				t.Errorf("%d records, want %d", n, want)
			}
		})
	}
}

// A read has no more records than its limit, and reads go through all of them in order.
func TestJournalReadsInParts(t *testing.T) {
	t.Parallel()
	j := journal(t, filepath.Join(t.TempDir(), "journal"), 1<<24)
	record := make([]byte, 300<<10)
	for i := range byte(10) {
		record[0] = i
		if err := j.Append(record); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[int]int{1: 10, 3: 4, 9: 2, 10: 1, 256: 1} {
		reads, next := 0, byte(0)
		for at := j.Start(); at < j.End(); reads++ {
			records, end, err := j.Read(at, limit)
			if err != nil || end <= at || len(records) > limit {
				t.Fatalf("Read(%d, %d) has %d records and ends at %d, %v", at, limit, len(records), end, err)
			}
			for _, r := range records {
				if r[0] != next || len(r) != len(record) {
					t.Fatalf("record %d has number %d and %d bytes", next, r[0], len(r))
				}
				next++
			}
			at = end
		}
		if next != 10 || reads != want {
			t.Errorf("%d records in %d reads of %d, want 10 in %d", next, reads, limit, want)
		}
	}
	if records, end, err := j.Read(j.End(), 256); len(records) > 0 || end != j.End() || err != nil {
		t.Errorf("at the end: %d records up to %d, %v", len(records), end, err)
	}
}

// A damaged record is an error of Read, which does not move on: nothing after it is skipped.
func TestJournalReadOfADamagedRecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	appends(t, j, "one", "two", "three")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("X"), j.Start()+8+3+8); err != nil { // in the second record
		t.Fatal(err)
	}
	if records, next, err := j.Read(j.Start(), 1); err != nil || len(records) != 1 || next != j.Start()+8+3 {
		t.Errorf("the record before it: %q up to %d, %v", records, next, err)
	}
	if records, next, err := j.Read(j.Start(), 3); err == nil || len(records) > 0 || next != j.Start() {
		t.Errorf("all three: %q up to %d, %v", records, next, err)
	}
}

// A stamp is written at most once a minute, in either direction of the clock, and is found again
// after a restart. It moves no record.
func TestJournalStamp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	if !j.Stamped().IsZero() {
		t.Fatalf("a new journal is stamped %s", j.Stamped())
	}
	appends(t, j, "one")
	first := time.UnixMilli(1_790_000_000_000)
	for _, c := range []struct{ at, want time.Duration }{
		{0, 0},
		{time.Minute - time.Millisecond, 0},
		{-time.Minute + time.Millisecond, 0},
		{time.Minute, time.Minute},
		{time.Minute + time.Second, time.Minute},
		{time.Hour, time.Hour},
		{-24 * time.Hour, -24 * time.Hour}, // the machine's clock was set back
		{-24*time.Hour + 30*time.Second, -24 * time.Hour},
	} {
		want := first.Add(c.want)
		if j.Stamp(first.Add(c.at)); !j.Stamped().Equal(want) {
			t.Errorf("after Stamp(%s): %s, want %s", c.at, j.Stamped().Sub(first), c.want)
		}
		j.Close()
		if j = journal(t, path, 1<<20); !j.Stamped().Equal(want) {
			t.Errorf("reopened after Stamp(%s): %s, want %s", c.at, j.Stamped().Sub(first), c.want)
		}
		wantContents(t, j, "one")
	}
	if err := j.Drop(j.End()); err != nil {
		t.Fatal(err)
	}
	j.Stamp(first)
	appends(t, j, "two")
	j.Close()
	if j = journal(t, path, 1<<20); !j.Stamped().Equal(first) {
		t.Errorf("after Drop and Stamp it is stamped %s", j.Stamped())
	}
	wantContents(t, j, "two")
}

// A header that a crash cut short is written anew: the journal was never used. A broken stamp is
// none, and costs neither the id nor a record.
func TestJournalHeader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := journal(t, path, 1<<20)
	id, start := j.ID(), int(j.Start())
	j.Stamp(time.UnixMilli(1_790_000_000_000))
	appends(t, j, "one")
	j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range start {
		torn := filepath.Join(dir, fmt.Sprint("torn", n))
		if err := os.WriteFile(torn, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, fresh, corrupt, err := store.OpenJournal(torn, 1<<20)
		if err != nil || !fresh || corrupt != 0 {
			t.Fatalf("a header of %d bytes: fresh %v, corrupt %d, %v", n, fresh, corrupt, err)
		}
		if j.ID() == "" || j.ID() == id || !j.Stamped().IsZero() || !j.Empty() {
			t.Errorf("a header of %d bytes: id %q, stamped %s, empty %v", n, j.ID(), j.Stamped(), j.Empty())
		}
		j.Close()
	}
	for _, stamp := range []string{"yesterday at 5", "             ", "17900000000x0"} {
		bad := bytes.Clone(whole)
		copy(bad[start-14:start-1], stamp)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j := journal(t, path, 1<<20)
		if j.ID() != id || !j.Stamped().IsZero() {
			t.Errorf("with the stamp %q: id %q, stamped %s", stamp, j.ID(), j.Stamped())
		}
		wantContents(t, j, "one")
		j.Close()
	}
}

// Drop takes any offset of a record, keeps what comes after it, and ignores one before the first.
func TestJournalDrop(t *testing.T) {
	t.Parallel()
	all := []string{"one", "three", "a longer one", "x"}
	for n := range len(all) + 1 {
		path := filepath.Join(t.TempDir(), "journal")
		j := journal(t, path, 1<<20)
		appends(t, j, all...)
		at := j.Start()
		for _, r := range all[:n] {
			at += 8 + int64(len(r))
		}
		for _, before := range []int64{0, j.Start(), at} {
			if err := j.Drop(before); err != nil {
				t.Fatal(err)
			}
		}
		wantContents(t, j, all[n:]...)
		appends(t, j, "more")
		j.Close()
		wantContents(t, journal(t, path, 1<<20), append(slices.Clone(all[n:]), "more")...)
	}
}

// Random appends, drops and reopenings agree with a list of records.
func TestJournalFollowsTheModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 8))
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	var model []string
	for step := range 400 {
		switch r.IntN(5) {
		case 0: // drop some of the oldest
			n, at := r.IntN(len(model)+1), j.Start()
			for _, record := range model[:n] {
				at += 8 + int64(len(record))
			}
			if err := j.Drop(at); err != nil {
				t.Fatal(err)
			}
			model = model[n:]
		case 1:
			j.Close()
			j = journal(t, path, 1<<20)
		default:
			record := fmt.Sprint(step, strings.Repeat("x", r.IntN(40)))
			appends(t, j, record)
			model = append(model, record)
		}
		if got := contents(t, j); !slices.Equal(got, model) || j.Empty() != (len(model) == 0) {
			t.Fatalf("step %d: %q, want %q", step, got, model)
		}
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("%d files in the folder, want the journal alone: %v", len(names), err)
	}
}

// A crash in the middle of a rewrite leaves the journal and a part of the new file. The next start
// has all records.
func TestJournalCrashDuringRewrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	appends(t, j, "one", "two")
	j.Close()
	if err := os.WriteFile(path+".new123", []byte("rgjournal3 HALF"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantContents(t, journal(t, path, 1<<20), "one", "two")
}

// A rewrite that fails keeps the records, and the journal goes on.
func TestJournalRewriteFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j := journal(t, filepath.Join(dir, "journal"), 1<<20)
	appends(t, j, "one", "two")
	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := j.Drop(j.Start() + 8 + 3); err == nil {
		t.Fatal("Drop succeeds without the folder")
	}
	wantContents(t, j, "one", "two")
	if err := os.Rename(moved, dir); err != nil {
		t.Fatal(err)
	}
	appends(t, j, "three")
	if err := j.Drop(j.Start() + 8 + 3); err != nil {
		t.Fatal(err)
	}
	wantContents(t, j, "two", "three")
}

// What is appended while the rest is copied to a new file is kept, in order.
func TestJournalAppendsDuringDrop(t *testing.T) {
	t.Parallel()
	j := journal(t, filepath.Join(t.TempDir(), "journal"), 1<<30)
	const count = 3000
	var appending sync.WaitGroup
	appending.Go(func() {
		for i := range count {
			if err := errors.Join(j.Append([]byte(fmt.Sprintf("%06d", i))), j.Sync()); err != nil {
				t.Error(err)
			}
		}
	})
	var got []string
	for len(got) < count && !t.Failed() {
		records, next, err := j.Read(j.Start(), 5)
		if err == nil {
			err = j.Drop(next)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			got = append(got, string(r))
		}
	}
	appending.Wait()
	if !slices.IsSorted(got) || len(slices.Compact(got)) != count || !j.Empty() {
		t.Errorf("%d records, in order %v, empty %v", len(got), slices.IsSorted(got), j.Empty())
	}
}

// After a failed fsync nothing is accepted: what it should have written may be lost.
func TestJournalFailedSync(t *testing.T) {
	t.Parallel()
	j := journal(t, filepath.Join(t.TempDir(), "journal"), 1<<20)
	if err := j.Append([]byte("one")); err != nil {
		t.Fatal(err)
	}
	j.CloseFile()
	first := j.Sync()
	if first == nil {
		t.Fatal("Sync of a closed file succeeds")
	}
	for name, err := range map[string]error{"Append": j.Append([]byte("two")), "Sync": j.Sync()} {
		if err == nil || err.Error() != first.Error() {
			t.Errorf("%s after a failed Sync = %v, want %v", name, err, first)
		}
	}
}

// Errors at opening name the setting and a remedy.
func TestJournalOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign")
	if err := os.WriteFile(foreign, []byte("rgjournal9 of a later format, as long as a header or longer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	earlier := filepath.Join(dir, "earlier")
	if err := os.WriteFile(earlier, []byte("rgjournal2 ABCDEFGHIJKLMNOPQRSTUVWXYZ\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "held")
	journal(t, held, 1<<20)
	for path, want := range map[string]string{
		dir:                                "name a file in a folder that the gateway may write",
		filepath.Join(dir, "none", "file"): "name a file in a folder that the gateway may write",
		foreign:                            "is not a journal of this version: move it away to start without it",
		earlier:                            "is not a journal of this version: move it away to start without it",
		held:                               "another gateway uses " + held + ": give each one of its own",
	} {
		_, _, _, err := store.OpenJournal(path, 1<<20)
		if err == nil || !strings.HasPrefix(err.Error(), "journal.path: ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want an error that ends in %q", path, err, want)
		}
	}
}

// The stamp survives the process, and leaving in order makes it a very old one.
func TestJournalStampLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	reopen := func() time.Time {
		j.Close()
		j = journal(t, path, 1<<20)
		return j.Stamped()
	}
	if err := j.StampLeft(); err != nil || !reopen().IsZero() {
		t.Fatalf("left before it was a member: %v, %v", j.Stamped(), err)
	}
	now := time.UnixMilli(1_800_000_000_000)
	if j.Stamp(now); !reopen().Equal(now) {
		t.Fatalf("stamped %v, %v is on the disk", now, j.Stamped())
	}
	if err := j.StampLeft(); err != nil || reopen().UnixMilli() != 1 {
		t.Fatalf("left: %v, %v", j.Stamped(), err)
	}
	if j.Stamp(now); !reopen().Equal(now) {
		t.Errorf("stamped %v again, %v is on the disk", now, j.Stamped())
	}
}

// An incomplete journal stays one for the next process, whatever is stamped, dropped or appended,
// until it is complete.
func TestJournalIncomplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := journal(t, path, 1<<20)
	j.Stamp(time.UnixMilli(1_800_000_000_000))
	if err := errors.Join(j.Append([]byte("one"), []byte("two")), j.MarkIncomplete()); err != nil {
		t.Fatal(err)
	}
	j.Stamp(time.UnixMilli(1_900_000_000_000))
	_, one, _ := j.Read(j.Start(), 1)
	if err := errors.Join(j.Drop(one), j.Close()); err != nil {
		t.Fatal(err)
	}
	j = journal(t, path, 1<<20)
	if !j.Incomplete() {
		t.Error("the next process finds it complete")
	}
	j.MarkComplete()
	j.MarkComplete()
	j.Close()
	if j = journal(t, path, 1<<20); j.Incomplete() || j.Stamped().UnixMilli() != 1 {
		t.Errorf("incomplete %v, stamped %v", j.Incomplete(), j.Stamped())
	}
	wantContents(t, j, "two")
}
