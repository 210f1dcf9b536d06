package record

import (
	"io"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Appender is a record that writes its own JSON: the members of an object, without the braces. Records that every
// call leaves do, since an encoder that knows nothing of them costs three times as much.
type Appender interface {
	AppendJSON(dst []byte) []byte
}

// Field makes a record the one field of a log entry.
func Field(r Appender) zap.Field { return zap.Field{Type: zapcore.SkipType, Interface: r} }

// Format is how a line begins and ends around the members of a record.
type Format struct {
	Begin func(dst []byte, e zapcore.Entry) []byte
	End   string
}

// core is a zap core that lets a record write itself, and has an encoder for all other entries.
type core struct {
	zapcore.Core
	to     io.Writer
	format Format
}

// NewCore writes to to.
func NewCore(encoder zapcore.Encoder, to io.Writer, level zapcore.LevelEnabler, f Format) zapcore.Core {
	return &core{Core: zapcore.NewCore(encoder, zapcore.AddSync(to), level), to: to, format: f}
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

// Check takes an entry of an enabled level.
func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write writes one line.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if len(fields) != 1 {
		return c.Core.Write(e, fields)
	}
	r, ok := fields[0].Interface.(Appender)
	if !ok {
		return c.Core.Write(e, fields)
	}
	line := lines.Get().(*[]byte)
	b := c.format.Begin((*line)[:0], e)
	b = append(r.AppendJSON(b), c.format.End...)
	_, err := c.to.Write(b)
	*line = b
	lines.Put(line)
	return err
}
