package account

import (
	"strconv"
	"testing"
	"time"
)

// The first owner stays until its entry is over, grace included.
func TestOwnersClaim(t *testing.T) {
	o, h := newOwners(), hashOf("T")
	e := func(corp string, until, grace time.Duration) entry {
		return entry{corp: corp, until: epoch.Add(until), grace: grace}
	}
	for i, step := range []struct {
		at   time.Duration
		e    entry
		want string
	}{
		{0, e("ww1", time.Hour, time.Minute), "ww1"},
		{0, e("ww2", time.Hour, 0), "ww1"},
		{time.Hour + time.Minute - 1, e("ww2", 3*time.Hour, 0), "ww1"}, // in grace
		{time.Hour + time.Minute, e("ww2", 2*time.Hour, 0), "ww2"},
		{time.Hour + time.Minute, e("ww2", 3*time.Hour, 0), "ww2"}, // the owner itself extends it
		{2 * time.Hour, e("ww1", 4*time.Hour, 0), "ww2"},
		{3 * time.Hour, e("ww1", 4*time.Hour, 0), "ww1"},
	} {
		if got := o.claim(h, step.e, epoch.Add(step.at)); got != step.want {
			t.Errorf("step %d: %s, want %s", i+1, got, step.want)
		}
	}
}

// find answers from memory until an entry is over, and tells when Redis must be read.
func TestOwnersFind(t *testing.T) {
	o, h := newOwners(), hashOf("T")
	check := func(at time.Duration, corp string, lookup bool) {
		t.Helper()
		if got, should := o.find(h, epoch.Add(at)); got != corp || should != lookup {
			t.Errorf("at %s: %q, look up %v; want %q, %v", at, got, should, corp, lookup)
		}
	}
	check(0, "", true) // never seen
	o.noteUnknown(h, epoch)
	check(0, "", true)
	check(lookupAlwaysFor-1, "", true)
	o.noteUnknown(h, epoch.Add(lookupAlwaysFor-1))
	check(lookupAlwaysFor, "", false) // from now on once a second
	check(lookupAlwaysFor+lookupEvery-2, "", false)
	check(lookupAlwaysFor+lookupEvery-1, "", true)
	o.claim(h, entry{corp: "ww1", until: epoch.Add(time.Hour), grace: time.Minute}, epoch)
	check(time.Hour+time.Minute-1, "ww1", false)
	check(time.Hour+time.Minute, "", true)
	check(0, "", true) // the entry was dropped, and first sight starts again
}

// A clock that was set back starts an unknown token's first seconds again.
func TestOwnersClockSetBack(t *testing.T) {
	o, h := newOwners(), hashOf("T")
	o.noteUnknown(h, epoch.Add(time.Hour))
	o.noteUnknown(h, epoch)
	if _, should := o.find(h, epoch.Add(lookupAlwaysFor+lookupEvery)); !should {
		t.Error("it is not looked up")
	}
	o.noteUnknown(h, epoch.Add(lookupAlwaysFor))
	if _, should := o.find(h, epoch.Add(lookupAlwaysFor)); should {
		t.Error("its first seconds have not ended")
	}
}

// Memory for known tokens is bounded. Expired ones are looked for once a minute, since that takes
// as long as there are tokens; between, any one makes room.
func TestKnownTokensAreBounded(t *testing.T) {
	o := newOwners()
	n := 0
	fill := func(now, until time.Duration) {
		o.claim(hashOf(strconv.Itoa(n)), entry{corp: "ww1", until: epoch.Add(until)}, epoch.Add(now))
		n++
	}
	for i := range maxKnown {
		fill(0, time.Hour-time.Duration(i%2)*59*time.Minute)
	}
	for _, step := range []struct {
		now      time.Duration
		from, to int // entries
	}{
		{59 * time.Second, maxKnown, maxKnown},
		{61 * time.Second, maxKnown, maxKnown}, // half of them have expired, and were looked for two seconds ago
		{119 * time.Second, maxKnown/2 - 2, maxKnown/2 + 3},
	} {
		fill(step.now, time.Hour)
		if got := len(o.known); got < step.from || got > step.to {
			t.Errorf("at %s: %d entries, want %d to %d", step.now, got, step.from, step.to)
		}
		if corp, _ := o.find(hashOf(strconv.Itoa(n-1)), epoch.Add(step.now)); corp != "ww1" {
			t.Errorf("at %s the newest entry is lost", step.now)
		}
	}
}

// Unknown tokens evict no known one, and a known one is no longer counted as unknown.
func TestUnknownTokensEvictNoKnownOne(t *testing.T) {
	o, h := newOwners(), hashOf("known")
	o.noteUnknown(h, epoch)
	o.claim(h, entry{corp: "ww1", until: epoch.Add(time.Hour)}, epoch)
	if _, seen := o.unknown.get(h); seen {
		t.Error("it is still kept as unknown")
	}
	for i := range 3 * maxUnknown {
		o.noteUnknown(hashOf(strconv.Itoa(i)), epoch)
	}
	if corp, _ := o.find(h, epoch); corp != "ww1" {
		t.Error("it was evicted")
	}
}

// Tokens longer than the buffer on the stack hash like any other.
func TestHashOf(t *testing.T) {
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	seen := map[hash]int{}
	for _, n := range []int{0, 1, 511, 512, 513, 4999, 5000} {
		seen[hashOf(string(long[:n]))]++
	}
	if len(seen) != 7 {
		t.Errorf("%d different hashes of 7 texts", len(seen))
	}
	if n := testing.AllocsPerRun(100, func() { hashOf("a token of usual length") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Memory for unshared tokens is bounded: the oldest goes first, and its number is told once. A
// token that is learnt again takes no more space.
func TestUnsharedTokensAreBounded(t *testing.T) {
	u := newUnshared()
	add := func(i int, until time.Duration) {
		u.add(unsharedToken{hashOf(strconv.Itoa(i)), "ww1", epoch.Add(until)})
	}
	for i := range maxUnshared {
		add(i, time.Hour)
	}
	add(0, 2*time.Hour)
	add(maxUnshared, time.Minute)
	all, dropped := u.list(epoch)
	if len(all) != maxUnshared || dropped != 1 || all[0].hash != hashOf("1") {
		t.Fatalf("%d tokens, %d dropped", len(all), dropped)
	}
	if all, dropped := u.list(epoch.Add(time.Minute)); len(all) != maxUnshared-1 || dropped != 0 {
		t.Errorf("after one expired: %d tokens, %d dropped", len(all), dropped)
	}
	u.removeIf(func(unsharedToken) bool { return true })
	if all, _ := u.list(epoch); len(all) != 0 || len(u.tokens) != 0 {
		t.Errorf("%d and %d are left", len(all), len(u.tokens))
	}
}
