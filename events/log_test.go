package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

const patience = 5 * time.Second // for an exchange with Redis

// each runs body with a log on every kind of Redis.
func each(t *testing.T, body func(t *testing.T, l *Log)) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, c *store.Client) { body(t, logIn(c)) })
}

func logIn(c redis.UniversalClient) *Log {
	if s, ok := c.(*store.Client); ok {
		c = s.UniversalClient
	}
	return NewLog(c, "rg:", patience, MaxEvents, time.Now)
}

// must returns the result of what must not fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// event is one of many of a type.
func event(kind, corp string, n int) Event {
	return Event{Type: kind, At: time.UnixMilli(1_790_000_000_000), Corp: corp, Key: []string{corp, fmt.Sprint(n)}, Data: map[string]any{"corp_id": corp, "n": n}}
}

func appendAll(t *testing.T, l *Log, all ...Event) []Result {
	t.Helper()
	results, err := l.Append(t.Context(), all...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// The same fact has the same id everywhere, and another one another.
func TestIDs(t *testing.T) {
	e := Event{Type: WindowClosing, Key: []string{"ww0123456789abcdef", "wkA", "wmB", "1790000000000", "15m"}}
	if id := e.ID(); id != "evt_e2f800782363377408e362ef" {
		t.Errorf("%s", id)
	}
	other := e
	other.Key = []string{"ww0123456789abcdef", "wkAw", "mB", "1790000000000", "15m"}
	if e.ID() == other.ID() {
		t.Error("two facts have one id")
	}
}

// Several gateways that find the same facts at the same time log each once, in the form of Standard
// Webhooks.
func TestEachFactOnce(t *testing.T) {
	each(t, func(t *testing.T, l *Log) {
		var gateways sync.WaitGroup
		for range 4 {
			gateways.Go(func() {
				for n := range 30 {
					if _, err := l.Append(context.Background(), event(WindowClosing, "wwA", n), event(StandingChanged, "wwB", n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		gateways.Wait()
		entries := must(l.Read(t.Context(), "", 1000))
		if len(entries) != 60 {
			t.Fatalf("%d entries", len(entries))
		}
		ids := map[string]bool{}
		for i, e := range entries {
			var form struct {
				Type, ID, Timestamp string
				Data                struct {
					CorpID string `json:"corp_id"`
				}
			}
			if err := json.Unmarshal(e.JSON, &form); err != nil || form.Type != e.Type || form.Data.CorpID != e.Corp || form.Timestamp != "2026-09-21T14:13:20.000Z" || ids[form.ID] {
				t.Errorf("%s %v", e.JSON, err)
			}
			if ids[form.ID] = true; i > 0 && !Before(entries[i-1].Position, e.Position) {
				t.Errorf("%s after %s", e.Position, entries[i-1].Position)
			}
		}
		oldest, newest, err := l.Bounds(t.Context())
		if err != nil || oldest != entries[0].Position || newest != entries[59].Position {
			t.Errorf("%s to %s, %v", oldest, newest, err)
		}
		if rest := must(l.Read(t.Context(), entries[57].Position, 1)); len(rest) != 1 || rest[0].Position != entries[58].Position {
			t.Errorf("%v", rest)
		}
	})
}

// A fact that lasts is logged when it changes, by the gateway that knew what it was before.
func TestLastingFacts(t *testing.T) {
	each(t, func(t *testing.T, l *Log) {
		change := func(was, is string) Event {
			return Event{Type: StandingChanged, At: time.Now(), Key: []string{was, is}, Field: "standing:wwA", Was: was, Value: is}
		}
		silent := Event{Field: "standing:wwA", Value: "active"}
		got := fmt.Sprint(appendAll(t, l, change("grace", "lapsed"), silent, change("active", "grace"), change("active", "grace"), change("grace", "lapsed")))
		if got != "[-1 1 1 -1 1]" {
			t.Errorf("%s", got)
		}
		if n := len(must(l.Read(t.Context(), "", 10))); n != 2 {
			t.Errorf("%d entries", n)
		}
		if known := must(l.known(t.Context())); len(known) != 1 || known["standing:wwA"] != "lapsed" {
			t.Errorf("%v", known)
		}
		if err := l.forget(t.Context(), []string{"standing:wwA"}); err != nil || len(must(l.known(t.Context()))) != 0 {
			t.Errorf("%v", err)
		}
	})
}

// The log keeps so many events, for so long; an id that is no longer kept can be logged again.
func TestLogIsBounded(t *testing.T) {
	each(t, func(t *testing.T, l *Log) {
		l.most = 200
		for n := range 1000 {
			appendAll(t, l, event(WindowClosing, "wwA", n))
		}
		if n := len(must(l.Read(t.Context(), "", 2000))); n < 200 || n > 400 {
			t.Errorf("%d entries of 200", n)
		}
		l.now = func() time.Time { return time.Now().Add(seenFor + time.Hour) }
		if got := appendAll(t, l, event(WindowClosing, "wwA", 999), event(WindowClosing, "wwA", 999)); got[0] != Known {
			t.Errorf("%v", got) // the script looks before it cleans
		}
		if got := appendAll(t, l, event(WindowClosing, "wwA", 999)); got[0] != Appended {
			t.Errorf("%v", got)
		}
		l.now = func() time.Time { return time.Now().Add(keptFor + time.Minute) }
		appendAll(t, l, event(WindowClosing, "wwB", 1))
		if n := len(must(l.Read(t.Context(), "", 2000))); n != 0 {
			t.Errorf("%d entries after a week", n)
		}
	})
}

// An event that is too large is left out, and holds up neither the others nor what is known.
func TestLargeEvent(t *testing.T) {
	l := logIn(storetest.Open(t, storetest.Embedded(t), time.Now))
	var left []error
	l.LeftOut = func(err error) { left = append(left, err) }
	large := event(ConfigRejected, "", 1)
	large.Data, large.Field, large.Value = strings.Repeat("x", maxEvent), "config:a", "known"
	appendAll(t, l, event(ConfigRejected, "", 0), large, event(ConfigRejected, "", 2))
	if n := len(must(l.Read(t.Context(), "", 10))); n != 2 || len(left) != 1 {
		t.Errorf("%d events are logged, of %d it is told that they cannot be", n, len(left))
	}
	if known := must(l.known(t.Context())); known["config:a"] != "known" {
		t.Errorf("known is %v", known)
	}
}

// An event costs the memory that the design allows it: 516 bytes and its id; here at most twice
// that.
func TestBytesOfAnEvent(t *testing.T) {
	c := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	l := logIn(c)
	const many = 5000
	var all []Event
	for n := range many {
		e := event(WindowClosing, "ww0123456789abcdef", n)
		e.Data = ChatData{
			CorpID: "ww0123456789abcdef", Account: "Acme East", Standing: "lapsed", Channel: "wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw", Customer: fmt.Sprintf("wmqfasd1e1927831123109rBAA%d", n),
			Last: Stamp(e.At), ClosesAt: Stamp(e.At), Before: "15m",
		}
		all = append(all, e)
	}
	appendAll(t, l, all...)
	log, seen := must(c.MemoryUsage(t.Context(), l.logKey(), 0).Result()), must(c.MemoryUsage(t.Context(), l.seenKey(), 0).Result())
	t.Logf("%d bytes an event in the log, %d for its id", log/many, seen/many)
	if log/many > 2*516 || seen/many > 300 {
		t.Error("more than twice as much as designed")
	}
}

// The embedded store keeps the log over a restart.
func TestEmbeddedKeepsTheLog(t *testing.T) {
	c := storetest.Embedded(t)
	t.Run("before", func(t *testing.T) {
		l := logIn(storetest.Open(t, c, time.Now))
		appendAll(t, l, event(WindowClosing, "wwA", 1), event(WindowClosing, "wwA", 2), Event{Field: "standing:wwA", Value: "active"})
		if err := l.keepOpenChats(t.Context(), []chat{{last: 7}}, nil); err != nil {
			t.Error(err)
		}
	})
	l := logIn(storetest.Open(t, c, time.Now))
	if got := fmt.Sprint(appendAll(t, l, event(WindowClosing, "wwA", 2), event(WindowClosing, "wwA", 3))); got != "[0 1]" {
		t.Errorf("%s", got)
	}
	if n := len(must(l.Read(t.Context(), "", 10))); n != 3 {
		t.Errorf("%d entries", n)
	}
	if open := must(l.openChats(t.Context())); len(open) != 1 || open[0].last != 7 || must(l.known(t.Context()))["standing:wwA"] != "active" {
		t.Errorf("%v", open)
	}
}

// Positions are compared as numbers.
func TestPositions(t *testing.T) {
	for _, c := range [][2]string{{"", "0-1"}, {"0", "1-0"}, {"9-9", "10-0"}, {"10-9", "10-10"}, {"10", "10-1"}} {
		if !Before(c[0], c[1]) || Before(c[1], c[0]) || Before(c[1], c[1]) {
			t.Errorf("%q", c)
		}
	}
	for text, want := range map[string]bool{"0": true, "1795959000123-0": true, "": false, "-": false, "1-": false, "x": false, "1-0 ": false, "(1": false} {
		if IsPosition(text) != want {
			t.Errorf("%q", text)
		}
	}
}

// A filter takes full types and families.
func TestFilter(t *testing.T) {
	e := Entry{Type: WindowClosing, Corp: "wwA"}
	for _, c := range []struct {
		f    Filter
		want bool
	}{
		{Filter{}, true},
		{Filter{Types: []string{"window.*"}}, true}, {Filter{Types: []string{"account.*", WindowClosing}}, true}, {Filter{Types: []string{"*"}}, true},
		{Filter{Types: []string{"account.*"}}, false}, {Filter{Types: []string{"window.clos"}}, false},
		{Filter{Corps: []string{"wwA"}}, true}, {Filter{Corps: []string{"wwB"}}, false},
	} {
		if c.f.Matches(&e) != c.want {
			t.Errorf("%+v", c)
		}
	}
	if all := (Filter{Corps: []string{"wwB"}}); !all.Matches(&Entry{Type: StoreUp}) {
		t.Error("what concerns everybody is left out")
	}
	for pattern, good := range map[string]bool{"*": true, "window.*": true, StoreUp: true, "window": false, "win*": false, "windows.*": false, "": false, "window.closing*": false} {
		if (CheckType(pattern) == nil) != good {
			t.Errorf("%q", pattern)
		}
	}
}
