package store

// Pending counts the requests that are not sent yet.
func (b *Coalescer[Q, A]) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending)
}

// Workers counts the goroutines that send.
func (b *Coalescer[Q, A]) Workers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.workers
}

// CloseFile closes the file, so that the next fsync fails.
func (j *Journal) CloseFile() { j.file.Close() }
