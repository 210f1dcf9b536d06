package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"replygate/config"
)

// filler is a record of 64 KiB.
type filler struct{}

func (filler) AppendJSON(b []byte) []byte {
	return append(append(append(b, `"x":"`...), strings.Repeat("x", 64<<10)...), '"')
}

// The file of decision records is rotated at log.max_size, and log.max_files of the old ones are
// kept.
func TestDecisionLogRotates(t *testing.T) {
	for _, test := range []struct{ keep, want int }{{1, 2}, {2, 3}, {0, 5}} {
		dir := t.TempDir()
		c := config.Default()
		c.Log.Decisions, c.Log.MaxSize, c.Log.MaxFiles = filepath.Join(dir, "decisions.log"), 1<<20, test.keep
		l, err := openLogs(&c, zapcore.InfoLevel, streams{out: io.Discard, err: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 * 15 { // 15 fit into a megabyte
			l.refusals.Add(time.Now(), "decision", filler{})
			l.Sync()
			time.Sleep(time.Millisecond) // a rotated file has the millisecond in its name
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l.Unlogged() != 0 {
			t.Errorf("%d records were not logged", l.Unlogged())
		}
		files := func() []os.DirEntry {
			all, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		for deadline := time.Now().Add(30 * time.Second); len(files()) != test.want && time.Now().Before(deadline); { // old ones are removed beside
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(files()); n != test.want {
			t.Errorf("keeping %d: %d files, want %d", test.keep, n, test.want)
		}
		for _, f := range files() {
			if info, err := f.Info(); err == nil && info.Size() > 1<<20 {
				t.Errorf("%s has %d bytes", f.Name(), info.Size())
			}
		}
	}
}
