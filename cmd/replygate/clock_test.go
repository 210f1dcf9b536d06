package main

import (
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
)

// Replies through a gateway whose clock is an hour fast or slow do not count against what the
// customer writes after them: through another gateway that message gets its five.
func TestClockOfOneGateway(t *testing.T) {
	for name, by := range map[string]time.Duration{"fast": time.Hour, "slow": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			redis := storetest.Start(t).Config()
			r := newRig(t, redis, nil)
			right, clock := r.gateway, r.clock
			r.clock = wecomtest.NewClock()
			r.clock.Set(clock.Now().Add(by))
			wrong := r.start(redis, func(c *config.Config) {
				c.Accounts = []config.Account{lapsedAccount(clock.Now().Add(-2 * time.Hour))}
			})
			r.clock = clock
			r.token = r.fetchToken(right)
			r.acquainted(right, 2)

			reply := func(g *gateway, verdict, reason, left string) {
				t.Helper()
				a := r.callAt(g, "POST", "/cgi-bin/kf/send_msg", replyTo(wrote))
				if h := a.Header; h.Get("Replygate-Verdict") != verdict || h.Get("Replygate-Reason") != reason || h.Get("Replygate-Replies-Left") != left || verdict == "pass" && a.Errcode != 0 {
					t.Fatalf("%v: %s; want %s, %s, left %s", h, a.body, verdict, reason, left)
				}
			}
			writes := func() {
				t.Helper()
				r.platform.CustomerWrites(corpID, channel, wrote, "hello")
				if a := r.sync(); a.Errcode != 0 {
					t.Fatalf("%s", a.body)
				}
			}
			writes()
			for _, left := range []string{"4", "3", "2", "1"} {
				reply(wrong, "pass", "window_open", left)
			}
			clock.Set(time.Now().Add(3 * time.Second)) // after the latest stamp of these replies
			writes()
			for _, left := range []string{"4", "3", "2", "1", "0"} {
				reply(right, "pass", "window_open", left)
			}
			reply(right, "refuse", "replies_used_up", "0")
		})
	}
}
