package proxy

import (
	"testing"
	"time"
)

func TestCrowd(t *testing.T) {
	var c yielder
	at := origin.Add(time.Hour)
	for _, step := range []struct {
		after time.Duration // the one before
		dense bool
	}{
		{time.Second, false},
		{closeBy, false},
		{closeBy/time.Duration(processors) - 1, true},
		{0, true},
		{-time.Microsecond, true}, // two that were late to say so
		{time.Millisecond, false},
	} {
		at = at.Add(step.after)
		if c.arrive(at); c.busy.Load() != step.dense {
			t.Errorf("%v after the one before: dense is %v", step.after, !step.dense)
		}
		c.yieldIfBusy()
	}
}
