package proxy

import (
	"testing"
	"time"
)

func TestYielderIsBusy(t *testing.T) {
	t.Parallel()
	for _, processors := range []int{1, 2, 16} {
		var y yielder
		y.adjust(processors)
		interval := busyInterval / time.Duration(processors)
		at := time.Unix(1_700_000_000, 0)
		for _, step := range []struct {
			after time.Duration // the one before
			busy  bool
		}{
			{time.Second, false},
			{interval, false},
			{interval - 1, true},
			{0, true},
			{-time.Microsecond, true}, // two requests that noted their arrival in the other order
			{time.Millisecond, false},
		} {
			at = at.Add(step.after)
			if y.arrive(at); y.busy.Load() != step.busy {
				t.Errorf("%d processors, %v after the one before: busy is %v", processors, step.after, !step.busy)
			}
			y.yieldIfBusy()
		}
	}
}

func TestYielderZeroValue(t *testing.T) {
	t.Parallel()
	var y yielder
	at := time.Now()
	for range 3 {
		if y.arrive(at); y.busy.Load() {
			t.Fatal("a yielder that knows no number of processors is busy")
		}
	}
}
