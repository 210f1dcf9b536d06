package contacts

import (
	"context"
	"testing"
)

// Open returns the number of unfinished walks.
func (w *Walks) Open() int { return len(w.open) }

// History returns the history of one account.
func (s *Store) History(ctx context.Context, corp string) ([]Day, error) {
	all, err := s.Histories(ctx, []string{corp})
	return all[corp], err
}

// LimitPeople lowers the bound on remembered people for one test.
func LimitPeople(t *testing.T, n int) {
	old := maxPeople
	maxPeople = n
	t.Cleanup(func() { maxPeople = old })
}
