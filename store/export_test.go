package store

// Slot is the slot of a hash tag.
var Slot = slot

// Waiting counts the questions that wait to be asked.
func (b *Coalescer[Q, A]) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending)
}

// Asking counts those who ask just now.
func (b *Coalescer[Q, A]) Asking() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.workers
}
