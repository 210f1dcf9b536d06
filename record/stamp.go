package record

import (
	"time"

	"go.uber.org/zap/zapcore"
)

// EncodeTime writes the time of a record: RFC 3339 in UTC, to the millisecond.
func EncodeTime(t time.Time, e zapcore.PrimitiveArrayEncoder) { e.AppendString(stamp(t)) }

// AppendTime appends what EncodeTime writes.
func AppendTime(dst []byte, t time.Time) []byte {
	b := stampBytes(t)
	return append(dst, b[:]...)
}

func stamp(t time.Time) string {
	b := stampBytes(t)
	return string(b[:])
}

// stampBytes is a time as records have it, 2006-01-02T15:04:05.000Z: every call has several, and
// the layouts of package time cost five times as much.
func stampBytes(t time.Time) [24]byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b := [24]byte{4: '-', 7: '-', 10: 'T', 13: ':', 16: ':', 19: '.', 23: 'Z'}
	digits(b[0:4], year)
	digits(b[5:7], int(month))
	digits(b[8:10], day)
	digits(b[11:13], hour)
	digits(b[14:16], minute)
	digits(b[17:19], second)
	digits(b[20:23], t.Nanosecond()/1e6)
	return b
}

// digits writes the last digits of a number, as many as there is room.
func digits(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}
