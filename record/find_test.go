package record_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/record"
)

// hour makes the lines of an hour, one each tenth of a second.
func hour(start time.Time) []byte {
	var b bytes.Buffer
	for at := start; at.Before(start.Add(time.Hour)); at = at.Add(100 * time.Millisecond) {
		fmt.Fprintf(&b, `{"level":"info","time":%q,"msg":"decision","id":%q,"verdict":"pass"}`+"\n", at.Format("2006-01-02T15:04:05.000Z07:00"), idOf(at))
	}
	return b.Bytes()
}

func idOf(at time.Time) string { return fmt.Sprintf("%011x00000", at.UnixMilli()) }

// A record is found in the file itself and in those rotated from it, packed or not, and files of
// other times are not opened.
func TestFindInFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	write := func(name string, data []byte, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(hour(start)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	write("decisions-2026-11-29T23-00-00.000.log.gz", []byte("not gzip: opening it fails"), 0o600)
	write("decisions-2026-11-30T01-00-00.000.log.gz", packed.Bytes(), 0o600)
	write("decisions-2026-11-30T02-00-00.000.log", hour(start.Add(time.Hour)), 0o600)
	write("decisions-old.log", []byte("no file of this log\n"), 0o600)
	current := append(hour(start.Add(2*time.Hour)), `{"level":"info","time":"2026-11-30T03:00`...) // cut off
	write("decisions.log", current, 0o600)
	log := filepath.Join(dir, "decisions.log")
	for _, test := range []struct {
		after time.Duration
		file  string
	}{
		{0, "decisions-2026-11-30T01-00-00.000.log.gz"},
		{59*time.Minute + 59*time.Second + 900*time.Millisecond, "decisions-2026-11-30T01-00-00.000.log.gz"},
		{time.Hour, "decisions-2026-11-30T02-00-00.000.log"},
		{90 * time.Minute, "decisions-2026-11-30T02-00-00.000.log"},
		{2 * time.Hour, "decisions.log"},
		{150*time.Minute + 100*time.Millisecond, "decisions.log"},
		{3*time.Hour - 100*time.Millisecond, "decisions.log"},
		{150*time.Minute + 50*time.Millisecond, ""}, // between two
		{4 * time.Hour, ""},
	} {
		at := start.Add(test.after)
		line, file, err := record.FindInFiles(log, idOf(at), at, time.Minute)
		if err != nil || test.file == "" && line != nil || test.file != "" && (filepath.Base(file) != test.file || !strings.Contains(string(line), idOf(at))) {
			t.Errorf("%v: %q in %s, want %s: %v", test.after, line, file, test.file, err)
		}
	}
}

// A record that was written long after its decision is found too, in the next file.
func TestFindLateRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	next := time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)
	id := idOf(next.Add(-time.Second))
	late := fmt.Sprintf(`{"level":"info","time":"2026-11-30T02:00:20.000Z","msg":"decision","id":%q}`+"\n", id)
	lines := hour(next)
	i := bytes.Index(lines, []byte(`{"level":"info","time":"2026-11-30T02:00:20.100Z"`))
	for name, data := range map[string][]byte{
		"log-2026-11-30T02-00-00.000": bytes.Replace(hour(next.Add(-time.Hour)), []byte(id), []byte(idOf(next)), 1),
		"log":                         slices.Concat(lines[:i], []byte(late), lines[i:]),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for within, want := range map[time.Duration]string{time.Minute: strings.TrimSpace(late), 10 * time.Second: ""} {
		got, _, err := record.FindInFiles(log, id, next.Add(-time.Second), within)
		if string(got) != want || err != nil {
			t.Errorf("within %v: %s %v", within, got, err)
		}
	}
}

// Without the file there is no record, and no error.
func TestFindWithoutFile(t *testing.T) {
	t.Parallel()
	line, _, err := record.FindInFiles(filepath.Join(t.TempDir(), "none", "log"), idOf(time.Now()), time.Now(), time.Minute)
	if line != nil || err != nil {
		t.Errorf("%s %v", line, err)
	}
}
