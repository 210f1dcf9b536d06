package admin

import (
	"context"
	"testing"
	"time"
)

// Who asks gets the old value while a new one is read, unless the old one is stale.
func TestKept(t *testing.T) {
	t.Parallel()
	var k kept[int]
	n, reading, proceed := 0, make(chan bool, 1), make(chan bool)
	read := func(context.Context) int {
		n++
		return n
	}
	slow := func(ctx context.Context) int {
		reading <- true
		<-proceed
		return read(ctx)
	}
	get := func(fresh, stale time.Duration, read func(context.Context) int) int {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // who asked has gone
		return k.get(ctx, fresh, stale, read)
	}
	const long = time.Hour
	if got := get(long, long, read); got != 1 {
		t.Errorf("the first: %d", got)
	}
	if got := get(long, long, read); got != 1 {
		t.Errorf("a fresh one: %d", got)
	}
	if got := get(0, long, slow); got != 1 {
		t.Errorf("while a new one is read: %d", got)
	}
	<-reading
	if got := get(0, long, slow); got != 1 {
		t.Errorf("while it is still read: %d", got)
	}
	close(proceed)
	for range 1000 {
		if get(long, long, read) == 2 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := get(long, long, read); got != 2 {
		t.Errorf("the new one: %d", got)
	}
	if got := get(0, 0, read); got != 3 {
		t.Errorf("a stale one is read at once: %d", got)
	}
}
