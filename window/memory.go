package window

import (
	"sync"
	"time"
)

const (
	// generation is how many windows one half of the memory holds.
	generation = 65_536
	// fresh is how long a remembered window is believed without asking Redis again.
	fresh = 60 * time.Second
)

// memory remembers open windows in the process, for when Redis is away and for when replies are not
// counted. It is bounded: of two generations the older one is dropped when the newer one is full.
type memory struct {
	mu       sync.Mutex
	new, old map[string]seen
}

type seen struct {
	last  int64 // of the customer's last message, unix ms
	asked int64 // when Redis said so, unix ms
}

func newMemory() *memory {
	return &memory{new: map[string]seen{}, old: map[string]seen{}}
}

func (m *memory) put(key string, last, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.new) >= generation {
		m.old, m.new = m.new, make(map[string]seen, generation)
	}
	m.new[key] = seen{last: last, asked: now}
}

func (m *memory) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.new, key)
	delete(m.old, key)
}

// find returns the last message of a window that was open and by its length still is.
func (m *memory) find(key string, now int64, length time.Duration) (last int64, found bool) {
	m.mu.Lock()
	s, found := m.new[key]
	if !found {
		s, found = m.old[key]
	}
	m.mu.Unlock()
	return s.last, found && now-s.last < length.Milliseconds()
}

// open is find for a window that need not be asked again yet.
func (m *memory) open(key []byte, now int64, length time.Duration) (last int64, found bool) {
	m.mu.Lock()
	s, found := m.new[string(key)]
	if !found {
		s, found = m.old[string(key)]
	}
	m.mu.Unlock()
	return s.last, found && now-s.last < length.Milliseconds() && now-s.asked < fresh.Milliseconds()
}
