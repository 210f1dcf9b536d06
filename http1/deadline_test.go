package http1

import (
	"math/rand/v2"
	"net"
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

// deadlines notes the read deadlines that a connection is given.
type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A connection is given a deadline only where the one that it has is too early, or too late.
func TestDeadlineOnAConnection(t *testing.T) {
	t.Parallel()
	const slack = 2 * time.Second
	at := func(s float64) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(s * float64(time.Second)))
	}
	never := time.Time{}
	var conn deadlines
	var d LazyDeadline
	for i, step := range []struct{ want, given time.Time }{ // given is zero where the connection keeps what it has
		{at(10), at(12)},
		{at(10), never},
		{at(11), never},
		{at(12), never}, // as late as may be
		{at(12.001), at(14.001)},
		{at(12.001), never},
		{at(12), at(14)}, // the one before is a millisecond too late
		{at(5), at(7)},
	} {
		conn.set = nil
		if by, set := d.Renew(step.want, slack); set {
			_ = conn.SetReadDeadline(by)
		}
		if step.given.IsZero() != (len(conn.set) == 0) || len(conn.set) > 0 && !conn.set[0].Equal(step.given) {
			t.Errorf("step %d: the connection is given %v, want %v", i, conn.set, step.given)
		}
	}
	if by, set := d.Renew(never, slack); !set || !by.IsZero() {
		t.Errorf("no deadline: %v, %v", by, set)
	}
	if _, set := d.Renew(never, slack); set {
		t.Error("no deadline is set twice")
	}
	if by, set := d.Renew(at(5), slack); !set || !by.Equal(at(7)) {
		t.Errorf("a deadline after none: %v, %v", by, set)
	}
	if by, set := d.Renew(at(8), 0); !set || !by.Equal(at(8)) {
		t.Errorf("without slack: %v, %v", by, set)
	}
}
