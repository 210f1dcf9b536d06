package record_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
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
		line, file, err := record.FindInFiles(t.Context(), log, idOf(at), at, time.Minute)
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
		got, _, err := record.FindInFiles(t.Context(), log, id, next.Add(-time.Second), within)
		if string(got) != want || err != nil {
			t.Errorf("within %v: %s %v", within, got, err)
		}
	}
}

// What cannot be read hides no record that another file has, and what is no record is not found.
func TestFindBesideBrokenFiles(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 1, 0, 0, 0, time.UTC)
	whole := fmt.Sprintf(`{"level":"info","time":"2026-11-30T01:00:00.000Z","msg":"decision","id":%q}`+"\n", idOf(at))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(hour(at.Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	z.Close()
	for name, c := range map[string]struct {
		files  map[string]string // after decisions
		file   string            // that has the record
		failed string            // part of the error
	}{
		"no gzip": {map[string]string{"-2026-11-30T01-30-00.000.log.gz": "not gzip", ".log": whole}, "decisions.log", ""},
		"half a gzip": {map[string]string{"-2026-11-30T01-30-00.000.log.gz": packed.String()[:packed.Len()/2], "-2026-11-30T01-45-00.000.log": whole, ".log": ""},
			"decisions-2026-11-30T01-45-00.000.log", ""},
		"no gzip, and no record": {map[string]string{"-2026-11-30T01-30-00.000.log.gz": "not gzip", ".log": ""}, "", "decisions-2026-11-30T01-30-00.000.log.gz: "},
		"no gzip, and later ones": {map[string]string{"-2026-11-30T01-30-00.000.log.gz": "not gzip", "-2026-11-30T03-00-00.000.log": string(hour(at.Add(time.Hour))), ".log": whole},
			"", "decisions-2026-11-30T01-30-00.000.log.gz: "},
		"a line that is cut off":  {map[string]string{".log": strings.TrimSuffix(whole, "}\n")}, "", ""},
		"a line that is no JSON":  {map[string]string{".log": "x" + whole}, "", ""},
		"a line that is too long": {map[string]string{".log": `{"long":"` + strings.Repeat("x", 3<<19) + `",` + whole[1:]}, "", ""},
		"a line after such ones":  {map[string]string{".log": "x" + whole + whole}, "decisions.log", ""},
	} {
		dir := t.TempDir()
		for rest, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, "decisions"+rest), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		line, file, err := record.FindInFiles(t.Context(), filepath.Join(dir, "decisions.log"), idOf(at), at, time.Minute)
		if c.file == "" && line != nil || c.file != "" && (filepath.Base(file) != c.file || string(line)+"\n" != whole) {
			t.Errorf("%s: %.200q in %q, want %q", name, line, file, c.file)
		}
		if c.failed == "" && err != nil || c.failed != "" && (err == nil || !strings.Contains(err.Error(), c.failed)) {
			t.Errorf("%s: %v, want %q", name, err, c.failed)
		}
	}
}

// A search ends with the request that asked for it.
func TestFindEnds(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 1, 0, 0, 0, time.UTC)
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, hour(at), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	line, _, err := record.FindInFiles(ctx, log, idOf(at), at, time.Minute)
	if line != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%s %v", line, err)
	}
}

// Without the file there is no record, and no error.
func TestFindWithoutFile(t *testing.T) {
	t.Parallel()
	line, _, err := record.FindInFiles(t.Context(), filepath.Join(t.TempDir(), "none", "log"), idOf(time.Now()), time.Now(), time.Minute)
	if line != nil || err != nil {
		t.Errorf("%s %v", line, err)
	}
}
