// Package record writes the gateway's records and log lines: it redacts secrets, writes lines in
// batches, limits log lines that repeat, and bounds how long a call waits for a slow stream.
//
// It does not know the fields of a record; packages proxy and admin encode them.
package record

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	batchDelay  = 10 * time.Millisecond // lines collect this long before they are written
	fullBatch   = 1 << 20               // bytes that are written at once
	maxBuffered = 4 << 20               // bytes that may wait to be written
	maxWait     = 50 * time.Millisecond // a record waits this long for room
)

// Sink writes lines to a stream from its own goroutine, in order. If the stream is too slow or
// fails, lines go to the fallback stream instead and count as unlogged.
type Sink struct {
	to       io.Writer
	fallback io.Writer

	mu       sync.Mutex
	buf      []byte
	writing  bool          // a batch taken from buf is being written
	room     chan struct{} // closed and replaced whenever buf is emptied
	closed   bool
	wake     chan struct{} // buf is no longer empty; closed by Close
	writeNow chan struct{} // end the batch delay
	done     chan struct{} // closed when run returns
	diverted atomic.Uint64
	flushed  chan struct{} // closed and replaced whenever everything is written
}

// NewSink returns a Sink that writes to to, and to fallback what to does not take. Close ends it.
func NewSink(to, fallback io.Writer) *Sink {
	s := &Sink{
		to: to, fallback: fallback, room: make(chan struct{}), wake: make(chan struct{}, 1), writeNow: make(chan struct{}, 1),
		done: make(chan struct{}), flushed: make(chan struct{}),
	}
	go s.run()
	return s
}

// Unlogged returns the number of lines that went to the fallback stream.
func (s *Sink) Unlogged() uint64 { return s.diverted.Load() }

type nonBlocking struct{ *Sink }

// Hasty returns a writer that never waits: a line without room goes to the fallback stream at once.
func (s *Sink) Hasty() io.Writer { return nonBlocking{s} }

func (h nonBlocking) Write(line []byte) (int, error) {
	if !h.tryAppend(line) {
		h.divert(line)
	}
	return len(line), nil
}

// Write takes one or more whole lines and waits at most 50 ms for room. It never fails: lines
// without room go to the fallback stream.
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

// notify sends without blocking. Notifications that are not yet received merge into one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// divert counts lines and writes them to the fallback stream.
func (s *Sink) divert(lines []byte) {
	s.diverted.Add(uint64(bytes.Count(lines, []byte{'\n'})))
	_, _ = s.fallback.Write(lines) // no stream is left to report an error to
}

// run writes a batch whenever lines have collected, until Close.
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

// unwritten returns the lines of a batch that are not complete in its first n bytes.
func unwritten(batch []byte, n int) []byte {
	return batch[bytes.LastIndexByte(batch[:n], '\n')+1:]
}

// Sync waits until everything taken is written, at most one second. It always returns nil.
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

// Close writes what is left and ends the sink. It waits at most two seconds for a stream that
// hangs, and always returns nil. Lines written later go to the fallback stream.
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

type redacting struct {
	redact func([]byte) []byte
	to     io.Writer
}

// Redacting returns a writer that redacts each write before it goes to to. A secret that spans two
// writes is not recognized.
func (r *Redactor) Redacting(to io.Writer) io.Writer { return redacting{r.Redact, to} }

// RedactingRecords is like Redacting, for lines of a Log.
func (r *Redactor) RedactingRecords(to io.Writer) io.Writer { return redacting{r.RedactRecords, to} }

func (w redacting) Write(p []byte) (int, error) {
	if _, err := w.to.Write(w.redact(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
