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
	places  = 23
	// fresh is how long a remembered window is believed without asking Redis again.
	fresh = 60 * time.Second
)

// memory remembers open windows in the process, for when Redis is away and for when replies are not
// counted. A window has its place in one bucket of a few; in a full one it takes that of the window
// that was asked for longest ago.
type memory struct {
	seeds   [2]maphash.Seed
	buckets [buckets]atomic.Pointer[bucket] // nil until something is put there
}

type bucket struct {
	mu   sync.Mutex
	seen [places]seen
}

type seen struct {
	name  name
	last  int64 // of the customer's last message, unix ms; 0: nothing is here
	asked int64 // when Redis said so, unix ms
}

// name stands for a key. Its 128 bits depend on seeds that nobody outside the process can know, so
// that no customer can be made to pass for another.
type name [2]uint64

func newMemory() *memory {
	return &memory{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (m *memory) name(key string) name {
	return name{maphash.String(m.seeds[0], key), maphash.String(m.seeds[1], key)}
}

func (m *memory) put(key string, last, now int64) {
	n := m.name(key)
	at := &m.buckets[n[0]%buckets]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(bucket))
	}
	b := at.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	place := &b.seen[0]
	for i := range b.seen {
		s := &b.seen[i]
		if s.name == n {
			place = s
			break
		}
		if s.asked < place.asked {
			place = s
		}
	}
	*place = seen{name: n, last: last, asked: now}
}

func (m *memory) forget(key string) {
	n := m.name(key)
	b := m.buckets[n[0]%buckets].Load()
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.find(n); s != nil {
		*s = seen{}
	}
}

// find returns the place of a name, nil if it has none.
func (b *bucket) find(n name) *seen {
	for i := range b.seen {
		if s := &b.seen[i]; s.name == n && s.last != 0 {
			return s
		}
	}
	return nil
}

// find returns the last message of a window that was open and by its length still is.
func (m *memory) find(key string, now int64, length time.Duration) (last int64, found bool) {
	s, found := m.get(m.name(key))
	return s.last, found && now-s.last < length.Milliseconds()
}

// open is find for a window that need not be asked again yet.
func (m *memory) open(key []byte, now int64, length time.Duration) (last int64, found bool) {
	s, found := m.get(name{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)})
	return s.last, found && now-s.last < length.Milliseconds() && now-s.asked < fresh.Milliseconds()
}

func (m *memory) get(n name) (seen, bool) {
	b := m.buckets[n[0]%buckets].Load()
	if b == nil {
		return seen{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.find(n); s != nil {
		return *s, true
	}
	return seen{}, false
}
