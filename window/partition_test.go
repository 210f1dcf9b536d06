package window

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

// inPartition returns n window keys with slots of a partition.
func inPartition(partition, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := (Key{Corp: "ww1", Channel: "wk1", Customer: "wm" + strconv.Itoa(i)}).redisKey("rg:"); store.Partition(key) == partition {
			keys = append(keys, key)
		}
	}
	return keys
}

// In a Cluster the lease of a key's partition is on the key's node, also where one is split: three
// primaries have the slots up to 5460, up to 10922 and the rest.
func TestPartitionOfInACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts three redis-server nodes")
	}
	c, _ := storetest.StartCluster(t, 0)
	s := storetest.Open(t, c, time.Now)
	w := joined(t, s)
	all := w.partitioned()
	if len(all) != 64 {
		t.Fatalf("%d partitions", len(all))
	}
	ctx := t.Context()
	var elsewhere int
	for n := range all {
		for _, key := range inPartition(n, 12) {
			p := w.partitionOf(ctx, all, key)
			if p == nil {
				t.Fatalf("%s is not covered", key)
			}
			node := w.nodeOf(ctx, key)
			if node == "" || w.nodeOf(ctx, "{"+p.tag+"}") != node {
				t.Errorf("%s is on %s, and its lease {%s} on %s", key, node, p.tag, w.nodeOf(ctx, "{"+p.tag+"}"))
			}
			switch at := slices.Index(all, p); {
			case at == n:
			case n != 21 && n != 42: // of 5376 to 5631, and of 10752 to 11007
				t.Errorf("%s of the whole partition %d is covered by %d", key, n, at)
			case at != n-1 && at != n+1:
				t.Errorf("%s of the split partition %d is covered by %d, which is not the nearest", key, n, at)
			default:
				elsewhere++
			}
		}
	}
	if elsewhere == 0 {
		t.Error("no key of a split partition is on the other node than its tag")
	}
	for _, n := range []int{21, 42} { // writes and proofs on both nodes of the partition
		for _, key := range inPartition(n, 12) {
			k, _ := parseKey("rg:", key)
			if err := w.Acquire(ctx); err != nil {
				t.Fatal(err)
			}
			proves(t, w, question{window: key, scope: w.ofMessages(k)})
			if _, _, err := w.write(ctx, writes{facts: map[Key]int64{k: time.Now().UnixMilli()}}); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
	}
}

// Without a partition on its node no key is covered.
func TestPartitionOfNowhere(t *testing.T) {
	c := storetest.OneNode(t)
	w := joined(t, storetest.Open(t, c, time.Now))
	all := w.partitioned()
	if p := w.partitionOf(t.Context(), all, "rg:since"); p != all[store.Partition("rg:since")] {
		t.Errorf("one node: %v", p)
	}
	if w.partitionOf(t.Context(), nil, "rg:since") != nil {
		t.Error("a key without any partition is covered")
	}
}

// Behind a sharding proxy each partition covers its own slots, in a single Redis one covers all,
// and before Redis has answered there is none.
func TestPartitioned(t *testing.T) {
	single := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	for name, c := range map[string]struct {
		rdb    redis.UniversalClient
		health Health
		want   int
	}{
		"single":         {single.UniversalClient, checked{}, 1},
		"a proxy":        {single.UniversalClient, checked{oneKey: true}, 64},
		"not yet known":  {single.UniversalClient, unknown{}, 0},
		"a Cluster":      {storetest.Open(t, storetest.OneNode(t), time.Now).UniversalClient, unknown{}, 64},
		"embedded store": {storetest.Open(t, storetest.Embedded(t), time.Now).UniversalClient, nil, 0},
	} {
		set := Settings{Prefix: "rg:", Length: time.Hour, Timeout: 5 * time.Second, Now: time.Now}
		w := NewEmbedded(c.rdb, c.health, set)
		if c.health != nil {
			w = NewShared(c.rdb, c.health, openJournal(t), set)
		}
		all := w.partitioned()
		if len(all) != c.want {
			t.Errorf("%s: %d partitions, want %d", name, len(all), c.want)
			continue
		}
		for i, p := range w.partitioned() {
			if p != all[i] {
				t.Errorf("%s: partition %d is made anew", name, i)
			}
		}
		for n := 0; n < len(all); n += 7 {
			for _, key := range inPartition(n, 3) {
				if w.partitionOf(t.Context(), all, key) != all[n] {
					t.Errorf("%s: %s is not covered by partition %d", name, key, n)
				}
			}
		}
	}
}

