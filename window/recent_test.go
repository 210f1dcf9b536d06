package window

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// noon is an instant of the lease's clock, unix ms.
const noon = int64(1_790_000_000_000)

// messages returns writes of n messages.
func messages(name string, n int) writes {
	w := newGeneration(0).writes
	for i := range n {
		w.facts[Key{Corp: "ww1", Customer: fmt.Sprint(name, i)}] = noon
	}
	return w
}

// covers is true only if every later write is kept, and always for the last minute.
func TestRecentWritesCover(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 1))
	for range 200 {
		var r recentWrites
		now := noon
		noted := map[Key]int64{}
		for n := range 60 {
			now += int64(1 + random.IntN(20_000))
			k := Key{Corp: "ww1", Customer: fmt.Sprint("wm", n)}
			r.add(now, writes{facts: map[Key]int64{k: now}, marks: map[string]int64{k.Customer: now}, codes: []LearntCode{{Code: Code{Key: k}, Text: k.Customer}}})
			noted[k] = now
			since := now - int64(random.IntN(240_000))
			covers := r.covers(since)
			if !covers && now-since < time.Minute.Milliseconds() {
				t.Fatalf("%d ms back are not covered", now-since)
			}
			kept := r.all()
			codes := map[Key]bool{}
			for _, c := range kept.codes {
				codes[c.Key] = true
			}
			for k, at := range noted {
				if covers && at > since && (kept.facts[k] != at || kept.marks[k.Customer] != at || !codes[k]) {
					t.Fatalf("%d ms back are covered, and lack a write of %d ms back", now-since, now-at)
				}
			}
		}
	}
}

// recentWrites never holds more than maxRecent writes of all kinds per generation. What it drops it
// does not cover.
func TestRecentWritesAreBounded(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: fills both generations")
	}
	const half = maxRecent / 2
	second := time.Second.Milliseconds()
	var r recentWrites
	r.add(noon, messages("a", half))
	r.add(noon+second, messages("b", half))
	if !r.covers(noon) {
		t.Fatal("a full generation covers nothing")
	}
	r.add(noon+2*second, messages("c", half)) // too many
	if n := len(r.all().facts); n != maxRecent {
		t.Errorf("%d messages are kept, want %d", n, maxRecent)
	}
	if r.covers(noon+2*second) || !r.covers(noon+2*second+1) {
		t.Error("what was dropped is covered, or what came after is not")
	}
	for name, one := range map[string]writes{
		"a message": messages("d", 1),
		"a code":    {codes: make([]LearntCode, 1)},
		"a mark":    {marks: map[string]int64{"rg:since": 1}},
	} {
		var codes recentWrites
		codes.add(noon, writes{codes: make([]LearntCode, maxRecent)})
		codes.add(noon+second, one)
		if w := codes.all(); w.len() != maxRecent || codes.covers(noon+second) {
			t.Errorf("%s more: %d writes are kept", name, w.len())
		}
	}
}

// What was too much for a generation stays missing when the next one begins.
func TestDroppedWritesStayDropped(t *testing.T) {
	t.Parallel()
	minute, second := time.Minute.Milliseconds(), time.Second.Milliseconds()
	var r recentWrites
	r.add(noon-minute, messages("a", 1))
	r.add(noon, writes{codes: make([]LearntCode, maxRecent)})
	r.add(noon+30*second, messages("c", 1)) // too many
	for i := range int64(3) {
		r.add(noon+(i+1)*minute, messages("d", 1))
		if r.covers(noon + 10*second) {
			t.Errorf("%d minutes later a dropped message is covered", i+1)
		}
	}
	if !r.covers(noon + 3*minute) {
		t.Error("the last message is not covered")
	}
}

// Replies have a bound of their own. Beyond it some are missing, and messages are still covered.
func TestRecentRepliesAreBounded(t *testing.T) {
	t.Parallel()
	var r recentWrites
	r.add(noon, writes{answers: make([]answer, maxRecent-1)})
	r.add(noon+1, writes{answers: make([]answer, 1)})
	if n := len(r.all().answers); n != maxRecent || r.lacks(noon-1) {
		t.Errorf("%d replies are kept, want %d", n, maxRecent)
	}
	r.add(noon+2, writes{facts: map[Key]int64{{Customer: "wm"}: noon}, answers: make([]answer, 1)})
	if w := r.all(); len(w.answers) != maxRecent || w.len() != 1 || !r.covers(noon+1) || !r.lacks(noon+1) || r.lacks(noon+2) {
		t.Errorf("%d replies and %d messages are kept, want %d and 1", len(w.answers), w.len(), maxRecent)
	}
}

// The newest time of a message and of a gap wins, in whichever generation it is.
func TestRecentWritesKeepTheNewest(t *testing.T) {
	t.Parallel()
	k := Key{Corp: "ww1", Customer: "wm"}
	at := func(ms int64) writes { return writes{facts: map[Key]int64{k: ms}, marks: map[string]int64{"gap": ms}} }
	var r recentWrites
	if w := r.all(); w.len() != 0 || r.covers(0) || !r.covers(1) {
		t.Errorf("an empty one has %d writes", w.len())
	}
	minute := keepRecent.Milliseconds()
	r.add(noon, at(50))
	r.add(noon, at(40))
	r.add(noon+minute, at(45))
	if w := r.all(); w.facts[k] != 50 || w.marks["gap"] != 50 {
		t.Errorf("the newest are %d and %d, want 50", w.facts[k], w.marks["gap"])
	}
	r.add(noon+2*minute, writes{}) // the first generation is gone
	if w := r.all(); w.facts[k] != 45 || w.marks["gap"] != 45 {
		t.Errorf("the newest are %d and %d, want 45", w.facts[k], w.marks["gap"])
	}
	if r.covers(0) || r.covers(noon) || !r.covers(noon+minute+1) {
		t.Error("a time of the first generation is covered, or one after it is not")
	}
}

// What is returned is a copy: later writes do not change it.
func TestRecentWritesAreCopied(t *testing.T) {
	t.Parallel()
	var r recentWrites
	r.add(noon, messages("a", 2))
	w := r.all()
	r.add(noon, messages("b", 3))
	if n := w.len(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
	w.add(messages("c", 4))
	if w = r.all(); w.len() != 5 {
		t.Errorf("%d writes are kept, want 5", w.len())
	}
}
