package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"replygate/record"
)

// stream is a writer that can hang, or fail after some bytes.
type stream struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	hang  chan struct{} // writes wait until it is closed; nil: they do not
	fail  error         // nil: none
	room  int           // bytes that a failing write still takes
	calls int
}

func (s *stream) Write(p []byte) (int, error) {
	if s.hang != nil {
		<-s.hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fail != nil {
		n, _ := s.buf.Write(p[:min(s.room, len(p))])
		return n, s.fail
	}
	return s.buf.Write(p)
}

func (s *stream) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *stream) lines() []string {
	return strings.Split(strings.TrimSuffix(s.text(), "\n"), "\n")
}

func writeLine(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := fmt.Fprintln(w, text); err != nil || n != len(text)+1 {
		t.Fatalf("%d, %v", n, err)
	}
}

func closeSink(t *testing.T, s *record.Sink) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// fill writes lines of 1 MiB until the sink takes no more: one that its hanging stream has, and
// four that wait. The next one goes to the fallback.
func fill(t *testing.T, s *record.Sink) (line string) {
	t.Helper()
	line = strings.Repeat("x", 1<<20-1)
	writeLine(t, s, line)
	time.Sleep(20 * time.Millisecond) // in the bubble's time: the write has begun
	for s.Unlogged() == 0 {
		writeLine(t, s.Hasty(), line)
	}
	return line
}

func TestSinkKeepsOrderAndWritesAll(t *testing.T) {
	t.Parallel()
	to, fallback := &stream{}, &stream{}
	s := record.NewSink(to, fallback)
	for i := range 10_000 {
		writeLine(t, s, fmt.Sprint("line ", i))
	}
	closeSink(t, s)
	got := to.lines()
	if len(got) != 10_000 || got[0] != "line 0" || got[9_999] != "line 9999" || s.Unlogged() != 0 {
		t.Errorf("%d lines, the last %q, %d unlogged", len(got), got[len(got)-1], s.Unlogged())
	}
	if to.calls > 1000 {
		t.Errorf("%d writes of 10,000 lines: they are not batched", to.calls)
	}
}

// Lines of concurrent writers stay whole, and those of one writer in order.
func TestSinkConcurrentWriters(t *testing.T) {
	t.Parallel()
	to := &stream{}
	s := record.NewSink(to, io.Discard)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 500 {
				_, _ = fmt.Fprintf(s, "%d %d\n", w, i)
			}
		})
	}
	writers.Wait()
	closeSink(t, s)
	var next [8]int
	for _, line := range to.lines() {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d", &w, &i); err != nil || next[w] != i {
			t.Fatalf("line %q, want %d of writer %d: %v", line, next[w], w, err)
		}
		next[w]++
	}
	for w, n := range next {
		if n != 500 {
			t.Errorf("%d lines of writer %d", n, w)
		}
	}
}

func TestSinkAfterClose(t *testing.T) {
	t.Parallel()
	to, fallback := &stream{}, &stream{}
	s := record.NewSink(to, fallback)
	writeLine(t, s, "before")
	closeSink(t, s)
	closeSink(t, s) // again does nothing
	writeLine(t, s.Hasty(), "after")
	if s.Unlogged() != 1 || to.text() != "before\n" || fallback.text() != "after\n" {
		t.Errorf("%d unlogged, stream %q, fallback %q", s.Unlogged(), to.text(), fallback.text())
	}
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
}

// Lines collect for ten milliseconds, or until there is a megabyte of them.
func TestSinkBatchDelay(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want time.Duration
	}{
		"a short line":           {"a line\n", 10 * time.Millisecond},
		"a line less than 1 MiB": {strings.Repeat("x", 1<<20-len("first\n")-1), 10 * time.Millisecond},
		"a line up to 1 MiB":     {strings.Repeat("x", 1<<20-len("first\n")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				written := make(chan time.Duration, 1)
				s := record.NewSink(writerFunc(func(p []byte) (int, error) {
					written <- time.Since(began)
					return len(p), nil
				}), io.Discard)
				writeLine(t, s, "first")
				synctest.Wait()
				_, _ = io.WriteString(s, c.line)
				if got := <-written; got != c.want {
					t.Errorf("written after %s, want %s", got, c.want)
				}
				closeSink(t, s)
			})
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// While the stream hangs, a record waits 50 ms for room and then goes to the fallback.
func TestSinkThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, fallback := &stream{hang: make(chan struct{})}, &stream{}
		s := record.NewSink(to, fallback)
		line := fill(t, s)
		began := time.Now()
		writeLine(t, s.Hasty(), line)
		if took := time.Since(began); took != 0 {
			t.Errorf("a line that must not wait took %s", took)
		}
		writeLine(t, s, line)
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("a record waited %s", took)
		}
		if s.Unlogged() != 3 || len(fallback.lines()) != 3 {
			t.Errorf("%d unlogged, %d in the fallback", s.Unlogged(), len(fallback.lines()))
		}
		close(to.hang)
		closeSink(t, s)
		if n := len(to.lines()); n != 5 {
			t.Errorf("%d records were written once the stream went on, want 5", n)
		}
	})
}

