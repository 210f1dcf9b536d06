package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"replygate/record"
)

// stream is a writer that can be made to hang or to fail.
type stream struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	hang chan struct{}
	fail error
}

func (s *stream) Write(p []byte) (int, error) {
	if s.hang != nil {
		<-s.hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	return s.buf.Write(p)
}

func (s *stream) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.buf.String(), "\n"), "\n")
}

func writeLine(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := fmt.Fprintln(w, text); err != nil || n != len(text)+1 {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestSinkKeepsOrderAndWritesAll(t *testing.T) {
	to, instead := &stream{}, &stream{}
	s := record.NewSink(to, instead)
	for i := range 10_000 {
		writeLine(t, s, fmt.Sprint("line ", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := to.lines()
	if len(got) != 10_000 || got[0] != "line 0" || got[9_999] != "line 9999" || s.Unlogged() != 0 {
		t.Errorf("%d lines, the last %q, %d unlogged", len(got), got[len(got)-1], s.Unlogged())
	}
	writeLine(t, s, "too late")
	if s.Unlogged() != 1 {
		t.Error("a line behind the end is not counted")
	}
}

// A stream that hangs keeps a record waiting for a moment, then it goes to the other one.
func TestSinkThatHangs(t *testing.T) {
	to, instead := &stream{hang: make(chan struct{})}, &stream{}
	s := record.NewSink(to, instead)
	big := strings.Repeat("x", 1<<20-1)
	for s.Unlogged() == 0 {
		writeLine(t, s.Hasty(), big)
	}
	began := time.Now()
	writeLine(t, s, big)
	if took := time.Since(began); took > 5*50*time.Millisecond {
		t.Errorf("a record waited %s", took)
	}
	if s.Unlogged() != 2 || len(instead.lines()) != 2 {
		t.Errorf("%d unlogged, %d elsewhere", s.Unlogged(), len(instead.lines()))
	}
	close(to.hang)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(to.lines()); n < 4 {
		t.Errorf("%d records came through once it moved", n)
	}
}

// Sync waits for lines that are being written, too.
func TestSyncWaitsForTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stream{hang: make(chan struct{})}
		s := record.NewSink(to, io.Discard)
		writeLine(t, s, "a line")
		time.Sleep(20 * time.Millisecond) // in the bubble's time: it is on its way now
		var synced atomic.Bool
		go func() {
			_ = s.Sync()
			synced.Store(true)
		}()
		synctest.Wait()
		if synced.Load() {
			t.Error("Sync did not wait")
		}
		close(to.hang)
		synctest.Wait()
		if !synced.Load() {
			t.Error("Sync waits for what is written")
		}
		_ = s.Close()
	})
}

// A disk that is full loses no record: they go to the other stream, and are counted.
func TestSinkThatFails(t *testing.T) {
	to, instead := &stream{fail: errors.New("no space left on device")}, &stream{}
	s := record.NewSink(to, instead)
	for i := range 10 {
		writeLine(t, s, fmt.Sprint("line ", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Unlogged() != 10 || len(instead.lines()) != 10 {
		t.Errorf("%d unlogged, %d elsewhere", s.Unlogged(), len(instead.lines()))
	}
}
