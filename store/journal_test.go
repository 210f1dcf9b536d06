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
		records, next, err := j.Read(at)
		if err != nil {
			t.Fatal(err)
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
	_, next, err := j.Read(j.Start())
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

// The journal's id is in the file: it is unique, and stays when the file is rewritten or moved.
func TestJournalID(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := journal(t, path, 1<<20)
	id := j.ID()
	if other := journal(t, filepath.Join(dir, "other"), 1<<20); id == "" || other.ID() == id {
		t.Fatalf("two journals have the ids %q and %q", id, other.ID())
	}
	appends(t, j, "one", "two")
	if err := j.Drop(j.Start() + 8 + 3); err != nil {
		t.Fatal(err)
	}
	j.Close()
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	j = journal(t, moved, 1<<20)
	if wantContents(t, j, "two"); j.ID() != id {
		t.Errorf("the id was %q and is %q", id, j.ID())
	}
}

// A journal of the first format gets an id, and keeps its records.
func TestJournalUpgrade(t *testing.T) {
	dir := t.TempDir()
	v2 := filepath.Join(dir, "v2")
	j := journal(t, v2, 1<<20)
	start := j.Start()
	appends(t, j, "one", "two")
	j.Close()
	whole, err := os.ReadFile(v2)
	if err != nil {
		t.Fatal(err)
	}
	for _, records := range [][]byte{whole[start:], nil} {
		path := filepath.Join(dir, "v1")
		if err := os.WriteFile(path, append([]byte("rgjournal1\n"), records...), 0o600); err != nil {
			t.Fatal(err)
		}
		j, fresh, lost, err := store.OpenJournal(path, 1<<20)
		if err != nil || fresh || lost != 0 || j.ID() == "" {
			t.Fatalf("fresh %v, lost %d, %v", fresh, lost, err)
		}
		if len(records) > 0 {
			wantContents(t, j, "one", "two")
		}
		id := j.ID()
		appends(t, j, "three")
		j.Close()
		if j = journal(t, path, 1<<20); j.ID() != id {
			t.Errorf("the id was %q and is %q", id, j.ID())
		}
		j.Close()
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
		if len(kept) >= 3 || lost == 0 && len(kept) > 2 {
			t.Errorf("byte %d: kept %q, lost %d", n, kept, lost)
		}
		j.Close()
	}
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

// Records of more than a read's size come in several reads, in order.
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
	reads, next := 0, byte(0)
	for at := j.Start(); at < j.End(); reads++ {
		records, end, err := j.Read(at)
		if err != nil || end <= at {
			t.Fatalf("Read(%d) ends at %d, %v", at, end, err)
		}
		for _, r := range records {
			if r[0] != next || len(r) != len(record) {
				t.Fatalf("record %d has number %d and %d bytes", next, r[0], len(r))
			}
			next++
		}
		at = end
	}
	if next != 10 || reads < 3 {
		t.Errorf("%d records in %d reads", next, reads)
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
	if err := os.WriteFile(path+".new123", []byte("rgjournal2 HALF"), 0o600); err != nil {
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
	held := filepath.Join(dir, "held")
	journal(t, held, 1<<20)
	for path, want := range map[string]string{
		dir:                                "name a file in a folder that the gateway may write",
		filepath.Join(dir, "none", "file"): "name a file in a folder that the gateway may write",
		foreign:                            "is not a journal of this version: move it away to start without it",
		held:                               "another gateway uses " + held + ": give each one of its own",
	} {
		_, _, _, err := store.OpenJournal(path, 1<<20)
		if err == nil || !strings.HasPrefix(err.Error(), "journal.path: ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want an error that ends in %q", path, err, want)
		}
	}
}
