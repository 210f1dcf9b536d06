package record

import (
	"io"
	"strings"
	"testing"
)

// Recent has no more than its bytes, however many records come.
func TestRecentSize(t *testing.T) {
	t.Parallel()
	const most = 4000
	r := NewRecent(most)
	w := r.Through(io.Discard)
	for range 100 {
		if _, err := io.WriteString(w, `{"msg":"decision","id":"a","x":"`+strings.Repeat("x", 90)+`"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		if n := cap(r.now) + cap(r.before); n > most {
			t.Fatalf("it has %d bytes, want at most %d", n, most)
		}
	}
	if len(r.before) == 0 {
		t.Error("one buffer was never full")
	}
}
