package window

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// reply is a reply to GET: a value, "-" for no such key, "!" for a failure, "#" for another type.
func reply(text string) *redis.StringCmd {
	switch text {
	case "":
		return nil
	case "-":
		return redis.NewStringResult("", redis.Nil)
	case "!":
		return redis.NewStringResult("", io.EOF)
	case "#":
		return redis.NewStringResult("", wrongType{})
	}
	return redis.NewStringResult(text, nil)
}

type wrongType struct{}

func (wrongType) Error() string {
	return "WRONGTYPE Operation against a key holding the wrong kind of value"
}
func (wrongType) RedisError() {}

// reading is what a proof has read: nil for "", else as in reply.
func reading(text string) *read {
	if text == "" {
		return nil
	}
	return &read{value: reply(text)}
}

// A history begins at the newest of rg:since and the gaps, or earlier with a newer backfill.
func TestHistoryOfReplies(t *testing.T) {
	t.Parallel()
	const now = 900_000_000
	for _, c := range []struct {
		name                        string
		since, gap, other, backfill string
		want                        int64 // -1: an error
	}{
		{"since alone", "500", "", "", "", 500},
		{"no gap", "500", "-", "-", "-", 500},
		{"an older gap", "500", "400", "-", "", 500},
		{"a newer gap", "500", "600", "-", "", 600},
		{"a newer gap of the channel", "500", "600", "700", "", 700},
		{"no since yet", "-", "-", "-", "", now},
		{"since is text", "yesterday", "-", "-", "", now},
		{"since has another type", "#", "-", "-", "", now},
		{"a gap is text", "500", "soon", "-", "", now},
		{"a gap has another type", "500", "-", "#", "", now},
		{"a backfill after the gap", "500", "600", "-", "700:300", 300},
		{"a backfill at the gap", "500", "600", "-", "600:300", 300},
		{"a backfill before the gap", "500", "600", "-", "599:300", 600},
		{"a backfill before since", "500", "-", "-", "400:300", 500},
		{"a backfill that reaches less far than since", "500", "-", "-", "700:650", 500},
		{"a backfill of all that there is", "300000000", "-", "-", "300000001", 300000001 - Backlog.Milliseconds()},
		{"a broken backfill", "500", "-", "-", "x:y", 500},
		{"a backfill that fails", "500", "-", "-", "!", 500},
		{"since fails", "!", "-", "-", "", -1},
		{"a gap fails", "500", "!", "-", "", -1},
		{"the other gap fails", "500", "-", "!", "700:300", -1},
	} {
		h := scopeRead{gaps: [2]*read{reading(c.gap), reading(c.other)}, backfill: reading(c.backfill)}.history(reading(c.since), now)
		switch {
		case c.want == -1 && !errors.Is(h.err, io.EOF):
			t.Errorf("%s: %+v, want an error", c.name, h)
		case c.want != -1 && (h.err != nil || h.since.UnixMilli() != c.want):
			t.Errorf("%s: since %d, %v; want %d", c.name, h.since.UnixMilli(), h.err, c.want)
		}
	}
}

// A history proves something from the length of a window on, and never after an error.
func TestProves(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_790_000_000_000)
	s := &Store{Settings: Settings{Length: 48 * time.Hour, Now: func() time.Time { return now }}}
	for _, c := range []struct {
		h    history
		want bool
	}{
		{history{since: now.Add(-48 * time.Hour)}, true},
		{history{since: now.Add(-48*time.Hour + time.Millisecond)}, false},
		{history{since: now}, false},
		{history{since: now.Add(time.Hour)}, false},
		{history{since: now.Add(-96 * time.Hour), err: io.EOF}, false},
		{history{}, true},
	} {
		if got := s.proves(c.h); got != c.want {
			t.Errorf("%+v proves: %v", c.h, got)
		}
	}
}

func TestBackfilledRoundTrip(t *testing.T) {
	t.Parallel()
	whole := backfilled{began: 1_790_000_000_000, since: 1_790_000_000_000 - Backlog.Milliseconds()}
	if got := whole.String(); got != "1790000000000" {
		t.Errorf("a backfill that reaches back all the way is %q", got)
	}
	for _, b := range []backfilled{whole, {1_790_000_000_000, 1_789_999_999_999}, {5, 4}, {0, 0}} {
		if got, ok := readBackfill(b.String()); !ok || got != b {
			t.Errorf("%q is read back as %+v, want %+v", b, got, b)
		}
	}
	for _, text := range []string{"", ":", "x", "1:", "1:x", "x:1", "1:2:3"} {
		if b, ok := readBackfill(text); ok {
			t.Errorf("%q is read as %+v", text, b)
		}
	}
}

