package record

import (
	"time"

	"go.uber.org/zap/zapcore"
)

// EncodeTime encodes the time of a log line for zap: RFC 3339 in UTC, to the millisecond.
func EncodeTime(t time.Time, e zapcore.PrimitiveArrayEncoder) { e.AppendString(timeString(t)) }

// AppendTime appends the time in the format of EncodeTime.
func AppendTime(dst []byte, t time.Time) []byte {
	b := formatTime(t)
	return append(dst, b[:]...)
}

func timeString(t time.Time) string {
	b := formatTime(t)
	return string(b[:])
}

// formatTime formats a time as 2006-01-02T15:04:05.000Z. Every record has several, and package time
// takes five times as long.
func formatTime(t time.Time) [24]byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b := [24]byte{4: '-', 7: '-', 10: 'T', 13: ':', 16: ':', 19: '.', 23: 'Z'}
	putDigits(b[0:4], year)
	putDigits(b[5:7], int(month))
	putDigits(b[8:10], day)
	putDigits(b[11:13], hour)
	putDigits(b[14:16], minute)
	putDigits(b[17:19], second)
	putDigits(b[20:23], t.Nanosecond()/1e6)
	return b
}

// putDigits fills b with the last digits of a number.
func putDigits(b []byte, n int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}
