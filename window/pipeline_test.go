package window

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// durable is a redis-server that loses nothing when it is killed.
func durable(t *testing.T) (*storetest.Server, *store.Client) {
	t.Helper()
	server := storetest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	return server, storetest.Open(t, server.Config(), time.Now)
}

// A write in a process of Redis that this gateway has not joined does not count: it is neither
// acknowledged nor kept for a repetition. It goes to the journal until that process is joined.
func TestWriteInAnotherProcess(t *testing.T) {
	server, s := durable(t)
	w := joined(t, s)
	now := time.Now().UnixMilli()
	one := func(name string) writes {
		return writes{facts: map[Key]int64{{Corp: "ww1", Customer: name}: now}}
	}
	if _, _, err := w.write(t.Context(), one("wmBefore")); err != nil {
		t.Fatal(err)
	}
	server.Down()
	server.Up()
	storetest.AwaitServing(t, s)
	if _, _, err := w.write(t.Context(), one("wmAfter")); !errors.Is(err, errNotJoined) {
		t.Fatalf("write = %v, want errNotJoined", err)
	}
	if kept := w.recent.all(); kept.len() != 1 {
		t.Errorf("%d writes are kept, want the first alone", kept.len())
	}
	if err := w.commit(t.Context(), backlog{writes: one("wmAfter")}); err != nil || w.journal.Empty() {
		t.Errorf("commit = %v, journal empty %v", err, w.journal.Empty())
	}
	if kept := w.recent.all(); kept.len() != 1 {
		t.Errorf("%d writes are kept, want the first alone", kept.len())
	}
	if err := w.Acquire(t.Context()); err != nil || w.Status().Held {
		t.Errorf("with a journal: held %v, %v", w.Status().Held, err)
	}
	if w.drain(t.Context()); !w.journal.Empty() {
		t.Error("the journal does not drain into the process that is joined now")
	}
	for range 3 { // a repair, if the lease has expired meanwhile, a join and a renewal
		if err := w.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if st := w.Status(); !st.Held || len(st.Causes) > 0 {
		t.Errorf("after the drain: %+v", st)
	}
	if _, _, err := w.write(t.Context(), one("wmLast")); err != nil {
		t.Error(err)
	}
	if kept := w.recent.all(); kept.len() != 3 {
		t.Errorf("%d writes are kept, want 3", kept.len())
	}
	if gaps := w.GapCounts(); len(gaps) > 0 {
		t.Errorf("nothing was lost, and there are gaps: %v", gaps)
	}
}

// If Redis is restarted between two chunks, none of them counts.
func TestRestartBetweenChunks(t *testing.T) {
	server, s := durable(t)
	w := joined(t, s)
	p := &pipelines{}
	p.then = func(n int) {
		if n == 2 { // the first has no script yet, and is sent twice
			server.Down()
			server.Up()
			storetest.AwaitServing(t, s)
		}
	}
	s.AddHook(p)
	_, _, err := w.write(t.Context(), messages("wm", 2*maxChunk))
	if kept := w.recent.all(); !errors.Is(err, errNotJoined) || kept.len() > 0 {
		t.Errorf("write = %v, %d writes are kept", err, kept.len())
	}
	if len(p.sizes) < 3 {
		t.Errorf("pipelines of %v: the restart came after the last", p.sizes)
	}
}

// Before Redis has been checked, or where it was never joined, nothing counts as written.
func TestWriteWithoutAJoin(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		if s.Embedded != nil {
			w := NewEmbedded(s.UniversalClient, checked{}, Settings{Prefix: "rg:", Length: time.Hour, Timeout: 5 * time.Second, Now: time.Now})
			if _, from, err := w.write(t.Context(), messages("wm", 3)); err != nil || !from.IsZero() {
				t.Errorf("an embedded store needs no join: %v, %v", from, err)
			}
			return
		}
		w := joined(t, s)
		w.leases.partitions = nil // forgets the join
		if _, _, err := w.write(t.Context(), messages("wm", 3)); !errors.Is(err, errNotJoined) {
			t.Errorf("write = %v, want errNotJoined", err)
		}
		if err := w.applyNow(t.Context(), w.writesOf(messages("wm", 3))); !errors.Is(err, errNotJoined) {
			t.Errorf("applyNow = %v, want errNotJoined", err)
		}
		if kept := w.recent.all(); kept.len() > 0 {
			t.Errorf("%d writes are kept", kept.len())
		}
	})
}

// Without a script in Redis, pipelines are sent again with its text.
func TestPipelinesAfterScriptFlush(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		if s.Embedded != nil {
			t.Skip("it keeps scripts")
		}
		w := joined(t, s)
		if err := s.Set(t.Context(), "rg:since", 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
		q := question{window: Key{Corp: "ww1", Customer: "wmNever"}.redisKey("rg:")}
		for range 3 {
			for range 2 {
				if err := w.Acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			proves(t, w, q, q)
			if err := s.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			all := messages("wm", 300)
			all.codes, all.marks = []LearntCode{{Text: "CODE"}}, map[string]int64{"rg:gap:ww1": time.Now().UnixMilli()}
			for k := range all.facts {
				all.facts[k] = time.Now().UnixMilli()
			}
			if _, _, err := w.write(t.Context(), all); err != nil {
				t.Errorf("write: %v", err)
			}
		}
		for _, k := range []Key{{Corp: "ww1", Customer: "wm0"}, {Corp: "ww1", Customer: "wm299"}} {
			if n := s.Exists(t.Context(), k.redisKey("rg:")).Val(); n != 1 {
				t.Errorf("%s is not there", k.Customer)
			}
		}
	})
}

