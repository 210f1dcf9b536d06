package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"replygate/store/storetest"
)

// windowKey is the key of the window of a customer on a channel.
func windowKey(channel, customer string) string {
	return "rg:window:{" + corpID + ":" + channel + ":" + customer + "}"
}

// named returns n customers' names, of those that begin with a prefix, for whom a condition holds.
func named(t *testing.T, prefix string, n int, holds func(customer string) bool) (customers []string) {
	t.Helper()
	for i := 0; len(customers) < n; i++ {
		if i == 1_000_000 {
			t.Fatalf("no %d customers named %s", n, prefix)
		}
		if customer := fmt.Sprint(prefix, "x", i); holds(customer) {
			customers = append(customers, customer)
		}
	}
	return customers
}

// shared is a rig of two gateways on one Redis, for replies on one channel.
type shared struct {
	*rig
	gateways []*gateway
	channel  string
	cursor   string
}

// arrive has customers write, and a gateway acknowledge them in a page.
func (s *shared) arrive(g *gateway, customers ...string) {
	s.Helper()
	for _, customer := range customers {
		s.platform.CustomerWrites(corpID, s.channel, customer, "hello")
	}
	a := s.callAt(g, "POST", syncMsg, fmt.Sprintf(`{"open_kfid":%q,"cursor":%q}`, s.channel, s.cursor))
	var page struct {
		Next string            `json:"next_cursor"`
		List []json.RawMessage `json:"msg_list"`
	}
	if err := json.Unmarshal(a.body, &page); err != nil || a.Errcode != 0 || len(page.List) < len(customers) {
		s.Fatalf("sync_msg: %v %.300s", err, a.body)
	}
	s.cursor = page.Next
}

// arriveAndLeave is arrive through a gateway that then stops, so that no other can write again what
// it acknowledged.
func (s *shared) arriveAndLeave(start func() (*gateway, func() <-chan error), customers ...string) {
	s.Helper()
	g, stop := start()
	s.arrive(g, customers...)
	if err := <-stop(); err != nil {
		s.Error(err)
	}
}

// verdict is a gateway's answer to a reply.
type verdict struct {
	gateway         int
	customer        string
	verdict, reason string
	after           time.Duration
}

// denied reports whether the customer is held for one who did not write. A refusal because history
// is incomplete is what cold_start orders in these tests, and says that nobody knows.
func (v verdict) denied() bool { return v.verdict == "refuse" && v.reason != "history_incomplete" }

func (v verdict) String() string {
	return fmt.Sprintf("gateway %d on %s: %s %s, asked after %s", v.gateway, v.customer, v.verdict, v.reason, v.after.Round(time.Millisecond))
}

func (s *shared) ask(n int, customer string, since time.Time) verdict {
	s.Helper()
	v := verdict{gateway: n, customer: customer, after: time.Since(since)}
	a := s.callAt(s.gateways[n], "POST", sendMsg, strings.ReplaceAll(replyTo(customer), channel, s.channel))
	v.verdict, v.reason = a.Header.Get("Replygate-Verdict"), a.Header.Get("Replygate-Reason")
	return v
}

// askAll asks every gateway about every customer at once, the first ones first.
func (s *shared) askAll(customers []string) (all []verdict) {
	s.Helper()
	began := time.Now()
	todo := make(chan verdict)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for v := range todo {
				v = s.ask(v.gateway, v.customer, began)
				mu.Lock()
				all = append(all, v)
				mu.Unlock()
			}
		})
	}
	for _, customer := range customers {
		for n := range s.gateways {
			todo <- verdict{gateway: n, customer: customer}
		}
	}
	close(todo)
	asking.Wait()
	return all
}

// settled asks every gateway about customers until no answer is for the moment, and returns the
// last answers. It fails if one who wrote is refused meanwhile.
func (s *shared) settled(wrote bool, customers ...string) (all []verdict) {
	s.Helper()
	for _, customer := range customers {
		for n := range s.gateways {
			var v verdict
			began := time.Now()
			s.await("an answer to "+customer, func() bool {
				if v = s.ask(n, customer, began); wrote && v.denied() {
					s.Fatalf("a customer who wrote: %s", v)
				}
				return v.reason != "store_unavailable"
			})
			all = append(all, v)
		}
	}
	return all
}

