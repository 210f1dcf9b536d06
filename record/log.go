package record

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Appender is a record that encodes itself: it appends the members of its JSON object, without the
// braces. A record is written for every call, and a generic encoder takes three times as long.
type Appender interface {
	AppendJSON(dst []byte) []byte
}

// Log writes records, one per line. A nil Log writes nothing.
type Log struct {
	to      io.Writer
	console bool
	off     atomic.Bool
}

// NewLog returns a Log that writes to to, each line either JSON or, for a console, its time, level
// and kind as text before the JSON.
func NewLog(to io.Writer, console bool) *Log { return &Log{to: to, console: console} }

// Enable turns the log on or off while records are added. A new one is on.
func (l *Log) Enable(on bool) { l.off.Store(!on) }

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Add writes a record with its time and its kind, the "msg" of the JSON. Each line is one Write.
func (l *Log) Add(at time.Time, kind string, r Appender) {
	if l == nil || l.off.Load() {
		return
	}
	line := buffers.Get().(*[]byte)
	b := (*line)[:0]
	if l.console {
		b = append(AppendTime(b, at), "\tinfo\t"...)
		b = append(append(b, kind...), "\t{"...)
	} else {
		b = AppendTime(append(b, `{"level":"info","time":"`...), at)
		b = append(append(append(b, `","msg":"`...), kind...), `",`...)
	}
	b = append(r.AppendJSON(b), "}\n"...)
	_, _ = l.to.Write(b) // to a Sink, which never fails
	*line = b
	buffers.Put(line)
}
