package window

import (
	"reflect"
	"testing"
	"time"
)

// at is an instant of the tests' clock.
func at(d time.Duration) time.Time { return time.UnixMilli(1_800_000_000_000).Add(d) }

func entries(all map[string]string) map[string]member {
	members := map[string]member{}
	for id, text := range all {
		members[id] = readMember(text)
	}
	return members
}

func TestReadMember(t *testing.T) {
	for text, want := range map[string]member{
		"run1 boot1 1800":      {run: "run1", boot: "boot1", checkpoint: 1800},
		"run1 boot1 0":         {run: "run1", boot: "boot1"},
		"run1 boot1 1800 left": {run: "run1", boot: "boot1", checkpoint: 1800, left: true},
		"run1 boot1 x":         {run: "run1", boot: "boot1"},
		"run1 boot1":           {},
		"":                     {},
	} {
		if got := readMember(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// A view has the grants that are held in the process that answered, of all members but those that
// left.
func TestView(t *testing.T) {
	a := leaseAnswer{
		run: "run2",
		members: entries(map[string]string{"held": "run2 b 5", "joining": "run2 b 0", "elsewhere": "run1 b 5", "silent": "run2 b 5",
			"left": "run2 b 5 left", "back": "run2 b 5 left", "broken": "run2 b 5"}),
		leases: map[string]string{"held": "held b.1 7 run2", "joining": "joining b.2 1 run2", "elsewhere": "held b.3 1 run1",
			"back": "joining b.4 1 run2", "broken": "held b.5", "unknown": "held b.6 1 run2"},
	}
	want := view{"run2", map[string]string{"held": "b.1", "joining": "", "elsewhere": "", "silent": "", "back": "", "broken": ""}}
	if got := a.view(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestUnbroken(t *testing.T) {
	v := func(run string, grants ...string) view { // pairs of member and grant
		v := view{run: run, grants: map[string]string{}}
		for i := 0; i < len(grants); i += 2 {
			v.grants[grants[i]] = grants[i+1]
		}
		return v
	}
	for name, c := range map[string]struct {
		before, later view
		want          bool
	}{
		"all held on":             {v("run1", "me", "a.1", "b", "b.1"), v("run1", "me", "a.1", "b", "b.1"), true},
		"alone":                   {v("run1", "me", "a.1"), v("run1", "me", "a.1"), true},
		"nothing seen before":     {view{}, v("run1", "me", "a.1"), false},
		"nothing seen at all":     {view{}, view{}, false},
		"another process":         {v("run1", "me", "a.1"), v("run2", "me", "a.1"), false},
		"another holds anew":      {v("run1", "me", "a.1", "b", "b.1"), v("run1", "me", "a.1", "b", "b.2"), false},
		"another lost its lease":  {v("run1", "me", "a.1", "b", "b.1"), v("run1", "me", "a.1", "b", ""), false},
		"another had none before": {v("run1", "me", "a.1", "b", ""), v("run1", "me", "a.1", "b", "b.1"), false},
		"neither time":            {v("run1", "me", "a.1", "b", ""), v("run1", "me", "a.1", "b", ""), false},
		"own lost":                {v("run1", "me", "a.1", "b", "b.1"), v("run1", "me", "", "b", "b.1"), false},
		"own entry lost":          {v("run1", "b", "b.1"), v("run1", "b", "b.1"), false},
		"a new member":            {v("run1", "me", "a.1"), v("run1", "me", "a.1", "b", "b.1"), false},
		"one member fewer":        {v("run1", "me", "a.1", "b", "b.1"), v("run1", "me", "a.1"), false},
		"one for another":         {v("run1", "me", "a.1", "b", "b.1"), v("run1", "me", "a.1", "c", "b.1"), false},
	} {
		if got := c.before.unbroken(c.later, "me"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What Redis has lost shows in the entry that it has of this gateway, which confirmed the
// checkpoint 100 and joins run2.
func TestAssess(t *testing.T) {
	for name, c := range map[string]struct {
		mine     string // "" if there is none
		run      string // the process that answers
		repaired string
		want     repair
		some     bool
	}{
		"the same process":                  {mine: "run2 boot 100", run: "run2"},
		"a renewal without an answer":       {mine: "run2 boot 120", run: "run2"},
		"no entry":                          {run: "run2", want: repair{gap: gapFlushed}, some: true},
		"another process":                   {mine: "run1 boot 100", run: "run2", want: repair{since: 100}, some: true},
		"an older one":                      {mine: "run1 boot 40", run: "run2", want: repair{since: 40}, some: true},
		"the same process went back":        {mine: "run2 boot 40", run: "run2", want: repair{since: 40}, some: true},
		"it never held":                     {mine: "run1 boot 0", run: "run2", want: repair{gap: gapRolledBack}, some: true},
		"an earlier process of the gateway": {mine: "run1 other 100", run: "run2", want: repair{gap: gapRolledBack}, some: true},
		"and of the same process of redis":  {mine: "run2 other 100", run: "run2"},
		"that one left":                     {mine: "run1 other 40 left", run: "run2"},
		"this one left, it seems":           {mine: "run1 boot 40 left", run: "run2", want: repair{since: 40}, some: true},
		"repaired, the renewal failed":      {mine: "run1 boot 100", run: "run2", repaired: "run2"},
		"repaired in another process":       {mine: "run1 boot 100", run: "run2", repaired: "run3", want: repair{since: 100}, some: true},
	} {
		l := newLease("me", "boot", at(0))
		l.confirmed, l.repaired = 100, c.repaired
		got, some := l.assess(readMember(c.mine), c.mine != "", leaseAnswer{run: c.run})
		if got != c.want || some != c.some {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, some, c.want, c.some)
		}
	}
}

// The first join of a process decides whether something may have been lost before it, and what it
// has to wait for.
func TestFirstJoin(t *testing.T) {
	for name, c := range map[string]struct {
		members, leases map[string]string
		returns         bool
		gap             string
		undecided       bool
		settles, waits  bool // it waits until its entry is kept, or until an older lease has expired
	}{
		"a new redis":                  {},
		"which had this gateway":       {returns: true, gap: gapForgotten},
		"and took a join before":       {members: map[string]string{"me": "run1 boot 0"}, returns: true, gap: gapForgotten},
		"after an earlier process":     {members: map[string]string{"me": "run1 other 50"}, settles: true},
		"which left":                   {members: map[string]string{"me": "run1 other 50 left"}},
		"in another process":           {members: map[string]string{"me": "run0 other 50"}, gap: gapRolledBack, waits: true, settles: true},
		"a member vouches":             {members: map[string]string{"b": "run1 b 50"}, settles: true},
		"it joins for the first time":  {members: map[string]string{"b": "run0 b 50"}, gap: gapUnvouched, settles: true},
		"a member joins too":           {members: map[string]string{"b": "run0 b 50"}, leases: map[string]string{"b": "joining b.1 1 run1"}, undecided: true},
		"a member's lease is not read": {members: map[string]string{"c": "run0 c 50"}, undecided: true},
		"all left":                     {members: map[string]string{"c": "run0 c 50 left"}},
		"an own join without answer":   {members: map[string]string{"me": "run1 boot 0"}},
		"and beside a member":          {members: map[string]string{"me": "run1 boot 0", "b": "run1 b 50"}, settles: true},
		"it left, beside a member":     {members: map[string]string{"me": "run1 other 50 left", "b": "run1 b 50"}, settles: true},
	} {
		l := newLease("me", "boot", at(0))
		l.returns = c.returns
		e := l.next(at(10), true)
		e.ids = append(e.ids, "b")
		l.answered(at(20), e, leaseAnswer{run: "run1", done: true, members: entries(c.members), leases: c.leases})
		if l.registered == c.undecided || (l.value == "") != c.undecided || l.held {
			t.Errorf("%s: registered %v, value %q, held %v", name, l.registered, l.value, l.held)
		}
		if l.repair.gap != c.gap || (l.repair.number > 0) != (c.gap != "") {
			t.Errorf("%s: repair %+v, want the gap %q", name, l.repair, c.gap)
		}
		if got := l.settled.Equal(at(20).Add(leaseGone)); got != c.settles {
			t.Errorf("%s: settled %v", name, l.settled)
		}
		if got := !l.ackAfter.IsZero(); got != c.waits {
			t.Errorf("%s: ackAfter %v", name, l.ackAfter)
		}
	}
}

// held returns a lease that is held in run1 since the given time, beside the member b.
func heldLease(t *testing.T, since time.Duration) *lease {
	t.Helper()
	l := newLease("me", "boot", at(0))
	e := l.next(at(since), true)
	l.answered(at(since), e, leaseAnswer{run: "run1", done: true, members: entries(map[string]string{"b": "run1 b 1"})})
	e = l.next(at(since), true)
	l.answered(at(since), e, leaseAnswer{run: "run1", done: true, members: entries(map[string]string{"me": "run1 boot 0", "b": "run1 b 1"}),
		leases: map[string]string{"me": e.next + " run1", "b": "held b.1 1 run1"}})
	if e.action != renewLease || !l.held || !l.expires.Equal(at(since).Add(leaseGone)) || l.confirmed != l.stamp(at(since)) {
		t.Fatalf("%s: %+v", e.action, l)
	}
	return l
}

// One answer to a lease that is held.
func TestAnswered(t *testing.T) {
	const renewed, lapsed = true, false
	mine := func(l *lease, run string, back int64) map[string]member {
		return map[string]member{"me": {run: run, boot: "boot", checkpoint: l.confirmed - back}, "b": {run: run, boot: "b", checkpoint: 1}}
	}
	for name, c := range map[string]struct {
		clean, evicts  bool
		answer         func(l *lease) leaseAnswer
		action, then   string
		held, extended bool
		gap            string
	}{
		"renewed": {clean: true, action: renewLease, then: renewLease, held: true, extended: true,
			answer: func(l *lease) leaseAnswer {
				return leaseAnswer{run: "run1", done: renewed, members: mine(l, "run1", 0)}
			}},
		"lapsed": {clean: true, action: renewLease, then: joinLease,
			answer: func(l *lease) leaseAnswer { return leaseAnswer{run: "run1", done: lapsed, members: mine(l, "run1", 0)} }},
		"another process": {clean: true, action: renewLease, then: joinLease,
			answer: func(l *lease) leaseAnswer { return leaseAnswer{run: "run2", done: lapsed, members: mine(l, "run1", 0)} }},
		"flushed just before": {clean: true, action: renewLease, then: joinLease,
			answer: func(l *lease) leaseAnswer { return leaseAnswer{run: "run1", done: renewed} }},
		"an older entry": {clean: true, action: renewLease, then: joinLease,
			answer: func(l *lease) leaseAnswer {
				return leaseAnswer{run: "run1", done: renewed, members: mine(l, "run1", 1)}
			}},
		"the journal is not empty": {action: watchLeases, then: renewLease,
			answer: func(l *lease) leaseAnswer { return leaseAnswer{run: "run1", members: mine(l, "run1", 0)} }},
		"nor is it in another process": {action: watchLeases, then: joinLease,
			answer: func(l *lease) leaseAnswer { return leaseAnswer{run: "run2", members: mine(l, "run1", 0)} }},
		"it drops keys": {clean: true, action: renewLease, then: watchLeases, held: true, extended: true,
			answer: func(l *lease) leaseAnswer {
				return leaseAnswer{run: "run1", done: renewed, evicts: true, members: mine(l, "run1", 0)}
			}},
		"it no longer drops keys": {clean: true, evicts: true, action: watchLeases, then: watchLeases, gap: gapEvicted,
			answer: func(l *lease) leaseAnswer { return leaseAnswer{run: "run1", members: mine(l, "run1", 0)} }},
	} {
		l := heldLease(t, 0)
		l.evicts = c.evicts
		e := l.next(at(250*time.Millisecond), c.clean)
		if e.action != c.action || e.value != l.value || e.run != "run1" {
			t.Errorf("%s: %+v, want %s", name, e, c.action)
		}
		l.answered(at(260*time.Millisecond), e, c.answer(l))
		if l.held != c.held || l.repair.gap != c.gap {
			t.Errorf("%s: held %v, repair %+v", name, l.held, l.repair)
		}
		if got := l.expires.Equal(at(260 * time.Millisecond).Add(leaseGone)); got != c.extended {
			t.Errorf("%s: expires %v", name, l.expires)
		}
		if then := l.next(at(500*time.Millisecond), true); then.action != c.then {
			t.Errorf("%s: then %s, want %s", name, then.action, c.then)
		}
	}
}

// Another process is joined with a wait for the lease in the first one, and held again once the
// repair is complete.
func TestChangeover(t *testing.T) {
	l := heldLease(t, 0)
	expires, confirmed, grant := l.expires, l.confirmed, l.grant()
	entry := map[string]member{"me": {run: "run1", boot: "boot", checkpoint: confirmed}}
	l.answered(at(time.Second), l.next(at(time.Second), true), leaseAnswer{run: "run2", members: entry})
	l.answered(at(time.Second), l.next(at(time.Second), true), leaseAnswer{run: "run2", done: true, members: entry})
	first := l.repair
	if want := (repair{number: 1, since: confirmed}); first != want || l.run != "run2" || !l.ackAfter.Equal(expires) {
		t.Fatalf("repair %+v, want %+v; run %s, ackAfter %v", first, want, l.run, l.ackAfter)
	}
	if e := l.next(at(time.Second), true); e.action != watchLeases {
		t.Errorf("%s before the repair", e.action)
	}
	l.lose(at(0), repair{since: confirmed - 10, gap: gapEvicted})
	l.lose(at(0), repair{since: confirmed})
	l.finish(first)
	if want := (repair{number: 3, since: confirmed - 10, gap: gapEvicted}); l.repair != want {
		t.Errorf("losses during the repair: %+v, want %+v", l.repair, want)
	}
	l.finish(l.repair)
	if e := l.next(at(time.Second), true); e.action != renewLease || l.repaired != "run2" || l.grant() == grant {
		t.Errorf("%s after the repair in %q, grant %s after %s", e.action, l.repaired, l.grant(), grant)
	}
}

// A member without a lease may be removed after memberTimeout, by a gateway that holds its own.
func TestExpired(t *testing.T) {
	l := heldLease(t, 0)
	answer := func(d time.Duration, leases map[string]string) {
		e := l.next(at(d), true)
		leases["me"] = e.next + " run1"
		l.answered(at(d), e, leaseAnswer{run: "run1", done: true, leases: leases,
			members: map[string]member{"me": {run: "run1", boot: "boot", checkpoint: l.confirmed}, "b": {run: "run1", checkpoint: 1}, "c": {run: "run1", checkpoint: 1}}})
	}
	answer(time.Second, map[string]string{"b": "held b.1 2 run1"})
	answer(2*time.Second, map[string]string{})
	answer(3*time.Second, map[string]string{"b": "joining b.2 1 run1"})
	for _, c := range []struct {
		now   time.Duration
		want  []string
		since time.Duration
	}{
		{time.Second + memberTimeout - 1, nil, 0},
		{time.Second + memberTimeout, []string{"c"}, time.Second},
		{2*time.Second + memberTimeout, []string{"b", "c"}, 2 * time.Second},
	} {
		ids, since := l.expired(at(c.now))
		if !reflect.DeepEqual(ids, c.want) || c.want != nil && !since.Equal(at(c.since)) {
			t.Errorf("after %s: %v since %v, want %v since %v", c.now, ids, since, c.want, at(c.since))
		}
	}
	answer(4*time.Second, map[string]string{"b": "held b.2 2 run1"})
	if ids, _ := l.expired(at(time.Hour)); !reflect.DeepEqual(ids, []string{"c"}) {
		t.Errorf("b is back, and %v are removed", ids)
	}
	l.held = false
	if ids, _ := l.expired(at(time.Hour)); len(ids) > 0 {
		t.Errorf("%v are removed without an own lease", ids)
	}
}

// Entries of gateways that left long ago are removed with the next renewal, and no others.
func TestStale(t *testing.T) {
	l := heldLease(t, 0)
	old := l.stamp(at(0)) - leftKept.Milliseconds() - 1
	e := l.next(at(0), true)
	l.answered(at(0), e, leaseAnswer{run: "run1", done: true, members: map[string]member{
		"me":    {run: "run1", boot: "boot", checkpoint: l.confirmed},
		"old":   {run: "run1", checkpoint: old, left: true},
		"young": {run: "run1", checkpoint: old + 2, left: true},
		"there": {run: "run1", checkpoint: old},
	}})
	if e := l.next(at(0), true); !reflect.DeepEqual(e.remove, []string{"old"}) || !reflect.DeepEqual(e.ids[len(e.ids)-1:], e.remove) {
		t.Errorf("%+v", e)
	}
}
