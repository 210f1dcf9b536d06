// Package record is where records and log lines leave the gateway: a sink that writes them in
// batches, keeps secrets in, and never keeps a call waiting for long.
//
// It does not know what a record says; packages proxy and admin make them.
package record

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batchDelay  = 10 * time.Millisecond // that lines come together before they are written
	fullBatch   = 1 << 20               // bytes that do not wait for more
	maxBuffered = 4 << 20               // bytes that wait to be written
	maxWait     = 50 * time.Millisecond // that a record waits for room
)

// Sink writes lines to a file or a stream from a goroutine of its own. Where that is slower than
// records come, a record waits a little, and then goes to the other stream and counts as unlogged.
type Sink struct {
	to       io.Writer
	fallback io.Writer

	mu       sync.Mutex
	buf      []byte
	writing  bool          // what was taken out of buf
	room     chan struct{} // closed, and made anew, whenever there is room again
	closed   bool
	wake     chan struct{}
	writeNow chan struct{} // what came together is written at once
	done     chan struct{}
	diverted atomic.Uint64
	flushed  chan struct{} // closed, and made anew, whenever everything is written
}

// NewSink writes to to; what that does not take goes to instead.
func NewSink(to, fallback io.Writer) *Sink {
	s := &Sink{
		to: to, fallback: fallback, room: make(chan struct{}), wake: make(chan struct{}, 1), writeNow: make(chan struct{}, 1),
		done: make(chan struct{}), flushed: make(chan struct{}),
	}
	go s.run()
	return s
}

// Unlogged counts the records that went to the other stream.
func (s *Sink) Unlogged() uint64 { return s.diverted.Load() }

// hasty is a Sink's face for records that wait for nothing.
type nonBlocking struct{ *Sink }

// Hasty returns a writer for lines that do not wait for room.
func (s *Sink) Hasty() io.Writer { return nonBlocking{s} }

func (h nonBlocking) Write(line []byte) (int, error) {
	if !h.tryAppend(line) {
		h.divert(line)
	}
	return len(line), nil
}

// Write takes a line, and waits for room at most 50 ms. It never fails: a line that finds no room
// goes to the other stream.
func (s *Sink) Write(line []byte) (int, error) {
	if s.tryAppend(line) {
		return len(line), nil
	}
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		room := s.room
		s.mu.Unlock()
		if s.tryAppend(line) {
			return len(line), nil
		}
		select {
		case <-room:
		case <-timeout.C:
			s.divert(line)
			return len(line), nil
		}
	}
}

func (s *Sink) tryAppend(line []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.buf)+len(line) > maxBuffered {
		return false
	}
	s.buf = append(s.buf, line...)
	if len(s.buf) == len(line) {
		notify(s.wake)
	} else if len(s.buf) >= fullBatch {
		notify(s.writeNow)
	}
	return true
}

// signal says something once, however often it is said before it is heard.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lose counts lines and sends them to the other stream.
func (s *Sink) divert(lines []byte) {
	s.diverted.Add(uint64(bytes.Count(lines, []byte{'\n'})))
	_, _ = s.fallback.Write(lines) // nowhere is left to say it
}

// run writes what came together since the last write.
func (s *Sink) run() {
	defer close(s.done)
	var batch []byte
	delay := time.NewTimer(batchDelay)
	defer delay.Stop()
	for range s.wake {
		delay.Reset(batchDelay)
		select {
		case <-delay.C:
		case <-s.writeNow:
		}
		s.mu.Lock()
		batch, s.buf, s.writing = s.buf, batch[:0], true
		close(s.room)
		s.room = make(chan struct{})
		s.mu.Unlock()
		if len(batch) > 0 {
			if n, err := s.to.Write(batch); err != nil {
				s.divert(unwritten(batch, n))
			}
		}
		s.mu.Lock()
		if s.writing = false; len(s.buf) == 0 {
			close(s.flushed)
			s.flushed = make(chan struct{})
		}
		s.mu.Unlock()
	}
}

// unwritten returns the lines of a batch of which n bytes were written, from the first one on that
// is not there whole.
func unwritten(batch []byte, n int) []byte {
	return batch[bytes.LastIndexByte(batch[:n], '\n')+1:]
}

// Sync waits, a second at most, until what was taken is written.
func (s *Sink) Sync() error {
	s.mu.Lock()
	flushed, written := s.flushed, len(s.buf) == 0 && !s.writing
	s.mu.Unlock()
	if written {
		return nil
	}
	notify(s.writeNow)
	select {
	case <-flushed:
	case <-time.After(time.Second):
	}
	return nil
}

// Close writes what is left and ends the sink; it waits two seconds at most for a stream that
// hangs.
func (s *Sink) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.wake)
		notify(s.writeNow)
	}
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(2 * time.Second):
	}
	return nil
}

// redacting writes what is left of a text without its secrets.
type redacting struct {
	redact func([]byte) []byte
	to     io.Writer
}

// Redacting returns a writer that takes secrets out before it writes to to.
func (r *Redactor) Redacting(to io.Writer) io.Writer { return redacting{r.Redact, to} }

// RedactingRecords is Redacting for what a Log writes.
func (r *Redactor) RedactingRecords(to io.Writer) io.Writer { return redacting{r.RedactRecords, to} }

func (w redacting) Write(p []byte) (int, error) {
	if _, err := w.to.Write(w.redact(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
