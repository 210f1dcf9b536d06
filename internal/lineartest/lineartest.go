//go:build unix

// Package lineartest checks in tests that reading a text takes time in proportion to its length.
//
// It measures the CPU time of the process, so it is not disturbed by other load, and is no
// benchmark: it finds a square, not a slow reader.
package lineartest

import (
	"syscall"
	"testing"
	"time"
)

// Check fails the test if reading a text of 128 KiB takes much longer than 16 times one of 8 KiB.
// what names the reader and the text.
func Check(t testing.TB, what string, text func(n int) string, read func(text string)) {
	t.Helper()
	const short, times = 8 << 10, 16
	took := func(n int) time.Duration {
		s := text(n)
		began := CPUTime(t)
		read(s)
		return CPUTime(t) - began
	}
	small, large := time.Hour, time.Hour
	for range 5 {
		small = min(small, took(short))
	}
	limit := 5 * times * max(small, 250*time.Microsecond)
	for tries := 0; tries < 15 && large > limit && (tries < 3 || large < 10*limit); tries++ { // the garbage collector may run
		large = min(large, took(short*times))
	}
	if large > limit {
		t.Errorf("%s: %s for %d bytes, %s for %d", what, small, short, large, short*times)
	}
}

// CPUTime is the CPU time that the process has used so far.
func CPUTime(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
