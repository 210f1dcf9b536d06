package window_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// cluster is a bench on three primaries, with an open window for each of many customers.
type cluster struct {
	*bench
	nodes []*storetest.Server
	keys  []window.Key
}

func newCluster(t *testing.T, customers int) *cluster {
	t.Helper()
	slow(t, "starts three redis-server nodes")
	c, nodes := storetest.StartCluster(t, 0)
	clock := wecomtest.NewClock()
	s := storetest.Open(t, c, clock.Now)
	cl := &cluster{bench: newBench(t, s, clock, settings(5, clock.Now)), nodes: nodes}
	facts := make([]window.Fact, customers)
	for i := range facts {
		cl.keys = append(cl.keys, window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", i)})
		facts[i] = window.Fact{Key: cl.keys[i], At: clock.Now()}
	}
	if tally, err := cl.Record(t.Context(), facts); err != nil || tally.Recorded != customers {
		t.Fatalf("Record = %+v, %v", tally, err)
	}
	return cl
}

// reserveAll reserves a reply for each of the customers, concurrently, and expects so many left.
func (c *cluster) reserveAll(keys []window.Key, left int) {
	c.Helper()
	var all sync.WaitGroup
	for _, k := range keys {
		all.Go(func() {
			if a := c.Reserve(c.Context(), k); a.State != window.Open || a.Left != left {
				c.Errorf("%s: state %d, left %d; want %d left", k.Customer, a.State, a.Left, left)
			}
		})
	}
	all.Wait()
}

// node returns the index of the node that has a key.
func (c *cluster) node(k window.Key) int {
	c.Helper()
	master, err := c.rdb.(*redis.ClusterClient).MasterForKey(c.Context(), k.RedisKey("rg:"))
	if err != nil {
		c.Fatal(err)
	}
	return slices.IndexFunc(c.nodes, func(n *storetest.Server) bool { return n.Addr() == master.Options().Addr })
}

// move moves the slot of a key to another node. between runs in the middle of it.
func (c *cluster) move(k window.Key, between func()) {
	c.Helper()
	from := c.node(k)
	to := (from + 1) % len(c.nodes)
	ask := func(node int, args ...string) string { return strings.TrimSpace(c.nodes[node].CLI(args...)) }
	slot, host, port := ask(from, "cluster", "keyslot", k.RedisKey("rg:")), "", ""
	host, port, _ = strings.Cut(c.nodes[to].Addr(), ":")
	ids := []string{ask(0, "cluster", "myid"), ask(1, "cluster", "myid"), ask(2, "cluster", "myid")}
	ask(to, "cluster", "setslot", slot, "importing", ids[from])
	ask(from, "cluster", "setslot", slot, "migrating", ids[to])
	for _, key := range strings.Fields(ask(from, "cluster", "getkeysinslot", slot, "1000")) {
		ask(from, "migrate", host, port, key, "0", "5000")
	}
	between()
	for _, node := range []int{to, from, 3 - to - from} {
		ask(node, "cluster", "setslot", slot, "node", ids[to])
	}
}

// On three primaries every script finds its slot, and a listing has all windows.
func TestCluster(t *testing.T) {
	c := newCluster(t, 300)
	for _, k := range c.keys[:50] {
		c.settle(k, c.reserve(k, window.Open, 4), window.Rejected)
		c.reserve(k, window.Open, 4)
	}
	if all := scanAll(t, c.Store, "ww1", 100); len(all) != 300 {
		t.Fatalf("%d windows", len(all))
	}
}

// Concurrent reservations count one reply each on every node, also after the nodes lose their
// scripts, while a slot moves, and if one key holds no window.
func TestClusterReserves(t *testing.T) {
	c := newCluster(t, 300)
	c.reserveAll(c.keys, 4)
	for _, n := range c.nodes {
		n.CLI("script", "flush")
	}
	c.reserveAll(c.keys, 3)
	c.move(c.keys[0], func() { c.reserveAll(c.keys, 2) })
	c.reserveAll(c.keys, 1)
	if err := c.rdb.Set(t.Context(), c.keys[0].RedisKey("rg:"), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var broken sync.WaitGroup
	broken.Go(func() {
		if a := c.Reserve(t.Context(), c.keys[0]); a.State != window.Unavailable && a.State != window.Cached {
			t.Errorf("a key that holds no window: state %d", a.State)
		}
	})
	c.reserveAll(c.keys[1:], 0)
	broken.Wait()
}

// Messages of new customers are recorded while their slot moves, however long that takes.
func TestClusterRecordsWhileASlotMoves(t *testing.T) {
	c := newCluster(t, 10)
	slot := store.Slot(c.keys[0].RedisKey("rg:"))
	var fresh window.Key
	for i := 0; fresh.Customer == ""; i++ {
		if k := (window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wmFresh%d", i)}); store.Slot(k.RedisKey("rg:")) == slot {
			fresh = k
		}
	}
	for _, n := range c.nodes {
		n.CLI("script", "flush")
	}
	c.move(c.keys[0], func() {
		for _, k := range []window.Key{fresh, c.keys[0]} {
			c.wrote(k, c.clock.Now())
		}
		if causes := c.Status().Causes; slices.Contains(causes, window.CauseJournal) {
			t.Error("a message is in the journal")
		}
	})
	c.reserve(fresh, window.Open, 4)
}

// A new node that has some slots, and none of those with leases, takes messages at once. Replies
// there without a window are unsure; on other nodes they are refused as before.
func TestClusterNodeWithoutLease(t *testing.T) {
	c := newCluster(t, 10)
	added := storetest.AddNode(t, c.nodes)
	const moved = 20
	for _, tag := range store.PartitionTags {
		if store.Slot("{"+tag+"}") < moved {
			t.Fatalf("the lease of {%s} would move too", tag)
		}
	}
	storetest.Reshard(c.nodes[0], added, moved)
	var there []window.Key
	for i := 0; len(there) < 2; i++ {
		if k := (window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wmNew%d", i)}); store.Slot(k.RedisKey("rg:")) < moved {
			there = append(there, k)
		}
	}
	cluster := c.rdb.(*redis.ClusterClient)
	within(t, "the client to know the new node", func() bool {
		cluster.ReloadState(t.Context())
		node, err := cluster.MasterForKey(t.Context(), there[0].RedisKey("rg:"))
		return err == nil && node.Options().Addr == added.Addr()
	})
	c.wrote(there[0], c.clock.Now())
	if causes := c.Status().Causes; slices.Contains(causes, window.CauseJournal) {
		t.Error("the message is in the journal")
	}
	c.since(-2 * length)
	other := c.other()
	if a := other.Reserve(t.Context(), there[0]); a.State != window.Open {
		t.Errorf("a customer who wrote, on the new node: %s", a.State)
	}
	agree(t, c.Store, other)
	nobody := window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmNobody"}
	for _, w := range []*window.Store{c.Store, other} {
		if a := settled(window.Closed, func() window.Answer { return w.Peek(t.Context(), nobody)[0] }); a.State != window.Closed {
			t.Errorf("nobody, on an old node: %s", a.State)
		}
		if a := w.Peek(t.Context(), there[1])[0]; a.State != window.Unproven {
			t.Errorf("nobody, on the new node: %s", a.State)
		}
	}
}

// Without a count of replies, windows of all nodes are read.
func TestClusterUncounted(t *testing.T) {
	c := newCluster(t, 300)
	c.Store, _ = newStore(t, c.client, settings(0, c.clock.Now))
	c.reserveAll(c.keys, -1)
	c.reserve(window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmNobody"}, window.Closed, -1)
}

// A node that hangs delays no reservation on other nodes.
func TestClusterHangingNode(t *testing.T) {
	c := newCluster(t, 100)
	hangs := c.node(c.keys[0])
	others := slices.DeleteFunc(slices.Clone(c.keys), func(k window.Key) bool { return c.node(k) == hangs })
	c.nodes[hangs].Signal(syscall.SIGSTOP)
	resume := sync.OnceFunc(func() { c.nodes[hangs].Signal(syscall.SIGCONT) })
	defer resume()
	var delayed sync.WaitGroup
	var answered atomic.Int64
	for _, k := range c.keys {
		if !slices.Contains(others, k) {
			delayed.Go(func() {
				c.Reserve(t.Context(), k)
				answered.Add(1)
			})
		}
	}
	c.reserveAll(others, 4)
	if n := answered.Load(); n > 0 {
		t.Errorf("the node that hangs has answered %d", n)
	}
	resume()
	delayed.Wait()
}

// If a sharding proxy takes the place of a single Redis, a script with several keys is rejected,
// and each key gets its own script.
func TestFallbackToOneKeyPerScript(t *testing.T) {
	c := storetest.OneNode(t)
	c.Mode = config.RedisSingle // a node of a Cluster rejects keys of several slots as a proxy does
	s := storetest.Open(t, c, time.Now)
	if s.MultiKey() {
		t.Error("MultiKey is true")
	}
	w := window.NewShared(s.UniversalClient, &health{}, journal(t), settings(5, time.Now))
	run(t, w)
	var keys []window.Key
	var facts []window.Fact
	for n := range 20 {
		keys = append(keys, window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", n)})
		facts = append(facts, window.Fact{Key: keys[n], At: time.Now()})
	}
	if _, err := w.Record(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	var replies []window.Reply
	for _, k := range keys {
		replies = append(replies, window.Reply{Key: k, Kind: window.ByBot, At: time.Now(), ID: k.Customer})
	}
	open, err := w.RecordReplies(t.Context(), replies)
	if err != nil || len(open) != len(keys) {
		t.Errorf("replies to %d customers are on record, %v", len(open), err)
	}
	for left := 4; left >= 0; left-- {
		answers, errs := w.ReserveTogether(t.Context(), keys...)
		for i, a := range answers {
			if errs[i] != nil || a.State != window.Open || a.Left != left {
				t.Errorf("%s: %+v, %v; want %d left", keys[i].Customer, a, errs[i], left)
			}
		}
		if len(answers) != len(keys) {
			t.Fatal(errs)
		}
	}
}
