package record

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// Ring remembers the newest decision records that its function selects, to be listed: up to a
// number of records and of bytes. It may be used concurrently.
type Ring struct {
	keep            func(line []byte) bool
	records, memory int // at most

	mu    sync.Mutex
	lines [][]byte // a circle: the oldest is at first
	first int
	n     int
	bytes int
	since string // the time of the last record that made room, as text; "" if none has
}

// NewRing returns a Ring of at most so many records and bytes. keep selects its records.
func NewRing(records, memory int, keep func(line []byte) bool) *Ring {
	return &Ring{keep: keep, records: records, memory: memory}
}

// Through returns a writer that remembers decision records among the lines on their way to to.
func (r *Ring) Through(to io.Writer) io.Writer { return ringing{r, to} }

type ringing struct {
	*Ring
	to io.Writer
}

func (w ringing) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		start, rest := decisionIn(line)
		if len(rest) > 0 && w.keep(rest) {
			w.add(append([]byte(start), bytes.TrimSuffix(rest, newline)...))
		}
	}
	return w.to.Write(lines)
}

var newline = []byte{'\n'}

func (r *Ring) add(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(line) > r.memory {
		return
	}
	for r.n == r.records || r.bytes+len(line) > r.memory {
		r.drop()
	}
	if r.n == len(r.lines) {
		r.grow()
	}
	r.lines[(r.first+r.n)%len(r.lines)] = line
	r.n, r.bytes = r.n+1, r.bytes+len(line)
}

// drop makes room by the oldest record.
func (r *Ring) drop() {
	oldest := r.lines[r.first]
	r.lines[r.first] = nil
	r.first, r.n, r.bytes = (r.first+1)%len(r.lines), r.n-1, r.bytes-len(oldest)
	r.since = max(r.since, Time(oldest))
}

// grow doubles the circle.
func (r *Ring) grow() {
	bigger := make([][]byte, min(max(2*len(r.lines), 64), r.records))
	for i := range r.n {
		bigger[i] = r.lines[(r.first+i)%len(r.lines)]
	}
	r.lines, r.first = bigger, 0
}

// Lines returns the records, the oldest first, which must not be changed, and the time of the last
// one that made room for others, zero if none has.
func (r *Ring) Lines() (lines [][]byte, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines = make([][]byte, r.n)
	for i := range lines {
		lines[i] = r.lines[(r.first+i)%len(r.lines)]
	}
	since, _ = time.Parse(time.RFC3339Nano, r.since) // zero without one
	return lines, since
}

// Find returns the newest record of a decision, or nil.
func (r *Ring) Find(id string) []byte {
	lines, _ := r.Lines()
	want := idMember(id)
	for i := len(lines) - 1; i >= 0; i-- {
		if bytes.Contains(lines[i], want) {
			return lines[i]
		}
	}
	return nil
}

const timeLength = len("2006-01-02T15:04:05.000Z")

// Time returns the time of a record as text in the one format of records, so that texts are ordered
// as the times are: when its line was written, or else when its id was made.
func Time(line []byte) string {
	if at := Member(line[:min(len(line), lineHead)], "time"); len(at) == timeLength {
		return at
	}
	at, ok := IDTime(Member(line, "id"))
	if !ok {
		return ""
	}
	return timeString(at)
}
