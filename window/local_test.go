package window

import (
	"context"
	"testing"
	"time"
)

// A context without an end of its own is shared by requests of the same moment, and never ends too
// early or much too late.
func TestDeadlinesAreShared(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	d := &deadlines{timeout: timeout}
	began := time.Now()
	first, _ := d.within(context.Background())
	second, _ := d.within(context.Background())
	if first != second {
		t.Error("two requests of the same moment have two timers")
	}
	for _, ctx := range []context.Context{first, second} {
		end, ok := ctx.Deadline()
		if left := end.Sub(began); !ok || left < timeout || left > 5*timeout {
			t.Errorf("the deadline is in %s", left)
		}
	}
	<-first.Done()
	if took := time.Since(began); took < timeout {
		t.Errorf("it ended after %s", took)
	}
	third, _ := d.within(context.Background())
	if third == first || third.Err() != nil {
		t.Error("an ended context is shared")
	}
}

// A context that can end keeps its own end, and its cancel function ends it alone.
func TestDeadlinesOfCallers(t *testing.T) {
	t.Parallel()
	d := &deadlines{timeout: time.Hour}
	parent, cancel := context.WithCancel(t.Context())
	child, release := d.within(parent)
	defer release()
	other, releaseOther := d.within(parent)
	releaseOther()
	if child.Err() != nil || other.Err() == nil {
		t.Errorf("after a release: %v, %v", child.Err(), other.Err())
	}
	cancel()
	if child.Err() == nil {
		t.Error("it outlives its caller")
	}
	soon, cancelSoon := context.WithTimeout(t.Context(), time.Minute)
	defer cancelSoon()
	ctx, release := d.within(soon)
	defer release()
	want, _ := soon.Deadline()
	if got, _ := ctx.Deadline(); !got.Equal(want) {
		t.Errorf("the deadline is %s, want the caller's %s", got, want)
	}
}
