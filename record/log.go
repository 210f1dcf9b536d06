package record

import (
	"io"
	"sync"
	"time"
)

// Appender is a record that writes its own JSON: the members of an object, without the braces.
// Records that every call leaves do, since an encoder that knows nothing of them costs three times
// as much.
type Appender interface {
	AppendJSON(dst []byte) []byte
}

// Log writes records, a line each. A nil Log writes none.
type Log struct {
	to      io.Writer
	console bool
}

// NewLog writes to to: for a console, or as JSON alone.
func NewLog(to io.Writer, console bool) *Log { return &Log{to: to, console: console} }

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Add writes a record of a kind, as of a time.
func (l *Log) Add(at time.Time, kind string, r Appender) {
	if l == nil {
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
	_, _ = l.to.Write(b) // a Sink, which never fails
	*line = b
	buffers.Put(line)
}