// A record that waits for room is kept if the stream goes on in time.
func TestSinkRoomInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, fallback := &stream{hang: make(chan struct{})}, &stream{}
		s := record.NewSink(to, fallback)
		line := fill(t, s)
		began := time.Now()
		time.AfterFunc(30*time.Millisecond, func() { close(to.hang) })
		writeLine(t, s, line)
		if took := time.Since(began); took < 30*time.Millisecond || took >= 50*time.Millisecond {
			t.Errorf("the record waited %s", took)
		}
		closeSink(t, s)
		if s.Unlogged() != 1 {
			t.Errorf("%d unlogged, want the one that filled the sink", s.Unlogged())
		}
	})
}

// Sync waits for lines that are being written and for those that come after them, without the batch
// delay.
func TestSyncWaitsForTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stream{}
		s := record.NewSink(writerFunc(func(p []byte) (int, error) {
			time.Sleep(300 * time.Millisecond)
			return to.Write(p)
		}), io.Discard)
		writeLine(t, s, "first")
		time.Sleep(20 * time.Millisecond) // in the bubble's time: the write has begun 10 ms ago
		writeLine(t, s, "second")
		sync := func(want time.Duration, text string) {
			t.Helper()
			began := time.Now()
			if err := s.Sync(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != want || to.text() != text {
				t.Errorf("Sync took %s, want %s; %q is written, want %q", took, want, to.text(), text)
			}
		}
		sync(290*time.Millisecond+300*time.Millisecond, "first\nsecond\n")
		sync(0, "first\nsecond\n")
		writeLine(t, s, "third")
		sync(300*time.Millisecond, "first\nsecond\nthird\n")
		closeSink(t, s)
	})
}

// A stream that never goes on delays neither Sync nor Close for long.
func TestSyncAndCloseGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stream{hang: make(chan struct{})}
		s := record.NewSink(to, io.Discard)
		writeLine(t, s, "a line")
		began := time.Now()
		if err := s.Sync(); err != nil || time.Since(began) != time.Second {
			t.Errorf("Sync took %s: %v", time.Since(began), err)
		}
		began = time.Now()
		if err := s.Close(); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("Close took %s: %v", time.Since(began), err)
		}
		close(to.hang) // lets the sink's goroutine end
	})
}

// Lines that a failing stream did not take whole go to the fallback, and are counted.
func TestSinkThatFails(t *testing.T) {
	for _, c := range []struct {
		room     int // bytes that the stream takes of "one\ntwo\nthree\n"
		fallback string
		unlogged uint64
	}{
		{0, "one\ntwo\nthree\n", 3},
		{3, "one\ntwo\nthree\n", 3},
		{4, "two\nthree\n", 2},
		{6, "two\nthree\n", 2},
		{8, "three\n", 1},
		{13, "three\n", 1},
		{14, "", 0},
	} {
		t.Run(fmt.Sprint(c.room), func(t *testing.T) {
			t.Parallel()
			to, fallback := &stream{fail: errors.New("no space left on device"), room: c.room}, &stream{}
			s := record.NewSink(to, fallback)
			if _, err := io.WriteString(s, "one\ntwo\nthree\n"); err != nil {
				t.Fatal(err)
			}
			closeSink(t, s)
			if fallback.text() != c.fallback || s.Unlogged() != c.unlogged {
				t.Errorf("fallback %q, %d unlogged; want %q, %d", fallback.text(), s.Unlogged(), c.fallback, c.unlogged)
			}
		})
	}
}