// unknown is a Redis that has not answered.
type unknown struct{ checked }

func (unknown) Checked() bool { return false }

// If a single Redis turns out to be a sharding proxy, the partitions are made anew.
func TestPartitionedBecomesAProxy(t *testing.T) {
	s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	w := joined(t, s)
	w.health = checked{oneKey: true}
	all := w.partitioned()
	if len(all) != 64 || w.Status().Held {
		t.Errorf("%d partitions, held %v", len(all), w.Status().Held)
	}
	if _, _, err := w.write(t.Context(), messages("wm", 3)); !errors.Is(err, errNotJoined) {
		t.Errorf("write before the leases are joined: %v", err)
	}
	for range 2 {
		if err := w.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if st := w.Status(); !st.Held || st.Members != 1 {
		t.Errorf("%+v", st)
	}
}

// Through a proxy over two shards, windows on both are written and proven.
func TestPartitionsBehindAProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts servers and a proxy")
	}
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprint("strict=", strict), func(t *testing.T) {
			s := storetest.Open(t, storetest.StartShards(t, strict), time.Now)
			w := joined(t, s)
			for n := range 10 {
				k := Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprint("wm", n)}
				if err := w.Acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
				proves(t, w, question{window: k.redisKey("rg:"), scope: w.ofMessages(k)})
				if _, _, err := w.write(t.Context(), writes{facts: map[Key]int64{k: time.Now().UnixMilli()}}); err != nil {
					t.Errorf("%s: %v", k.Customer, err)
				}
			}
		})
	}
}

// Behind a proxy the shards need not begin where partitions do: a window may be on another shard
// than the lease of its partition. What that shard loses is noticed all the same, at once.
func TestProxySplitsAPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts servers and a proxy")
	}
	c, servers, shardOf := storetest.StartShardServers(t, false, 3)
	w := joined(t, storetest.Open(t, c, time.Now))
	k := Key{Corp: "ww1"}
	lease := func(key string) int { return shardOf("{" + store.PartitionTags[store.Partition(key)] + "}") }
	apart := func() bool { // neither its lease nor anything else that a proof needs is on its shard
		key := k.redisKey("rg:")
		for _, other := range []string{key, "rg:since", w.gapKey(k.Corp), w.gapKey(k.Channel), w.backfillKey(k.Channel)} {
			if lease(other) == shardOf(key) || other != key && shardOf(other) == shardOf(key) {
				return false
			}
		}
		return true
	}
	for n := 0; !apart(); n++ {
		k.Channel, k.Customer = fmt.Sprint("wk", n%100), fmt.Sprint("wm", n)
	}
	q := question{window: k.redisKey("rg:"), scope: w.ofMessages(k)}
	proves(t, w, q)
	servers[shardOf(k.redisKey("rg:"))].CLI("flushall")
	if p := w.prove(t.Context(), q)[0]; p.err != nil || p.cause == "" {
		t.Errorf("its shard has lost everything: %q, %v", p.cause, p.err)
	}
}

// A window that an operator has closed is closed again after Redis has lost that, with or without
// the message before.
func TestCloseIsRepeated(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		if s.Embedded != nil {
			t.Skip("its journal has every change")
		}
		for what, loses := range map[string]func(key string) error{
			"the closing": func(key string) error { return s.HDel(t.Context(), key, "shut").Err() },
			"both":        func(key string) error { return s.Del(t.Context(), key).Err() },
		} {
			w := joined(t, s)
			k := Key{Corp: "ww1", Channel: "wk1", Customer: "wmLi"}
			if _, err := w.Record(t.Context(), []Fact{{Key: k, At: time.Now()}}); err != nil {
				t.Fatal(err)
			}
			if found, err := w.Close(t.Context(), k); !found || err != nil {
				t.Fatalf("Close = %v, %v", found, err)
			}
			if err := loses(k.redisKey("rg:")); err != nil {
				t.Fatal(err)
			}
			if err := w.applyNow(t.Context(), w.writesOf(w.recent.all())); err != nil {
				t.Fatal(err)
			}
			if now, err := w.read(t.Context(), k.redisKey("rg:")); err != nil || now.Shut != now.Last || now.Last == 0 {
				t.Errorf("%s: %+v, %v", what, now, err)
			}
			s.Del(t.Context(), k.redisKey("rg:"))
		}
	})
}