// want wants all answers to be as they should. It tells of a few that are not.
func (s *shared) want(what string, all []verdict, holds func(verdict) bool) {
	s.Helper()
	wrong := slices.DeleteFunc(slices.Clone(all), holds)
	if len(wrong) > 0 {
		s.Errorf("%s: %d of %d answers are wrong: %v", what, len(wrong), len(all), wrong[:min(len(wrong), 5)])
	}
}

// reasons counts the answers by verdict and reason.
func reasons(all []verdict) map[string]int {
	count := map[string]int{}
	for _, v := range all {
		count[v.verdict+" "+v.reason]++
	}
	return count
}

// refusals waits until every gateway refuses each of these customers, who never wrote.
func (s *shared) refusals(customers ...string) {
	s.Helper()
	for n := range s.gateways {
		for _, customer := range customers {
			s.await(fmt.Sprintf("gateway %d to refuse %s", n, customer), func() bool { return s.ask(n, customer, time.Now()).reason == "window_closed" })
		}
	}
}

// clusterRig is two gateways on a Cluster of three primaries, for the loss of one of them.
type clusterRig struct {
	*shared
	nodes []*storetest.Server
	owner func(key string) int
	lost  int // the node that a test breaks
}

// newClusterRig chooses a channel whose gap is not on the node that will be lost.
func newClusterRig(t *testing.T, nodes []*storetest.Server, lost int, start func() (*rig, *gateway)) *clusterRig {
	t.Helper()
	c := &clusterRig{nodes: nodes, lost: lost, owner: storetest.OwnerOf(nodes)}
	r, second := start()
	place := named(t, "wkChannel", 1, func(channel string) bool { return c.owner("rg:gap:"+channel) != lost })[0]
	r.platform.AddCorp(corpID, secret, place)
	c.shared = &shared{rig: r, gateways: []*gateway{r.gateway, second}, channel: place}
	for _, g := range c.gateways {
		r.token = r.fetchToken(g)
	}
	return c
}

// on is the node that has a customer's window.
func (c *clusterRig) on(customer string) int { return c.owner(windowKey(c.channel, customer)) }

// borders are the first slots of the partitions that are split between two of three primaries.
var borders = []int{5376, 10752}

// atBorder reports whether a customer's window is on the lost node, in a partition that is split
// between two nodes and has its tag on the other one.
func (c *clusterRig) atBorder(customer string) bool {
	slot := storetest.Slot(windowKey(c.channel, customer))
	first := slot / 256 * 256
	if !slices.Contains(borders, first) || c.on(customer) != c.lost {
		return false
	}
	for tag := 0; ; tag++ {
		if key := fmt.Sprint("{", tag, "}"); storetest.Slot(key)/256*256 == first {
			return c.owner(key) != c.lost
		}
	}
}

// everyNode are customers, some on each node. Those on the lost one come first, and before them
// those at a border.
func (c *clusterRig) everyNode(prefix string, each int) (onLost, elsewhere []string) {
	c.Helper()
	if c.lost != 1 { // both tags are on the node in the middle
		onLost = named(c.T, prefix+"Border", each, c.atBorder)
	}
	for node := range c.nodes {
		customers := named(c.T, fmt.Sprint(prefix, node), each, func(customer string) bool { return c.on(customer) == node })
		if node == c.lost {
			onLost = append(onLost, customers...)
		} else {
			elsewhere = append(elsewhere, customers...)
		}
	}
	return onLost, elsewhere
}

