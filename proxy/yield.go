package proxy

import (
	"runtime"
	"sync/atomic"
	"time"
)

// yielder lets runnable goroutines proceed before a write while requests arrive back to back, so
// that one wake-up of the peer serves several writes: a write that wakes its reader costs half as
// much again. When requests are further apart, yielding would itself wake an idle thread for
// nothing. Decision 13 has measurements; BenchmarkYield repeats them.
//
// The zero value never yields.
type yielder struct {
	interval atomic.Int64 // between requests, below which the gateway is busy; in nanoseconds
	last     atomic.Int64 // when a request arrived last, in Unix nanoseconds
	busy     atomic.Bool
}

// busyInterval is the time between two requests, on one processor, below which that processor does
// little else.
const busyInterval = 50 * time.Microsecond

// adjust takes in how many processors the gateway may use.
func (y *yielder) adjust(processors int) {
	y.interval.Store(int64(busyInterval) / int64(processors))
}

// arrive notes that a request has arrived.
func (y *yielder) arrive(at time.Time) {
	now := at.UnixNano()
	y.busy.Store(now-y.last.Swap(now) < y.interval.Load())
}

// yieldIfBusy lets the goroutines that are ready run first.
func (y *yielder) yieldIfBusy() {
	if y.busy.Load() {
		runtime.Gosched()
	}
}
