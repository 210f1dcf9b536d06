package main

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// goneBack is a rig on a Redis that will come back without what it acknowledged.
func goneBack(t *testing.T, redis config.Redis) *rig {
	t.Helper()
	r := newRig(t, faulty(t, redis), nil)
	r.writes("wmEarly")
	r.reply("wmStranger", "refuse", "window_closed")
	return r
}

// renews waits until the gateway has renewed its lease in every partition.
func (r *rig) renews() {
	r.Helper()
	now := time.Now().UnixMilli()
	r.await("the checkpoints", func() bool {
		tags, err := r.gateway.store.Keys(r.Context(), "rg:members:*").Result()
		for _, key := range tags {
			for _, entry := range r.gateway.store.HGetAll(r.Context(), key).Val() {
				parts := strings.Split(entry, " ")
				if at, _ := strconv.ParseInt(parts[2], 10, 64); at < now {
					return false
				}
			}
		}
		return err == nil && len(tags) > 0
	})
}

// trusts waits until the gateway refuses again, or passes for a reason, what it would refuse.
func (r *rig) trusts(customer, reason string) {
	r.Helper()
	r.await(customer+": "+reason, func() bool {
		return r.call("POST", "/cgi-bin/kf/send_msg", replyTo(customer)).Header.Get("Replygate-Reason") == reason
	})
}

// A Redis that comes back from a snapshot, a moment old, gets what was recorded since.
func TestRedisGoesBackAMoment(t *testing.T) {
	server := storetest.Start(t)
	r := goneBack(t, server.Config())
	r.clock.Advance(time.Second)
	r.renews()
	server.CLI("save")
	r.clock.Advance(time.Second)
	r.renews()
	r.writes("wmLate")
	server.Down()
	server.Up()
	r.trusts("wmStranger", "window_closed")
	r.reply("wmLate", "pass", "window_open")
	r.reply("wmEarly", "pass", "window_open")
	if !strings.Contains(r.log(), "redis has lost its most recent writes: they are written again") {
		t.Error("the log does not tell")
	}
}

// One that comes back from an older snapshot, and whose gateway was restarted meanwhile, lacks
// messages that nobody can record again: nobody is refused because they are missing.
func TestRedisGoesBackFar(t *testing.T) {
	server := storetest.Start(t)
	redis := faulty(t, server.Config())
	journal := storetest.Journal(t, redis)
	same := func(c *config.Config) { c.Journal = journal }
	r := newRig(t, storetest.Embedded(t), nil)
	g, stop := r.startApart(redis, same)
	r.gateway, r.token = g, r.fetchToken(g)
	r.since(-96 * time.Hour)
	r.writes("wmEarly")
	r.reply("wmStranger", "refuse", "window_closed")
	r.renews()
	server.CLI("save")
	r.writes("wmLost")
	if err := <-stop(); err != nil {
		t.Fatal(err)
	}
	server.Down()
	server.Up()
	r.gateway = r.start(redis, same)
	r.trusts("wmStranger", "history_incomplete")
	r.reply("wmLost", "unsure", "history_incomplete")
	r.reply("wmEarly", "pass", "window_open")
	r.await("the log to tell", func() bool {
		return strings.Contains(r.log(), "redis has lost acknowledged writes: records are incomplete from now on")
	})
}

// A node of a Cluster that comes back empty takes the windows of its customers alone with it, and
// not the time since when records are complete.
func TestClusterNodeComesBackEmpty(t *testing.T) {
	redis, nodes := storetest.StartCluster(t, 0)
	r := goneBack(t, redis)
	r.clock.Advance(time.Second)
	r.renews()
	for _, n := range nodes {
		if strings.TrimSpace(n.CLI("exists", "rg:since")) == "1" {
			continue
		}
		n.Down()
		n.Up()
		n.Await("cluster_state:ok", "cluster", "info")
	}
	r.trusts("wmStranger", "history_incomplete")
}
