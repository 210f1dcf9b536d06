package window

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The cache returns the last value that was put, and nothing that was forgotten.
func TestCacheFollowsTheModel(t *testing.T) {
	const length = 48 * time.Hour
	m, model := newOpenCache(), map[string]cacheEntry{}
	r := rand.New(rand.NewPCG(1, 2))
	for step := range int64(20_000) {
		key, now := fmt.Sprint("rg:window:{ww1:wk1:wm", r.IntN(500), "}"), int64(1_700_000_000_000)+step*1000
		switch r.IntN(4) {
		case 0:
			last := now - r.Int64N(2*length.Milliseconds())
			m.put(key, last, now)
			model[key] = cacheEntry{last: last, confirmed: now}
		case 1:
			m.forget(key)
			delete(model, key)
		default:
			want, known := model[key]
			last, found := m.find(key, now, length)
			if open := known && now-want.last < length.Milliseconds(); found != open || found && last != want.last {
				t.Fatalf("step %d: find = %d, %v; the model has %+v", step, last, found, want)
			}
			_, fresh := m.open([]byte(key), now, length)
			if want := found && now-want.confirmed < revalidateAfter.Milliseconds(); fresh != want {
				t.Fatalf("step %d: open = %v, want %v", step, fresh, want)
			}
		}
	}
}

// The windows of a busy day fit; many more evict those that were confirmed longest ago.
func TestCacheIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: fills the cache four times")
	}
	const length = 48 * time.Hour
	m, now := newOpenCache(), int64(1_700_000_000_000)
	found := func(from, to int) (n int) {
		for i := from; i < to; i++ {
			if _, ok := m.find(fmt.Sprint("key", i), now, length); ok {
				n++
			}
		}
		return n
	}
	const busy, all = 100_000, 4 * buckets * ways
	for i := range busy {
		m.put(fmt.Sprint("key", i), now, now)
	}
	if n := found(0, busy); n < busy*99/100 { // few buckets are full
		t.Errorf("of %d windows %d are cached", busy, n)
	}
	for i := busy; i < all; i++ {
		now++
		m.put(fmt.Sprint("key", i), now, now)
	}
	if n := found(0, busy); n > 0 {
		t.Errorf("%d of the oldest are still cached", n)
	}
	if n := found(all-busy, all); n < busy*99/100 {
		t.Errorf("of the newest %d, %d are cached", busy, n)
	}
}
