package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// At most the share q of the latencies is below the quantile, and more than that is at or below it.
func TestQuantile(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		f := figures{latencies: make([]time.Duration, 1+r.IntN(50))}
		for i := range f.latencies {
			f.latencies[i] = time.Duration(r.IntN(20)) // some are equal
		}
		slices.Sort(f.latencies)
		q := r.Float64()
		got, share := f.quantile(q), q*float64(len(f.latencies)-1)
		below, upTo := 0, 0
		for _, l := range f.latencies {
			if l < got {
				below++
			}
			if l <= got {
				upTo++
			}
		}
		if float64(below) > share || float64(upTo) <= share {
			t.Fatalf("quantile(%v) of %v = %d", q, f.latencies, got)
		}
	}
}

// The CPU time of a process is that of the kernel, in ticks.
func TestCPUCountsUserAndSystemTime(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: &exec.Cmd{Process: self}}
	for before := usage(t); usage(t) < before+200*time.Millisecond; { // far more user than system time
		for range 1_000_000 {
			rand.Uint64()
		}
	}
	low := usage(t)
	got := s.cpu()
	high := usage(t)
	const ticks = 20 * time.Millisecond // user and system time are each cut to a tick
	if got < low-ticks || got > high+ticks {
		t.Errorf("cpu = %s, the kernel counts %s to %s", got, low, high)
	}
}

// usage returns the CPU time of this process.
func usage(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
