package window_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	singleKeyOnly bool
	unchecked     bool
	sameClock     bool // Redis's clock is known, and is this machine's
}

func (h *health) Checked() bool  { return !h.unchecked }
func (h *health) MultiKey() bool { return !h.singleKeyOnly }
func (h *health) RedisTime(_ string, t time.Time) int64 {
	if !h.sameClock {
		return 0
	}
	return t.UnixMilli()
}

const length = 48 * time.Hour

// settings are those of most tests.
func settings(replies int, now func() time.Time) window.Settings {
	return window.Settings{Prefix: "rg:", Length: length, Replies: replies, Timeout: 5 * time.Second, Now: now}
}

// newStore keeps windows in s as the gateway does, with its leases.
func newStore(t testing.TB, s *store.Client, set window.Settings) (*window.Store, *health) {
	t.Helper()
	w, h, _ := startStore(t, s, set)
	return w, h
}

// startStore is newStore for a gateway that ends earlier than the test.
func startStore(t testing.TB, s *store.Client, set window.Settings) (w *window.Store, h *health, stop func()) {
	t.Helper()
	h = &health{singleKeyOnly: !s.MultiKey()}
	if s.Embedded != nil {
		w = window.NewEmbedded(s.UniversalClient, h, set)
	} else {
		w = window.NewShared(s.UniversalClient, h, journal(t), set)
	}
	return w, h, run(t, w)
}

// run lets a Store write what is pending and hold its leases, until the test ends or it is stopped.
func run(t testing.TB, w *window.Store) (stop func()) {
	t.Helper()
	if err := w.Acquire(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	within(t, "its leases", func() bool { return w.Status().Held })
	return stop
}

// within waits until something is true.
func within(t testing.TB, what string, is func() bool) {
	t.Helper()
	inTime(t, 20*time.Second, what, is)
}

func inTime(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// agree waits until all gateways hold their leases, know of each other, and could write again what
// Redis loses from now on.
func agree(t testing.TB, all ...*window.Store) {
	t.Helper()
	within(t, "leases of all", func() bool {
		members := 0
		for _, w := range all {
			members = max(members, w.Status().Members)
		}
		for _, w := range all {
			if st := w.Status(); !st.Held || len(st.Causes) > 0 || st.Members != members || !w.CoversRenewals() {
				return false
			}
		}
		return true
	})
}

// passing reports whether a state is unsure for a moment only, as while a lease is renewed late
// or another gateway joins.
func passing(s window.State) bool { return s == window.Unproven || s == window.Unavailable }

// settled asks until the answer is not unsure, or as unsure as the test wants it.
func settled(want window.State, ask func() window.Answer) window.Answer {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if a := ask(); a.State == want || !passing(a.State) || time.Now().After(deadline) {
			return a
		}
	}
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
	client *store.Client
	health *health
	*window.Store
	journal *store.Journal // nil unless the test knows it
}

// id is the gateway's id.
func (b *bench) id() string { return b.journal.ID() }

func newBench(t *testing.T, s *store.Client, clock *wecomtest.Clock, set window.Settings) *bench {
	t.Helper()
	w, h := newStore(t, s, set)
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, client: s, health: h, Store: w}
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
	a := settled(want, func() window.Answer { return b.Reserve(b.Context(), k) })
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

// other is another gateway on the same Redis, or on an embedded one this gateway after a restart.
func (b *bench) other() *window.Store {
	b.Helper()
	w, _ := newStore(b.T, b.client, settings(5, b.clock.Now))
	if b.client.Embedded == nil {
		agree(b.T, b.Store, w)
	}
	return w
}

// scanAll returns all windows of a corp, or of all corps if corp is "", by scans of so many.
func scanAll(t testing.TB, w *window.Store, corp string, limit int) map[window.Key]window.Entry {
	t.Helper()
	all := map[window.Key]window.Entry{}
	for from := ""; ; {
		some, next, err := w.Scan(t.Context(), corp, from, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range some {
			all[e.Key] = e
		}
		if from = next; from == "" {
			return all
		}
	}
}

// fault fails pipelines that write to some keys, as if Redis refused them.
type fault struct {
	key    atomic.Pointer[string] // what those keys contain; nil: no fault
	failed atomic.Int32
}

// newFault adds a fault to a client. There is none before it is set.
func newFault(t testing.TB, rdb redis.UniversalClient) *fault {
	t.Helper()
	f := &fault{}
	addHook(t, rdb, f)
	return f
}

// addHook adds a hook to a client, in a Cluster to that of every node.
func addHook(t testing.TB, rdb redis.UniversalClient, h redis.Hook) {
	t.Helper()
	c, cluster := rdb.(*redis.ClusterClient)
	if !cluster {
		rdb.AddHook(h)
		return
	}
	if err := c.ForEachMaster(t.Context(), func(_ context.Context, node *redis.Client) error {
		node.AddHook(h)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// set fails writes to keys that contain one of some texts, separated by "|"; "" ends the fault.
func (f *fault) set(key string) {
	if f.key.Store(&key); key == "" {
		f.key.Store(nil)
	}
}

// errFault is an error reply of Redis, so that no circuit breaker opens.
type errFault struct{}

func (errFault) Error() string { return "ERR this write fails" }
func (errFault) RedisError()   {}

func (f *fault) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (f *fault) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (f *fault) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		text := f.key.Load()
		if text == nil || !slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return writes(cmd, *text) }) {
			return next(ctx, cmds)
		}
		f.failed.Add(1)
		for _, cmd := range cmds {
			cmd.SetErr(errFault{})
		}
		return errFault{}
	}
}

// writes reports whether a command writes to a key that contains one of some texts.
func writes(cmd redis.Cmder, texts string) bool {
	key := 1
	switch cmd.Name() {
	case "evalsha", "eval":
		key = 3
	case "set", "setnx":
	default:
		return false
	}
	name, _ := cmd.Args()[key].(string)
	return slices.ContainsFunc(strings.Split(texts, "|"), func(text string) bool { return strings.Contains(name, text) })
}

// degrade makes every missing message unproven, until it is undone.
func (b *bench) degrade() (undo func()) {
	b.Helper()
	ctx := b.Context()
	if b.client.Embedded != nil { // it has no leases, but its gaps may be unwritten
		f := newFault(b.T, b.rdb)
		f.set("rg:gap:wwElse")
		if _, err := b.RecordGaps(ctx, window.Loss{Corp: "wwElse", Messages: true}); err == nil {
			b.Fatal("a gap is written in spite of the fault")
		}
		return func() { f.set("") }
	}
	p := b.rdb.Pipeline()
	for _, tag := range b.tags() {
		p.HSet(ctx, "rg:members:{"+tag+"}", "ghost", "run boot 5")
	}
	if _, err := p.Exec(ctx); err != nil {
		b.Fatal(err)
	}
	return func() {
		for _, tag := range b.tags() {
			p.HDel(ctx, "rg:members:{"+tag+"}", "ghost")
		}
		if _, err := p.Exec(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// tags are the hash tags of the partitions.
func (b *bench) tags() []string {
	if _, cluster := b.rdb.(*redis.ClusterClient); cluster || b.health.singleKeyOnly {
		return store.PartitionTags[:]
	}
	return []string{"0"}
}

var li = window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmLi"}