// After a change to another process of Redis, nothing is acknowledged before the lease in the one
// before has expired: with a split brain other gateways may still count it there.
func TestAcknowledgeAfterAFailover(t *testing.T) {
	for _, failover := range []bool{false, true} {
		w, want := joined(t, storetest.Open(t, storetest.Start(t).Config(), time.Now)), time.Time{}
		if p := w.partitioned()[0]; failover {
			p.lease.run, p.lease.value, want = "another process", "", p.lease.expires
		}
		for range 2 {
			if err := w.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, from, err := w.write(t.Context(), messages("wm", 1)); err != nil || !from.Equal(want) {
			t.Errorf("failover %v: acknowledged from %v, want %v; %v", failover, from, want, err)
		}
		b := newBacklog()
		b.codes = []LearntCode{{Text: fmt.Sprint(failover)}}
		if err := w.commit(t.Context(), b); err != nil || time.Now().Before(want) || !w.journal.Empty() {
			t.Errorf("failover %v: commit = %v, %s too early", failover, err, time.Until(want))
		}
	}
}

// A gap is kept as long as it counts, and rg:since without an end. One that counts no more is not
// written.
func TestWritesOfMarks(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(noon)
	s := &Store{Settings: Settings{Prefix: "rg:", Length: time.Hour, Now: func() time.Time { return now }}}
	hour := time.Hour.Milliseconds()
	all := s.writesOf(writes{marks: map[string]int64{"rg:since": noon - 2*hour, "rg:gap:old": noon - hour, "rg:gap:half": noon - hour/2, "rg:gap:ahead": noon + 1}})
	got := map[string][]any{}
	for _, w := range all {
		got[w.keys[0]] = w.args
	}
	want := map[string][]any{"rg:since": {noon - 2*hour, 0}, "rg:gap:half": {noon - hour/2, hour / 2}, "rg:gap:ahead": {noon + 1, hour + 1}}
	if len(got) != len(want) {
		t.Errorf("%v is written, want %v", got, want)
	}
	for key, args := range want {
		if !slices.Equal(got[key], args) {
			t.Errorf("%s: %v, want %v", key, got[key], args)
		}
	}
}

// A round trip has the keys of one node, and one read of the lease of each of their partitions.
func TestRoutes(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, c config.Redis, s *store.Client) {
		if s.Embedded != nil {
			t.Skip("it has no leases")
		}
		w := joined(t, s)
		keys := []string{"rg:since", "rg:window:{a:b:c}", "rg:window:{a:b:d}", "rg:since", "rg:gap:a"}
		partitions := map[int]bool{}
		for _, key := range keys {
			partitions[store.Partition(key)] = true
		}
		want := 1
		if c.Mode == config.RedisCluster {
			want = len(partitions)
		}
		routes, err := w.routes(t.Context(), len(keys), func(i int) string { return keys[i] })
		if err != nil || len(routes) != 1 || !slices.Equal(routes[0].keys, []int{0, 1, 2, 3, 4}) || len(routes[0].partitions) != want {
			t.Errorf("%+v, %v; want %d partitions", routes[0], err, want)
		}
	})
}

// A failure of one route is the failure of all.
func TestEachRoute(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	for _, c := range []struct {
		routes int
		fails  map[int]bool
	}{{0, nil}, {1, nil}, {3, nil}, {1, map[int]bool{0: true}}, {3, map[int]bool{2: true}}, {3, map[int]bool{0: true, 1: true}}} {
		routes := make([]*route, c.routes)
		for i := range routes {
			routes[i] = &route{keys: []int{i}}
		}
		done := make([]bool, c.routes)
		err := each(routes, func(r *route) error {
			if done[r.keys[0]] = true; c.fails[r.keys[0]] {
				return failed
			}
			return nil
		})
		if (len(c.fails) > 0) != errors.Is(err, failed) || slices.Contains(done, false) {
			t.Errorf("%+v: %v, done %v", c, err, done)
		}
	}
}

// Parts of writes have so many keys at most, unless one write has more, and leave nothing out.
func TestFit(t *testing.T) {
	t.Parallel()
	all := []write{{keys: make([]string, 16)}, {keys: make([]string, 16)}, {keys: make([]string, 1)}, {keys: make([]string, 5)}}
	for keys, want := range map[int]int{1: 1, 15: 1, 16: 1, 31: 1, 32: 2, 33: 3, 37: 3, 38: 4, 256: 4} {
		if n := fit(all, keys); n != want {
			t.Errorf("%d writes fit %d keys, want %d", n, keys, want)
		}
	}
	if n := fit(nil, 1); n != 0 {
		t.Errorf("%d of no writes", n)
	}
}
