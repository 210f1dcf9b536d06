package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"replygate/store/storetest"
)

// feedOn runs a feed of a log until the test ends.
func feedOn(t *testing.T, l *Log) *Feed {
	f := &Feed{Log: l}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func (l *Listener) next(t *testing.T) (e Entry, open bool) {
	t.Helper()
	select {
	case e, open = <-l.C:
		return e, open
	case <-time.After(30 * time.Second):
		t.Fatal("nothing comes")
		return e, false
	}
}

// A listener that comes while events are logged gets all of them once, in order: first those since
// its position, then those that come.
func TestReplayAndFollow(t *testing.T) {
	each(t, func(t *testing.T, l *Log) {
		f := feedOn(t, l)
		first := must(f.Listen(t.Context(), Filter{})) // so that the feed has its place already
		defer first.Close()
		const many = 600
		logged := make(chan struct{})
		go func() {
			defer close(logged)
			for n := range many {
				if _, err := l.Append(context.Background(), event(WindowClosing, "wwA", n), event(StandingChanged, "wwB", n)); err != nil {
					t.Error(err)
				}
			}
		}()
		first.next(t)
		second := must(f.Listen(t.Context(), Filter{Types: []string{"window.*"}}))
		defer second.Close()
		var got []string
		if err := second.Replay(t.Context(), "", func(e Entry) error { got = append(got, e.Position); return nil }); err != nil {
			t.Fatal(err)
		}
		for len(got) < many {
			e, open := second.next(t)
			if !open || e.Type != WindowClosing {
				t.Fatalf("%+v %v", e, open)
			}
			got = append(got, e.Position)
		}
		<-logged
		if sorted := slices.IsSortedFunc(got, func(a, b string) int {
			if Before(a, b) {
				return -1
			}
			return 1
		}); !sorted || len(slices.Compact(slices.Clone(got))) != many {
			t.Error("out of order, or twice")
		}
		if at, ok := second.Position(); ok && Before(at, got[many-1]) {
			t.Errorf("at %s", at)
		}
	})
}

// A listener that lags is cut and leaves the others alone; so is one whose log lost its end.
func TestCutListeners(t *testing.T) {
	server := storetest.Start(t)
	l := logIn(storetest.Open(t, server.Config(), time.Now))
	f := feedOn(t, l)
	slow, quick := must(f.Listen(t.Context(), Filter{})), must(f.Listen(t.Context(), Filter{Types: []string{StoreUp}}))
	var all []Event
	for n := range maxLag + 1 {
		all = append(all, event(WindowClosing, "wwA", n))
	}
	appendAll(t, l, append(all, event(StoreUp, "", 1))...)
	if e, open := quick.next(t); !open || e.Type != StoreUp {
		t.Errorf("%+v %v", e, open)
	}
	for n := 0; ; n++ {
		if _, open := slow.next(t); !open {
			if n != maxLag {
				t.Errorf("cut after %d", n)
			}
			break
		}
	}
	server.CLI("flushall")
	if _, open := quick.next(t); open {
		t.Error("it is not told that the log lost its end")
	}
	if listeners, cut := f.Count(); listeners != 0 || cut != 2 {
		t.Errorf("%d, %d cut", listeners, cut)
	}
}

// A listener that was cut has no position, also once it has taken what it had: entries after those
// never reached it.
func TestCutListenerHasNoPosition(t *testing.T) {
	f := &Feed{Log: logIn(storetest.Open(t, storetest.Embedded(t), time.Now))}
	l := must(f.Listen(t.Context(), Filter{}))
	entries := make([]Entry, maxLag+1)
	for n := range entries {
		entries[n] = Entry{Position: fmt.Sprint(n + 1), Type: WindowClosing}
	}
	f.dispatch(l.From, entries[:1])
	l.next(t)
	if at, ok := l.Position(); !ok || at != "1" {
		t.Errorf("at %s, %v", at, ok)
	}
	f.dispatch("1", append(entries[1:], Entry{Position: "2000", Type: WindowClosing}))
	for open := true; open; _, open = l.next(t) {
	}
	if at, ok := l.Position(); ok {
		t.Errorf("at %s", at)
	}
}

// A gateway has so many listeners at most.
func TestTooManyListeners(t *testing.T) {
	f := feedOn(t, logIn(storetest.Open(t, storetest.Embedded(t), time.Now)))
	var last *Listener
	for range MaxListeners {
		last = must(f.Listen(t.Context(), Filter{}))
	}
	if _, err := f.Listen(t.Context(), Filter{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
	last.Close()
	last.Close()
	must(f.Listen(t.Context(), Filter{}))
}
