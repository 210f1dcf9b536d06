package window

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// buckets and ways bound the cache: 188,416 windows in 6 MB. A bucket fills a size class of the
	// allocator, 768 bytes.
	buckets = 8_192
	ways    = 23
	// revalidateAfter is how long a cached window is used without asking Redis again.
	revalidateAfter = 60 * time.Second
)

// openCache holds open windows in the process, for when Redis is away and for when replies are not
// counted. It is set-associative: a window's key selects a bucket, and a full bucket evicts the
// entry that was confirmed longest ago.
type openCache struct {
	seeds   [2]maphash.Seed
	buckets [buckets]atomic.Pointer[bucket] // nil until the first put
}

type bucket struct {
	mu      sync.Mutex
	entries [ways]cacheEntry
}

type cacheEntry struct {
	key       fingerprint
	last      int64 // the customer's last message, unix ms; 0 = empty
	confirmed int64 // when Redis returned it, unix ms
}

// fingerprint is a 128-bit hash of a key. Its seeds are known to this process alone, so nobody can
// construct two customers that collide.
type fingerprint [2]uint64

func newOpenCache() *openCache {
	return &openCache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (c *openCache) fingerprint(key string) fingerprint {
	return fingerprint{maphash.String(c.seeds[0], key), maphash.String(c.seeds[1], key)}
}

func (c *openCache) put(key string, last, now int64) {
	id := c.fingerprint(key)
	at := &c.buckets[id[0]%buckets]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(bucket))
	}
	b := at.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	victim := &b.entries[0]
	for i := range b.entries {
		e := &b.entries[i]
		if e.key == id {
			victim = e
			break
		}
		if e.confirmed < victim.confirmed {
			victim = e
		}
	}
	*victim = cacheEntry{key: id, last: last, confirmed: now}
}

func (c *openCache) forget(key string) {
	id := c.fingerprint(key)
	b := c.buckets[id[0]%buckets].Load()
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.find(id); e != nil {
		*e = cacheEntry{}
	}
}

// find returns the entry of a fingerprint, nil if there is none.
func (b *bucket) find(id fingerprint) *cacheEntry {
	for i := range b.entries {
		if e := &b.entries[i]; e.key == id && e.last != 0 {
			return e
		}
	}
	return nil
}

// find returns the last message of a window that was open and has not closed by time since.
func (c *openCache) find(key string, now int64, length time.Duration) (last int64, found bool) {
	e, found := c.get(c.fingerprint(key))
	return e.last, found && now-e.last < length.Milliseconds()
}

// open is find, limited to windows that Redis confirmed within revalidateAfter.
func (c *openCache) open(key []byte, now int64, length time.Duration) (last int64, found bool) {
	e, found := c.get(fingerprint{maphash.Bytes(c.seeds[0], key), maphash.Bytes(c.seeds[1], key)})
	return e.last, found && now-e.last < length.Milliseconds() && now-e.confirmed < revalidateAfter.Milliseconds()
}

func (c *openCache) get(id fingerprint) (cacheEntry, bool) {
	b := c.buckets[id[0]%buckets].Load()
	if b == nil {
		return cacheEntry{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.find(id); e != nil {
		return *e, true
	}
	return cacheEntry{}, false
}
