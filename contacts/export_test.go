package contacts

import "testing"

// LimitPeople lowers the bound on remembered people for one test.
func LimitPeople(t *testing.T, n int) {
	old := maxPeople
	maxPeople = n
	t.Cleanup(func() { maxPeople = old })
}
