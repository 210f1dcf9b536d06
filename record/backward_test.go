package record_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/record"
)

// logBegin is when the logs of the tests begin.
var logBegin = time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)

// numbered writes lines first to last, one a second, to a file, each followed by noise.
func numbered(t *testing.T, path string, first, last int, noise string) {
	t.Helper()
	var text strings.Builder
	for i := first; i <= last; i++ {
		text.WriteString(decisionLine(false, logBegin.Add(time.Duration(i)*time.Second), fmt.Sprintf("id%d", i), `"verdict":"refuse"`))
		text.WriteString(noise)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotatedName is the name of a file that was rotated from decisions.log after a number of seconds.
func rotatedName(dir string, second int) string {
	return filepath.Join(dir, "decisions-"+logBegin.Add(time.Duration(second)*time.Second).Format("2006-01-02T15-04-05.000")+".log")
}

// A log is read from its end on, through the files that were rotated from it, within bounds.
func TestBackward(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "decisions.log")
	noise := strings.Repeat("x", 3<<10) + "\n"
	numbered(t, rotatedName(dir, 300), 0, 299, noise) // 900 KB each
	numbered(t, rotatedName(dir, 600), 300, 599, noise)
	numbered(t, path, 600, 899, noise)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "%s\n", strings.Repeat("z", 3<<20)) // longer than a record can be
	fmt.Fprint(f, strings.TrimSuffix(decisionLine(false, logBegin.Add(900*time.Second), "torn", `"verdict":"refuse"`), "\n"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		until       int // seconds; -1: the end
		bytes       int64
		stopAt      string
		first, last string
		n           int
		more        bool
	}{
		"all":             {-1, 1 << 30, "", "id899", "id0", 900, false},
		"until a file":    {450, 1 << 30, "", "id450", "id0", 451, false},
		"until before":    {-100, 1 << 30, "", "", "", 0, false},
		"stopped":         {-1, 1 << 30, "id595", "id899", "id595", 305, true},
		"within a budget": {-1, 4 << 20, "", "id899", "", -1, true},
		"no budget":       {-1, 0, "", "", "", 0, true},
	} {
		b := record.Backward{Path: path, Bytes: c.bytes}
		if c.until != -1 {
			b.Until = logBegin.Add(time.Duration(c.until) * time.Second)
		}
		var seen []string
		more, err := b.Read(t.Context(), func(line []byte) bool {
			id := record.Member(line, "id")
			if id != "" && (b.Until.IsZero() || record.Time(line) <= b.Until.Add(time.Second).Format("2006-01-02T15:04:05.000Z")) {
				seen = append(seen, id)
			}
			return id == "" || id != c.stopAt
		})
		if err != nil || more != c.more {
			t.Errorf("%s: more %v, error %v", name, more, err)
		}
		if c.n >= 0 && len(seen) != c.n || c.n < 0 && (len(seen) == 0 || len(seen) == 900) {
			t.Errorf("%s: %d lines, want %d", name, len(seen), c.n)
		}
		if len(seen) > 0 && (seen[0] != c.first || c.last != "" && seen[len(seen)-1] != c.last) {
			t.Errorf("%s: %s to %s, want %s to %s", name, seen[0], seen[len(seen)-1], c.first, c.last)
		}
		if distinct := slices.Compact(slices.Sorted(slices.Values(seen))); len(distinct) != len(seen) {
			t.Errorf("%s: lines twice", name)
		}
	}
}

// Packed files are named, files that cannot be read are an error after the others, a log that is
// not there is empty, and the end of the context is the end.
func TestBackwardBrokenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "decisions.log")
	count := func(ctx context.Context, b *record.Backward) (n int, more bool, err error) {
		more, err = b.Read(ctx, func([]byte) bool { n++; return true })
		return n, more, err
	}
	if n, more, err := count(t.Context(), &record.Backward{Path: path, Bytes: 1 << 20}); n != 0 || more || err != nil {
		t.Errorf("without a file: %d lines, more %v, error %v", n, more, err)
	}
	numbered(t, path, 600, 609, "")
	numbered(t, rotatedName(dir, 300), 0, 9, "")
	packed := rotatedName(dir, 500) + ".gz"
	f, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	fmt.Fprintln(z, "{}")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b := record.Backward{Path: path, Bytes: 1 << 20}
	if n, more, err := count(t.Context(), &b); n != 20 || more || err != nil || len(b.Packed) != 1 || b.Packed[0] != packed {
		t.Errorf("%d lines, more %v, error %v, packed %q", n, more, err, b.Packed)
	}
	if err := os.Mkdir(rotatedName(dir, 400), 0o700); err != nil {
		t.Fatal(err)
	}
	if n, more, err := count(t.Context(), &record.Backward{Path: path, Bytes: 1 << 20}); n != 20 || more || err == nil {
		t.Errorf("beside a folder: %d lines, more %v, error %v", n, more, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if n, more, err := count(ended, &record.Backward{Path: path, Bytes: 1 << 20}); n != 0 || !more || err != nil {
		t.Errorf("after its end: %d lines, more %v, error %v", n, more, err)
	}
}
