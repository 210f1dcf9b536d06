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
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// cluster is a bench on three masters, with an open window each for many customers.
type cluster struct {
	*bench
	nodes []*storetest.Server
	keys  []window.Key
}

func newCluster(t *testing.T, customers int) *cluster {
	t.Helper()
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

// reserveAll counts a reply for each of the customers, all at once: left are left.
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

// node is which one has a key.
func (c *cluster) node(k window.Key) int {
	c.Helper()
	master, err := c.rdb.(*redis.ClusterClient).MasterForKey(c.Context(), k.Spell("rg:"))
	if err != nil {
		c.Fatal(err)
	}
	return slices.IndexFunc(c.nodes, func(n *storetest.Server) bool { return n.Addr() == master.Options().Addr })
}

// moves gives the slot of a key to another node. between runs while it is on the way.
func (c *cluster) moves(k window.Key, between func()) {
	c.Helper()
	from := c.node(k)
	to := (from + 1) % len(c.nodes)
	ask := func(node int, args ...string) string { return strings.TrimSpace(c.nodes[node].CLI(args...)) }
	slot, host, port := ask(from, "cluster", "keyslot", k.Spell("rg:")), "", ""
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

// Three masters: every script finds its slot, and a listing sees them all.
func TestCluster(t *testing.T) {
	c := newCluster(t, 300)
	for _, k := range c.keys[:50] {
		c.settle(k, c.reserve(k, window.Open, 4), window.Rejected)
		c.reserve(k, window.Open, 4)
	}
	if all, more, err := c.List(t.Context(), "ww1", 1000); err != nil || more || len(all) != 300 {
		t.Fatalf("List = %d windows, more %v, %v", len(all), more, err)
	}
}

// Replies of the same moment count one each, whichever nodes they are on, though nodes forget their
// scripts, a slot moves, and a key holds no window.
func TestClusterCountsTogether(t *testing.T) {
	c := newCluster(t, 300)
	c.reserveAll(c.keys, 4)
	for _, n := range c.nodes {
		n.CLI("script", "flush")
	}
	c.reserveAll(c.keys, 3)
	c.moves(c.keys[0], func() { c.reserveAll(c.keys, 2) })
	c.reserveAll(c.keys, 1)
	if err := c.rdb.Set(t.Context(), c.keys[0].Spell("rg:"), "x", 0).Err(); err != nil {
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

// Where replies are not counted, windows of all nodes are looked at together.
func TestClusterLooksTogether(t *testing.T) {
	c := newCluster(t, 300)
	c.Store = window.NewShared(c.rdb, c.health, journal(t), settings(0, c.clock.Now))
	c.reserveAll(c.keys, -1)
	if a := c.Reserve(t.Context(), window.Key{Corp: "ww1", Channel: "wk1", Customer: "wmNobody"}); a.State != window.Closed {
		t.Errorf("nobody's window: state %d", a.State)
	}
}

// A node that hangs keeps nobody waiting whose window is on another.
func TestClusterNodesWaitForThemselves(t *testing.T) {
	c := newCluster(t, 100)
	hangs := c.node(c.keys[0])
	others := slices.DeleteFunc(slices.Clone(c.keys), func(k window.Key) bool { return c.node(k) == hangs })
	c.nodes[hangs].Signal(syscall.SIGSTOP)
	thaw := sync.OnceFunc(func() { c.nodes[hangs].Signal(syscall.SIGCONT) })
	defer thaw()
	var held sync.WaitGroup
	var answered atomic.Int64
	for _, k := range c.keys {
		if !slices.Contains(others, k) {
			held.Go(func() {
				c.Reserve(t.Context(), k)
				answered.Add(1)
			})
		}
	}
	c.reserveAll(others, 4)
	if n := answered.Load(); n > 0 {
		t.Errorf("the node that hangs has answered %d", n)
	}
	thaw()
	held.Wait()
}

// A Redis that took scripts of several keys, and does so no longer, is asked for each key by
// itself: it became a proxy over shards.
func TestKeysOfSeveralSlots(t *testing.T) {
	c := storetest.OneNode(t)
	c.Mode = config.RedisSingle // to which a node says what a proxy says
	s := storetest.Open(t, c, time.Now)
	if s.MultiKey() {
		t.Error("its scripts are taken to have several keys")
	}
	w := window.NewShared(s.UniversalClient, &health{}, journal(t), settings(5, time.Now))
	var keys []window.Key
	var facts []window.Fact
	for n := range 20 {
		keys = append(keys, window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", n)})
		facts = append(facts, window.Fact{Key: keys[n], At: time.Now()})
	}
	if _, err := w.Record(t.Context(), facts); err != nil {
		t.Fatal(err)
	}
	for left := 4; left >= 0; left-- {
		answers, errs := w.AskTogether(t.Context(), keys...)
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
