package http1

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A deadline is never earlier than asked for, at most the slack later, and is set
// whenever it moves.
func TestDeadlineKeepsToTheSlack(t *testing.T) {
	const slack = 2 * time.Second
	r := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1_700_000_000, 0)
	var d LazyDeadline
	var onConn time.Time
	sets := 0
	for range 10_000 {
		now = now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
		var want time.Time
		if r.IntN(50) > 0 {
			want = now.Add([]time.Duration{time.Second, 15 * time.Second, 75 * time.Second}[r.IntN(100)/49])
		}
		at, set := d.Renew(want, slack)
		if set {
			onConn = at
			sets++
		}
		if !onConn.Equal(at) {
			t.Fatalf("it is %v and was last set to %v", at, onConn)
		}
		if late := at.Sub(want); late < 0 || late > slack || want.IsZero() != at.IsZero() {
			t.Fatalf("it is %v later than asked for", late)
		}
	}
	if sets > 9_000 {
		t.Errorf("of 10,000 deadlines %d were set", sets)
	}
}

func TestDeadlineThatStays(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var d LazyDeadline
	sets := 0
	for range 1000 {
		now = now.Add(10 * time.Millisecond)
		if _, set := d.Renew(now.Add(time.Minute), 2*time.Second); set {
			sets++
		}
	}
	if sets > 6 {
		t.Errorf("in ten seconds it was set %d times", sets)
	}
}