// A node of a Cluster that loses everything takes messages with it that no gateway can record
// again. From the first moment on nobody is refused because they are missing, and customers on
// other nodes get their answers as before.
func TestClusterNodeFlushed(t *testing.T) {
	redis, nodes := storetest.StartCluster(t, 0)
	for lost := range nodes {
		t.Run(fmt.Sprint("node ", lost), func(t *testing.T) {
			for _, n := range nodes {
				n.CLI("flushall")
			}
			c := newClusterRig(t, nodes, lost, func() (*rig, *gateway) {
				r := newRig(t, faulty(t, redis), strictAndPrompt(nil))
				return r, r.start(faulty(t, redis), strictAndPrompt(nil))
			})
			nobodyLost, nobodyElsewhere := c.everyNode("wmNobody", 2)
			for round := range 4 {
				onLost, elsewhere := c.everyNode(fmt.Sprint("wmWrote", round), 20)
				all := append(slices.Clone(onLost), elsewhere...)
				repeatable := round%2 == 1
				if repeatable {
					c.arrive(c.gateways[round/2], all...)
				} else {
					c.arriveAndLeave(func() (*gateway, func() <-chan error) { return c.startApart(faulty(t, redis), strictAndPrompt(nil)) }, all...)
				}
				c.await("the gaps of the round before to be over", func() bool { // some may come late
					c.since(-96 * time.Hour)
					asked := c.askAll(slices.Concat(nobodyLost, nobodyElsewhere))
					return reasons(asked)["refuse window_closed"] == len(asked)
				})
				if reply := nodes[lost].Send("FLUSHALL"); reply != "+OK" {
					t.Fatal(reply)
				}
				open := func(v verdict) bool { return v.verdict == "pass" }
				incomplete := func(v verdict) bool { return v.reason == "history_incomplete" }
				atOnce := c.askAll(all)
				c.want("at once", atOnce, func(v verdict) bool {
					return c.on(v.customer) != lost && open(v) || c.on(v.customer) == lost && !v.denied()
				})
				after := c.settled(true, onLost...)
				c.want("what may be lost", after, func(v verdict) bool { return incomplete(v) || repeatable && open(v) })
				c.want("elsewhere nothing is lost", c.askAll(elsewhere), open)
				c.want("who is not on record there may have written", c.settled(false, nobodyLost...), incomplete)
				others := reasons(c.settled(false, nobodyElsewhere...))
				t.Logf("at once: %v; then: %v; those who never wrote, elsewhere: %v", reasons(atOnce), reasons(after), others)
				if n := others["refuse window_closed"] + others["refuse history_incomplete"]; n != 2*len(nobodyElsewhere) {
					t.Errorf("those who never wrote, elsewhere: %v", others)
				}
			}
		})
	}
}

// A Cluster that lost a primary goes on refusing where it is not needed, as long as no gateway
// holds back what belongs there.
func TestLostMasterDegradesWhatNeedsIt(t *testing.T) {
	for name, fault := range map[string]func(n *storetest.Server) (back func()){
		"frozen": func(n *storetest.Server) func() {
			n.Signal(syscall.SIGSTOP)
			return func() { n.Signal(syscall.SIGCONT) }
		},
		"killed": func(n *storetest.Server) func() { n.Down(); return n.Up },
	} {
		t.Run(name, func(t *testing.T) {
			redis, nodes := storetest.StartCluster(t, 0)
			owner := storetest.OwnerOf(nodes)
			lost := slices.IndexFunc([]int{0, 1, 2}, func(n int) bool { return n != owner("rg:since") && n != owner("rg:gap:"+corpID) })
			c := newClusterRig(t, nodes, lost, func() (*rig, *gateway) {
				r := newRig(t, faulty(t, redis), strictAndPrompt(nil))
				return r, r.start(faulty(t, redis), strictAndPrompt(nil))
			})
			nobodyLost, nobodyElsewhere := c.everyNode("wmNobody", 3)
			onLost, elsewhere := c.everyNode("wmWrote", 3)
			c.arrive(c.gateways[0], append(slices.Clone(onLost), elsewhere...)...)
			c.refusals(append(slices.Clone(nobodyLost), nobodyElsewhere...)...)

			back := fault(nodes[lost])
			undenied := func(v verdict) bool { return !v.denied() }
			c.want("whose window cannot be read", c.askAll(append(slices.Clone(onLost), nobodyLost...)), undenied)
			c.refusals(nobodyElsewhere...)
			const rounds = 5
			refused, open := 0, 0
			for range rounds {
				refused += reasons(c.askAll(nobodyElsewhere))["refuse window_closed"]
			}
			open = reasons(c.askAll(elsewhere))["pass window_open"]
			// A busy machine may hold a renewal up for a moment.
			if all := rounds * 2 * len(nobodyElsewhere); refused < all*3/4 {
				t.Errorf("elsewhere %d of %d were refused", refused, all)
			}
			if all := 2 * len(elsewhere); open != all {
				t.Errorf("elsewhere %d of %d were answered", open, all)
			}
			for n, g := range c.gateways {
				r := c.of(g)
				c.await("readiness to say that some refusals are unsure", func() bool { return len(r.degraded()) > 0 && len(r.causes()) > 0 })
				t.Logf("gateway %d says %q, causes %q", n, r.degraded(), r.causes())
			}

			late := named(t, "wmLate", 1, func(customer string) bool { return c.on(customer) == lost })[0]
			c.arrive(c.gateways[0], late)
			if c.gateways[0].store.Journal.Empty() {
				t.Error("the message for the lost node is not in the journal")
			}
			c.want("a customer who wrote", c.askAll([]string{late, late}), undenied)
			back()
			for _, n := range nodes {
				n.Await("cluster_state:ok", "cluster", "info")
			}
			c.await("the journal to be in Redis", c.gateways[0].store.Journal.Empty)
			c.want("once it is back", c.settled(true, append([]string{late}, onLost...)...), func(v verdict) bool {
				return v.verdict == "pass" || v.customer != late && name == "killed"
			})
			if name == "frozen" { // nothing is lost
				c.refusals(append(slices.Clone(nobodyLost), nobodyElsewhere...)...)
			}
		})
	}
}

