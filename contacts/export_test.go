package contacts

import "testing"

// Open returns the number of unfinished walks.
func (w *Walks) Open() int { return len(w.open) }

// LimitPeople lowers the bound on remembered people for one test.
func LimitPeople(t *testing.T, n int) {
	old := maxPeople
	maxPeople = n
	t.Cleanup(func() { maxPeople = old })
}
