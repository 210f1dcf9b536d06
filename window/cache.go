package window

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// buckets and places bound the memory: 188,416 windows in 6 MB. A bucket fits 768 bytes, as
	// they are handed out.
	buckets = 8_192
	ways    = 23
	// revalidateAfter is how long a remembered window is believed without asking Redis again.
	revalidateAfter = 60 * time.Second
)

// memory remembers open windows in the process, for when Redis is away and for when replies are not
// counted. A window has its place in one bucket of a few; in a full one it takes that of the window
// that was asked for longest ago.
type openCache struct {
	seeds   [2]maphash.Seed
	buckets [buckets]atomic.Pointer[bucket] // nil until something is put there
}

type bucket struct {
	mu      sync.Mutex
	entries [ways]cacheEntry
}

type cacheEntry struct {
	key       fingerprint
	last      int64 // of the customer's last message, unix ms; 0: nothing is here
	confirmed int64 // when Redis said so, unix ms
}

// key stands for a key. Its 128 bits depend on seeds that nobody outside the process can know, so
// that no customer can be made to pass for another.
type fingerprint [2]uint64

func newOpenCache() *openCache {
	return &openCache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (m *openCache) fingerprint(key string) fingerprint {
	return fingerprint{maphash.String(m.seeds[0], key), maphash.String(m.seeds[1], key)}
}

func (m *openCache) put(key string, last, now int64) {
	n := m.fingerprint(key)
	at := &m.buckets[n[0]%buckets]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(bucket))
	}
	b := at.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	place := &b.entries[0]
	for i := range b.entries {
		s := &b.entries[i]
		if s.key == n {
			place = s
			break
		}
		if s.confirmed < place.confirmed {
			place = s
		}
	}
	*place = cacheEntry{key: n, last: last, confirmed: now}
}

func (m *openCache) forget(key string) {
	n := m.fingerprint(key)
	b := m.buckets[n[0]%buckets].Load()
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.find(n); s != nil {
		*s = cacheEntry{}
	}
}

// find returns the place of a name, nil if it has none.
func (b *bucket) find(n fingerprint) *cacheEntry {
	for i := range b.entries {
		if s := &b.entries[i]; s.key == n && s.last != 0 {
			return s
		}
	}
	return nil
}

// find returns the last message of a window that was open and by its length still is.
func (m *openCache) find(key string, now int64, length time.Duration) (last int64, found bool) {
	s, found := m.get(m.fingerprint(key))
	return s.last, found && now-s.last < length.Milliseconds()
}

// open is find for a window that need not be asked again yet.
func (m *openCache) open(key []byte, now int64, length time.Duration) (last int64, found bool) {
	s, found := m.get(fingerprint{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)})
	return s.last, found && now-s.last < length.Milliseconds() && now-s.confirmed < revalidateAfter.Milliseconds()
}

func (m *openCache) get(n fingerprint) (cacheEntry, bool) {
	b := m.buckets[n[0]%buckets].Load()
	if b == nil {
		return cacheEntry{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.find(n); s != nil {
		return *s, true
	}
	return cacheEntry{}, false
}
