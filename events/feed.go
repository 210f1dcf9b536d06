package events

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// MaxListeners is how many listeners a gateway has at the same time.
	MaxListeners = 50

	maxLag       = 1000                   // events that a listener may lag
	pollEvery    = 250 * time.Millisecond // while somebody listens
	boundsEvery  = 5 * time.Second        // how often the end of the log is compared
	readAtOnce   = 500                    // entries
	maxReplays   = 200                    // entries of a replay at once
	readPatience = 20                     // batches before others get their turn
)

// ErrTooMany means that there are as many listeners as there may be.
var ErrTooMany = errors.New("events: too many listeners")

// Feed reads the log once for all listeners of a gateway. It is safe for concurrent use.
type Feed struct {
	Log *Log

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	position  string // of the last entry read; valid while somebody listens
	cut       int64
}

// Listener gets the entries that its filter selects, from a position on.
type Listener struct {
	C     <-chan Entry // closed if the listener lags too far, or the log lost its end
	From  string       // entries after it come through C
	feed  *Feed
	c     chan Entry
	match Filter
}

// Listen adds a listener. Close ends it.
func (f *Feed) Listen(ctx context.Context, match Filter) (*Listener, error) {
	_, newest, err := f.Log.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) >= MaxListeners {
		return nil, ErrTooMany
	}
	if len(f.listeners) == 0 {
		f.listeners, f.position = map[*Listener]struct{}{}, newest
	}
	c := make(chan Entry, maxLag)
	l := &Listener{C: c, c: c, From: f.position, feed: f, match: match}
	f.listeners[l] = struct{}{}
	return l, nil
}

// Close ends the listener.
func (l *Listener) Close() {
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	delete(l.feed.listeners, l)
}

// Position returns the position up to which the listener has taken everything; ok is false while
// entries wait for it, and once it was cut.
func (l *Listener) Position() (at string, ok bool) {
	l.feed.mu.Lock()
	defer l.feed.mu.Unlock()
	_, listens := l.feed.listeners[l]
	return l.feed.position, listens && len(l.c) == 0
}

// Replay calls send with what the listener missed since a position, in order, and returns its first
// error.
func (l *Listener) Replay(ctx context.Context, after string, send func(Entry) error) error {
	for {
		entries, err := l.feed.Log.Read(ctx, after, maxReplays)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if Before(l.From, e.Position) { // it comes through C
				return nil
			}
			if l.match.Matches(&e) {
				if err := send(e); err != nil {
					return err
				}
			}
			after = e.Position
		}
		if len(entries) < maxReplays {
			return nil
		}
	}
}

// Count returns how many listen, and how many were cut so far.
func (f *Feed) Count() (listeners int, cut int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners), f.cut
}

// asksForRefused reports whether a listener wants to hear of refused calls.
func (f *Feed) asksForRefused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.listeners {
		if asksForRefused(l.match.Types) {
			return true
		}
	}
	return false
}

// Run reads the log while somebody listens, until ctx ends. While Redis is away nothing comes, and
// nothing is lost.
func (f *Feed) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	compared := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n, _ := f.Count(); n == 0 {
			continue
		}
		f.pass(ctx)
		if time.Since(compared) > boundsEvery {
			compared = time.Now()
			f.compareEnd(ctx)
		}
	}
}

// pass gives what is new in the log to the listeners.
func (f *Feed) pass(ctx context.Context) {
	for range readPatience {
		f.mu.Lock()
		at := f.position
		f.mu.Unlock()
		entries, err := f.Log.Read(ctx, at, readAtOnce)
		if err != nil {
			return
		}
		f.dispatch(at, entries)
		if len(entries) < readAtOnce {
			return
		}
	}
}

// dispatch gives entries that were read after a position to the listeners.
func (f *Feed) dispatch(after string, entries []Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.position != after { // all have left meanwhile, and others came
		return
	}
	for i := range entries {
		for l := range f.listeners {
			if !l.match.Matches(&entries[i]) {
				continue
			}
			select {
			case l.c <- entries[i]:
			default:
				f.drop(l)
			}
		}
		f.position = entries[i].Position
	}
}

// drop ends a listener that lags. It resumes by its position.
func (f *Feed) drop(l *Listener) {
	delete(f.listeners, l)
	close(l.c)
	f.cut++
}

// compareEnd ends all listeners if the log ends before what they have: Redis lost its end. When
// they come back they are told so.
func (f *Feed) compareEnd(ctx context.Context) {
	f.mu.Lock()
	at := f.position
	f.mu.Unlock()
	_, newest, err := f.Log.Bounds(ctx)
	if err != nil || !Before(newest, at) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.position != at {
		return
	}
	for l := range f.listeners {
		f.drop(l)
	}
}
