package admin

import (
	"context"
	"sync"
	"time"
)

// kept is something that is read once for all who ask within some time. Once it is no longer fresh
// it is read again, and meanwhile whoever asks gets the old one, unless that is stale.
type kept[T any] struct {
	mu      sync.Mutex
	at      time.Time // by the machine's clock
	value   T
	reading bool
}

// get returns the value. read gets a context that does not end with the one who asks, since others
// get what it returns.
func (k *kept[T]) get(ctx context.Context, fresh, stale time.Duration, read func(context.Context) T) T {
	ctx = context.WithoutCancel(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch age := time.Since(k.at); {
	case age > stale:
		k.value, k.at = read(ctx), time.Now()
	case age > fresh && !k.reading:
		k.reading = true
		go func() {
			value := read(ctx)
			k.mu.Lock()
			defer k.mu.Unlock()
			k.value, k.at, k.reading = value, time.Now(), false
		}()
	}
	return k.value
}
