package record_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"replygate/record"
)

// An id begins with its time, and no two of a millisecond are the same.
func TestNewID(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_795_996_800_123)
	var mu sync.Mutex
	seen := map[string]bool{}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 1000 {
				id := record.NewID(at)
				got, ok := record.IDTime(id)
				mu.Lock()
				if len(id) != 16 || !ok || !got.Equal(at) || seen[id] {
					t.Errorf("%s is of %v, %v, seen before: %v", id, got, ok, seen[id])
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	if a, b := record.NewID(at), record.NewID(at.Add(time.Millisecond)); a >= b {
		t.Errorf("%s is not before %s", a, b)
	}
}

func TestIDTime(t *testing.T) {
	t.Parallel()
	want := fmt.Sprintf("%011x", time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC).UnixMilli())
	if at, ok := record.IDTime(want + "00000"); !ok || !at.Equal(time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%v %v", at, ok)
	}
	for _, text := range []string{"", "12", want, want + "0000g", want + "000000", "-" + want + "0000"} {
		if at, ok := record.IDTime(text); ok {
			t.Errorf("%q is an id of %v", text, at)
		}
	}
}