// Which keys decide about a window, a corp and its codes.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := &Store{Settings: Settings{Prefix: "rg:"}}
	for _, c := range []struct {
		name string
		got  scope
		want scope
	}{
		{"a window", s.ofMessages(Key{Corp: "ww:1", Channel: "wk1", Customer: "wm"}), scope{[2]string{"rg:gap:ww%3A1", "rg:gap:wk1"}, "rg:backfill:wk1"}},
		{"a window without a channel", s.ofMessages(Key{Corp: "ww1", Customer: "wm"}), scope{[2]string{"rg:gap:ww1", ""}, ""}},
		{"codes", s.ofCodes("ww1"), scope{[2]string{"rg:gap:ww1:any", ""}, ""}},
		{"a corp", s.ofCorp("ww1"), scope{[2]string{"rg:gap:ww1:any", ""}, "rg:backfill:ww1"}},
		{"every corp", s.ofCorp(""), scope{}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
}

// The instant of a loss's gap, and whether it needs an entry in Redis.
func TestLossAt(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_790_000_000_000)
	at := func(d time.Duration) *Item { return &Item{At: now.Add(d), ID: "m1"} }
	for _, c := range []struct {
		name  string
		item  *Item
		want  int64
		named bool
	}{
		{"no item", nil, 7, false},
		{"a dated item", at(-time.Hour), now.Add(-time.Hour).UnixMilli(), false},
		{"as far ahead as tolerated", at(maxAhead), now.Add(maxAhead).UnixMilli(), false},
		{"too far ahead", at(maxAhead + time.Millisecond), 7, true},
		{"no time", &Item{ID: "m1"}, 7, true},
		{"neither time nor id", &Item{}, 7, false},
	} {
		l := Loss{Corp: "ww1", Channel: "wk1", Item: c.item, Noted: 7}
		got, name := l.at(now)
		if got != c.want || (name != "") != c.named {
			t.Errorf("%s: at %d named %q", c.name, got, name)
		}
	}
	names := map[string]bool{}
	for _, l := range []Loss{{Corp: "a", Channel: "b"}, {Corp: "ab"}, {Channel: "ab"}, {Corp: "a", Channel: "c"}} {
		for _, id := range []string{"m1", "m2"} {
			l.Item = &Item{ID: id}
			_, name := l.at(now)
			names[name] = true
		}
	}
	if len(names) != 8 {
		t.Errorf("8 items have %d names", len(names))
	}
}

// Losses that neither Redis nor the journal took are kept in order, and all of them become a gap of
// every corp if there are too many.
func TestKeepLosses(t *testing.T) {
	t.Parallel()
	g := &gaps{}
	loss := func(corp string, noted int64) Loss { return Loss{Corp: corp, Messages: true, Noted: noted} }
	g.keep([]Loss{loss("ww1", 5), loss("ww2", 6)})
	g.keep([]Loss{loss("ww1", 9)})
	var noted []int64
	for _, l := range g.losses {
		noted = append(noted, l.Noted)
	}
	if !slices.Equal(noted, []int64{5, 6, 9}) || !g.pending.Load() {
		t.Fatalf("kept %v, pending %v", noted, g.pending.Load())
	}
	all := func(at int) bool { return g.losses[at].All && g.losses[at].Noted == 11 }
	many := make([]Loss, maxUnwritten-3)
	if g.keep(many); len(g.losses) != maxUnwritten || g.losses[0].All {
		t.Fatalf("%d losses are kept, the first is %+v", len(g.losses), g.losses[0])
	}
	if g.keep([]Loss{loss("ww3", 11)}); len(g.losses) != 1 || !all(0) || !g.pending.Load() {
		t.Errorf("too many losses became %+v", g.losses)
	}
	if g.keep(many[:1]); len(g.losses) != 2 || !all(0) {
		t.Errorf("after too many losses %+v are kept", g.losses)
	}
}