// A primary that is paused, replaced and resumed takes itself for the primary for a moment. Nobody
// is refused by what it has, and nothing is acknowledged that it alone has.
func TestSentinelOldMasterPaused(t *testing.T) {
	t.Parallel()
	redis, master, replica, _ := storetest.StartSentinel(t)
	l := newTraffic(t, faulty(t, redis), nil)
	l.run(func() {
		time.Sleep(lasts) // traffic flows
		master.Signal(syscall.SIGSTOP)
		replica.Await("role:master", "info", "replication")
		time.Sleep(2 * lasts)
		master.Signal(syscall.SIGCONT)
		master.Await("role:slave", "info", "replication")
		master.Await("master_link_status:up", "info", "replication")
		time.Sleep(2 * lasts)
	})
}

// One shard of a proxy that comes back a moment older, or empty, misleads nobody, whether it has
// the time since when records are complete or not.
func TestProxyShardRolledBack(t *testing.T) {
	for _, ofSince := range []bool{true, false} {
		for _, empty := range []bool{true, false} {
			t.Run(fmt.Sprintf("of rg:since=%v, empty=%v", ofSince, empty), func(t *testing.T) {
				redis, servers, shardOf := storetest.StartShardServers(t, false, 2)
				r := newRig(t, faulty(t, redis), strictAndPrompt(nil))
				r.clock.Run()
				s := &shared{rig: r, gateways: []*gateway{r.gateway, r.start(faulty(t, redis), strictAndPrompt(nil))}, channel: channel}
				for _, g := range s.gateways {
					r.token = r.fetchToken(g)
				}
				shard := shardOf("rg:since")
				if !ofSince {
					shard = 1 - shard
				}
				on := func(prefix string, shard int) []string {
					return named(t, prefix, 10, func(customer string) bool { return shardOf(windowKey(channel, customer)) == shard })
				}
				early, late := slices.Concat(on("wmEarly", 0), on("wmEarly", 1)), slices.Concat(on("wmLate", 0), on("wmLate", 1))
				absent := slices.Concat(on("wmNobody", 0)[:2], on("wmNobody", 1)[:2])
				s.arriveAndLeave(func() (*gateway, func() <-chan error) { return r.startApart(faulty(t, redis), strictAndPrompt(nil)) }, early...)
				s.refusals(absent...)
				if !empty {
					servers[shard].CLI("save")
				}
				s.arrive(s.gateways[0], late[:len(late)/2]...)
				s.arrive(s.gateways[1], late[len(late)/2:]...)
				servers[shard].Down()
				servers[shard].Up()
				writers := slices.Concat(late, early)
				s.want("at once", s.askAll(writers), func(v verdict) bool { return !v.denied() })
				answers := s.settled(true, writers...)
				s.want("in the end", answers, func(v verdict) bool {
					open, incomplete := v.verdict == "pass", v.reason == "history_incomplete"
					isLate := slices.Contains(late, v.customer)
					switch mayLack := shardOf(windowKey(channel, v.customer)) == shard && (empty || isLate); {
					case !mayLack:
						return open
					case isLate: // a gateway may repeat it
						return open || incomplete
					}
					return incomplete
				})
				others := reasons(s.settled(false, absent...))
				t.Logf("those who wrote: %v; those who never did: %v", reasons(answers), others)
				if empty && others["refuse window_closed"] != 0 {
					t.Errorf("refused while records are incomplete: %v", others)
				}
				if n := others["refuse window_closed"] + others["refuse history_incomplete"]; n != 2*len(absent) {
					t.Errorf("those who never wrote: %v", others)
				}
			})
		}
	}
}
