package main

import (
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

// speaks waits until the gateway has left its word at the time it is now.
func (r *rig) speaks() {
	r.Helper()
	now := r.clock.Now().UnixMilli()
	r.await("the checkpoint", func() bool {
		keys, err := r.gateway.store.Keys(r.Context(), "rg:witness:*").Result()
		if err != nil || len(keys) == 0 {
			return false
		}
		word, err := r.gateway.store.Get(r.Context(), keys[0]).Int64()
		return err == nil && word >= now
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
	r.speaks()
	server.CLI("save")
	r.clock.Advance(time.Second)
	r.speaks()
	r.writes("wmLate")
	server.Down()
	server.Up()
	r.trusts("wmStranger", "window_closed")
	r.reply("wmLate", "pass", "window_open")
	r.reply("wmEarly", "pass", "window_open")
	if !strings.Contains(r.log(), "redis has another master than before, or was restarted") {
		t.Error("the log does not tell")
	}
}

// One that comes back from an older snapshot lacks messages that nobody can record again: nobody is
// refused because they are missing.
func TestRedisGoesBackFar(t *testing.T) {
	server := storetest.Start(t)
	r := goneBack(t, server.Config())
	server.CLI("save")
	for _, customer := range []string{"wmLost", "wmMeanwhile", "wmLate"} {
		r.clock.Advance(2 * time.Minute)
		r.speaks()
		at := r.clock.Now().Format(time.RFC3339Nano)
		if a := r.adminCall("POST", "/v1/inbound", `{"inbound":[{"corp_id":"`+corpID+`","channel":"`+channel+`","customer":"`+customer+`","at":"`+at+`"}]}`); a.StatusCode != 200 {
			t.Fatalf("HTTP %d %s", a.StatusCode, a.body)
		}
	}
	server.Down()
	server.Up()
	r.trusts("wmStranger", "history_incomplete")
	r.trusts("wmLate", "window_open")
	r.reply("wmLost", "unsure", "history_incomplete")
	r.reply("wmEarly", "pass", "window_open")
	if !strings.Contains(r.log(), "redis has lost acknowledged writes: records are incomplete from now on") {
		t.Error("the log does not tell")
	}
}

// A node of a Cluster that comes back empty takes the windows of its customers alone with it, and
// not the time since when records are complete.
func TestClusterNodeComesBackEmpty(t *testing.T) {
	redis, nodes := storetest.StartCluster(t, 0)
	r := goneBack(t, redis)
	r.clock.Advance(time.Second)
	r.speaks()
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
