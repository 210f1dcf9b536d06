package window_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// health is what a test lets a Store know about its Redis.
type health struct {
	degraded      atomic.Bool
	singleKeyOnly bool
	recovered     chan struct{}
}

func (h *health) Degraded() bool                    { return h.degraded.Load() }
func (h *health) Recovered() <-chan struct{}        { return h.recovered }
func (h *health) RedisTime(string, time.Time) int64 { return 0 }
func (h *health) MultiKey() bool                    { return !h.singleKeyOnly }

const length = 48 * time.Hour

// settings are those of most tests.
func settings(replies int, now func() time.Time) window.Settings {
	return window.Settings{Prefix: "rg:", Length: length, Replies: replies, Timeout: 5 * time.Second, Now: now}
}

// newStore keeps windows in s as the gateway does, but for faults of Redis: the test reports those.
func newStore(t testing.TB, s *store.Client, set window.Settings) (*window.Store, *health) {
	t.Helper()
	h := &health{singleKeyOnly: !s.MultiKey(), recovered: make(chan struct{}, 1)}
	if s.Embedded != nil {
		return window.NewEmbedded(s.UniversalClient, h, set), h
	}
	return window.NewShared(s.UniversalClient, h, journal(t), set), h
}

// journal is an empty one of the test's own.
func journal(t testing.TB) *store.Journal {
	t.Helper()
	j, _, _, err := store.OpenJournal(filepath.Join(t.TempDir(), "journal"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// bench is a store under test with a clock that the test moves.
type bench struct {
	*testing.T
	clock  *wecomtest.Clock
	rdb    redis.UniversalClient
	health *health
	*window.Store
}

func newBench(t *testing.T, s *store.Client, clock *wecomtest.Clock, set window.Settings) *bench {
	t.Helper()
	w, h := newStore(t, s, set)
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, health: h, Store: w}
	b.since(-2 * length)
	return b
}

// slow skips a test of real processes or statistics in -short mode.
func slow(t *testing.T, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: " + why)
	}
}

// many returns n, or a tenth of it in -short mode.
func many(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// each runs body over every kind of store, with complete records.
func each(t *testing.T, replies int, body func(b *bench)) {
	clock := wecomtest.NewClock()
	clock.Set(time.Now().Truncate(time.Second))
	storetest.Each(t, clock.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		clock.Set(time.Now().Truncate(time.Second))
		body(newBench(t, s, clock, settings(replies, clock.Now)))
	})
}

// since lets records reach back to now + d.
func (b *bench) since(d time.Duration) {
	b.Helper()
	if err := b.rdb.Set(b.Context(), "rg:since", b.clock.Now().Add(d).UnixMilli(), 0).Err(); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) wrote(k window.Key, at ...time.Time) {
	b.Helper()
	for _, t := range at {
		if _, err := b.Record(b.Context(), []window.Fact{{Key: k, At: t}}); err != nil {
			b.Fatal(err)
		}
	}
}

// reserve expects the state and the replies left of a reservation.
func (b *bench) reserve(k window.Key, want window.State, left int) window.Answer {
	b.Helper()
	a := b.Reserve(b.Context(), k)
	if a.State != want || a.Left != left {
		b.Fatalf("Reserve = %s, left %d; want %s, left %d", a.State, a.Left, want, left)
	}
	return a
}

func (b *bench) settle(k window.Key, a window.Answer, o window.Outcome) {
	b.Helper()
	if err := b.Settle(b.Context(), k, a, o); err != nil {
		b.Fatal(err)
	}
}

// other is another gateway on the same Redis.
func (b *bench) other() *window.Store {
	return window.NewShared(b.rdb, &health{singleKeyOnly: b.health.singleKeyOnly}, journal(b.T), settings(5, b.clock.Now))
}

var li = window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmLi"}