// The answer of lease.lua is parsed as it is written.
func TestReadLeaseAnswer(t *testing.T) {
	t.Parallel()
	cmd := func(parts ...any) *redis.Cmd { return redis.NewCmdResult(parts, nil) }
	members := []any{"me", "run boot 5", "other", "run2 boot2 0 left", "odd"}
	a, err := readLeaseAnswer(cmd("run", int64(1), int64(0), members, []any{"held boot.1 7 run", nil}), []string{"me", "other"})
	if err != nil || a.run != "run" || !a.done || a.evicts || len(a.members) != 2 || len(a.leases) != 1 || a.leases["me"] != "held boot.1 7 run" {
		t.Errorf("%+v, %v", a, err)
	}
	if got, want := a.members["other"], (member{run: "run2", boot: "boot2", left: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	a, err = readLeaseAnswer(cmd("-", int64(0), int64(1), []any{}, []any{}), []string{"me"})
	if err != nil || a.run != "-" || a.done || !a.evicts || len(a.members)+len(a.leases) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
	for name, bad := range map[string]*redis.Cmd{
		"an error":   redis.NewCmdResult(nil, wrongType{}),
		"no list":    redis.NewCmdResult("OK", nil),
		"four parts": cmd("run", int64(1), int64(0), members),
	} {
		if a, err := readLeaseAnswer(bad, nil); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// A gateway that leaves in order is no member any more, unless its journal holds something.
func TestLeave(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		if s.Embedded != nil {
			t.Skip("it has no leases")
		}
		for _, dirty := range []bool{false, true} {
			w, other := joined(t, s), joined(t, s)
			if dirty {
				spilled(t, w, 1)
			}
			for _, p := range w.partitioned() {
				w.end(p)
			}
			if err := other.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			st, want := other.Status(), 1
			if dirty {
				want = 2
			}
			if st.Members != want || !st.Held {
				t.Errorf("with a journal %v: %+v, want %d members", dirty, st, want)
			}
			for _, p := range other.partitioned() {
				other.leave(p)
			}
			s.FlushAll(t.Context())
		}
	})
}

// A gateway that ends leaves in order also if its lease has just expired, so that the others are
// not unsure. With a journal that holds what Redis lacks, or without Redis, it stays a member.
func TestLeavesInOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before func(t *testing.T, w *Store, p *partition)
		left   bool
	}{
		"held":               {func(*testing.T, *Store, *partition) {}, true},
		"this process slept": {func(_ *testing.T, _ *Store, p *partition) { p.lease.answeredAt = time.Now().Add(-leaseTTL) }, true},
		"the lease expired unnoticed": {func(t *testing.T, w *Store, p *partition) {
			w.rdb.Del(t.Context(), "rg:lease:{"+p.tag+"}:"+w.gateway)
		}, true},
		"the lease expired": {func(t *testing.T, w *Store, p *partition) {
			w.rdb.Del(t.Context(), "rg:lease:{"+p.tag+"}:"+w.gateway)
			p.lease.answeredAt = time.Now().Add(-leaseTTL)
		}, true},
		"the journal is not empty": {func(t *testing.T, w *Store, _ *partition) { spilled(t, w, 1) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storetest.Open(t, storetest.Start(t).Config(), time.Now)
			w, other := joined(t, s), joined(t, s)
			p := w.partitioned()[0]
			test.before(t, w, p)
			w.end(p)
			a, err := other.exchange(t.Context(), other.partitioned()[0], exchange{action: readLeases, ids: []string{other.gateway}})
			if err != nil || a.members[w.gateway].boot == "" || a.members[w.gateway].left != test.left {
				t.Errorf("the entry is %+v, %v; left must be %v", a.members[w.gateway], err, test.left)
			}
		})
	}
}

// Without Redis a gateway ends at once, whether it holds its lease or not.
func TestLeavesWithoutRedis(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	c := server.Config()
	c.Addrs = []string{wire.Addr().String()}
	w := joined(t, storetest.Open(t, c, time.Now))
	p := w.partitioned()[0]
	wire.Cut()
	p.lease.answeredAt = time.Now().Add(-leaseTTL)
	w.end(p)
	if p.failure == nil {
		t.Error("the lease was renewed without Redis")
	}
}
