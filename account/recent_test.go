package account

import (
	"strconv"
	"testing"
	"time"
)

// The latest entries are there, and never more than two generations.
func TestRecentCache(t *testing.T) {
	r := newRecentCache[int, int](100)
	for i := range 10_000 {
		r.put(i, -i)
		r.put(7, i) // put again and again, it stays
		if n := len(r.young) + len(r.old); n > 200 {
			t.Fatalf("%d entries after %d", n, i)
		}
		for _, k := range []int{7, i, max(i-98, 0)} {
			if v, ok := r.get(k); !ok || k != 7 && v != -k {
				t.Fatalf("after %d: %d is %d, %v", i, k, v, ok)
			}
		}
	}
	if _, ok := r.get(1000); ok {
		t.Error("an old entry is still there")
	}
	r.drop(9_999)
	if _, ok := r.get(9_999); ok {
		t.Error("a dropped entry is still there")
	}
}

// Unknown tokens take bounded memory, however many there are.
func TestUnknownTokensTakeBoundedMemory(t *testing.T) {
	tokens := NewTokens(nil, "rg:", 0, func() (now time.Time) { return time.Unix(1_800_000_000, 0) })
	for i := range 2*maxUnknown + maxUnknown/2 {
		token := strconv.Itoa(i)
		tokens.tokens.noteUnknown(hashOf(token), tokens.now())
		tokens.Reauthenticate(token, Retry{Call: token})
		tokens.Named(token, "ww1")
	}
	for name, n := range map[string]int{
		"unknown": len(tokens.tokens.unknown.young) + len(tokens.tokens.unknown.old),
		"named":   len(tokens.named.entries.young) + len(tokens.named.entries.old),
		"callers": len(tokens.callers.entries.young) + len(tokens.callers.entries.old),
		"known":   len(tokens.tokens.known),
	} {
		if n > 2*maxUnknown {
			t.Errorf("%s: %d entries", name, n)
		}
	}
}
