package window

import (
	"context"
	"fmt"
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

// recentWrites never holds more than maxRecent messages or codes per generation. What it drops it
// does not cover.
func TestRecentWritesAreBounded(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: fills both generations")
	}
	now := time.UnixMilli(1_790_000_000_000)
	const half = maxRecent / 2
	batch := func(n int) map[Key]int64 {
		facts := make(map[Key]int64, half)
		for i := range half {
			facts[Key{Corp: "ww1", Customer: fmt.Sprint(n, "-", i)}] = now.UnixMilli()
		}
		return facts
	}
	var r recentWrites
	r.add(now, batch(0), nil)
	r.add(now.Add(time.Second), batch(1), nil)
	if !r.covers(now) {
		t.Fatal("a full generation covers nothing")
	}
	r.add(now.Add(2*time.Second), batch(2), nil) // one too many
	if facts, _ := r.all(); len(facts) != maxRecent {
		t.Errorf("%d messages are kept, want %d", len(facts), maxRecent)
	}
	if r.covers(now.Add(2*time.Second)) || !r.covers(now.Add(2*time.Second+1)) {
		t.Error("what was dropped is covered, or what came after is not")
	}
	var codes recentWrites
	codes.add(now, nil, make([]LearntCode, maxRecent))
	codes.add(now.Add(time.Second), nil, make([]LearntCode, 1))
	if _, kept := codes.all(); len(kept) != maxRecent || codes.covers(now.Add(time.Second)) {
		t.Errorf("%d codes are kept", len(kept))
	}
}

// The newest message of a customer wins, in whichever generation it is.
func TestRecentWritesKeepTheNewest(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_790_000_000_000)
	k := Key{Corp: "ww1", Customer: "wm"}
	var r recentWrites
	r.add(now, map[Key]int64{k: 50}, nil)
	r.add(now, map[Key]int64{k: 40}, nil)
	r.add(now.Add(keepRecent), map[Key]int64{k: 45}, nil)
	if facts, _ := r.all(); facts[k] != 50 {
		t.Errorf("the newest message is %d, want 50", facts[k])
	}
	r.add(now.Add(2*keepRecent), map[Key]int64{}, nil) // the first generation is gone
	if facts, _ := r.all(); facts[k] != 45 {
		t.Errorf("the newest message is %d, want 45", facts[k])
	}
	if r.covers(time.Time{}) {
		t.Error("an unknown time is covered")
	}
}

// A log line is due once a minute, whatever happens in between.
func TestRateLimitedLog(t *testing.T) {
	t.Parallel()
	var l rateLimitedLog
	const start = 1_790_000_000_000
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true}, {0, false}, {59_999 * time.Millisecond, false}, {time.Minute, true}, {time.Minute, false}, {2*time.Minute - 1, false}, {2 * time.Minute, true}, {time.Hour, true},
	} {
		if got := l.due(start + c.after.Milliseconds()); got != c.want {
			t.Errorf("after %s: due %v", c.after, got)
		}
	}
}

// ago is a time before now.
func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

// When another member's lease degrades this gateway.
func TestMembersDegraded(t *testing.T) {
	t.Parallel()
	const margin = 500 * time.Millisecond
	for _, c := range []struct {
		name         string
		lastExchange time.Duration // ago
		renewed      []time.Duration
		want         bool
	}{
		{"alone", time.Hour, nil, false},
		{"a current lease", 0, []time.Duration{0}, false},
		{"a lease shortly before its end", 0, []time.Duration{leaseTTL - margin}, false},
		{"an expired lease", 0, []time.Duration{leaseTTL}, true},
		{"one of two expired", 0, []time.Duration{0, leaseTTL + margin}, true},
		{"shortly before the member's timeout", 0, []time.Duration{memberTimeout - time.Second}, true},
		{"after the member's timeout", 0, []time.Duration{memberTimeout + time.Second}, false},
		{"no exchange for too long", leaseTTL + margin, []time.Duration{0}, true},
	} {
		p := members{lastExchange: ago(c.lastExchange), others: map[string]memberLease{}}
		for i, d := range c.renewed {
			p.others[fmt.Sprint(i)] = memberLease{value: "1", renewed: ago(d)}
		}
		if got := p.degraded(); got != c.want {
			t.Errorf("%s: degraded %v", c.name, got)
		}
	}
}

// What an exchange concludes about another member from its counter.
func TestMembersExchange(t *testing.T) {
	t.Parallel()
	start := time.UnixMilli(1_790_000_000_000)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	type exchange struct {
		at      int    // ms
		counter string // "": not a member
	}
	for _, c := range []struct {
		name      string
		exchanges []exchange
		renewed   int // ms; the earliest time of the last renewal
		expired   int // members to remove 5 minutes later
	}{
		{"the first exchange assumes the oldest valid renewal", []exchange{{5000, "7"}}, 5000 - 1000, 1},
		{"a growing counter was renewed after the exchange before", []exchange{{5000, "7"}, {5100, "8"}}, 5000, 1},
		{"a counter that stays was renewed before", []exchange{{5000, "7"}, {5100, "8"}, {5200, "8"}, {5900, "8"}}, 5000, 1},
		{"after a long pause a growing counter counts for a lease at most", []exchange{{5000, "7"}, {60_000, "8"}}, 59_000, 1},
		{"a member that never renewed is expired", []exchange{{5000, "0"}}, 4000, 1},
		{"a counter that is reset is another renewal", []exchange{{5000, "7"}, {5100, "1"}}, 5000, 1},
		{"a member that left is none", []exchange{{5000, "7"}, {5100, ""}}, 0, 0},
	} {
		var p members
		for _, e := range c.exchanges {
			leases := []string{"own", "1"}
			if e.counter != "" {
				leases = append(leases, "other", e.counter)
			}
			p.endRenewal("own", at(e.at), leases)
		}
		lease, found := p.others["other"]
		if found != (c.renewed > 0) || found && !lease.renewed.Equal(at(c.renewed)) {
			t.Errorf("%s: renewed %d ms after the start, want %d", c.name, lease.renewed.Sub(start).Milliseconds(), c.renewed)
		}
		last := at(c.exchanges[len(c.exchanges)-1].at)
		if n := len(p.expired(last.Add(memberTimeout - time.Second*2))); n != 0 {
			t.Errorf("%s: removed %d too early", c.name, n)
		}
		if n := len(p.expired(last.Add(memberTimeout + time.Second))); n != c.expired {
			t.Errorf("%s: %d are expired, want %d", c.name, n, c.expired)
		}
	}
}
