package proxy

import (
	"runtime"
	"sync/atomic"
	"time"
)

// yielder is the requests of the moment. Where they come close upon each other, those that are ready
// go out together: a write that wakes its reader costs the writer half as much again, and a reader
// is woken once for many. Where they do not, letting others go first would itself wake a thread for
// nothing.
type yielder struct {
	last atomic.Int64 // when a request came last, in nanoseconds since origin
	busy atomic.Bool
}

// closeBy is how soon behind another one a request comes, on one processor, that is busy with
// little else.
const closeBy = 50 * time.Microsecond

var (
	processors = runtime.GOMAXPROCS(0)
	origin     = time.Now()
)

// arrive notes that a request has come.
func (c *yielder) arrive(at time.Time) {
	now := int64(at.Sub(origin))
	c.busy.Store(time.Duration(now-c.last.Swap(now)) < closeBy/time.Duration(processors))
}

// yieldIfBusy lets those go first who are ready too.
func (c *yielder) yieldIfBusy() {
	if c.busy.Load() {
		runtime.Gosched()
	}
}
