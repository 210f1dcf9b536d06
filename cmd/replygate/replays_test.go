package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"replygate/config"
	"replygate/store/storetest"
)

// A gateway with a secret completes its records by itself: of two gateways one does so, once. Then
// it refuses, and every window is known.
func TestRecordsCompleteThemselves(t *testing.T) {
	withSecret := func(c *config.Config) { c.Accounts[0].Secrets.Kf = []config.Secret{secret} }
	server := storetest.Start(t)
	r := newRig(t, server.Config(), withSecret)
	second := r.start(server.Config(), withSecret)
	r.acquainted(r.gateway, 2)
	customers := conversations(r.platform, r.clock.Now())
	r.clock.Advance(time.Minute)
	before := r.platform.Count("/cgi-bin/kf/sync_msg")
	r.since(0) // the records begin, as on the first day
	complete := func(name string) bool {
		is, _, err := r.gateway.windows.Complete(context.Background(), corpID, name)
		return err == nil && is
	}
	r.await("complete records", func() bool {
		r.clock.Advance(100 * time.Millisecond) // for what waits for WeCom's limit
		return complete(channel) && complete("")
	})
	for _, customer := range customers[:20] {
		r.reply(customer, "pass", "window_open")
	}
	r.reply("wmNever", "refuse", "window_closed")
	pages := r.platform.Count("/cgi-bin/kf/sync_msg") - before
	if calls := r.gateway.replays.Counts().Calls + second.replays.Counts().Calls; pages < 2 || int(calls) < pages || pages > 3 {
		t.Errorf("%d pages, %d calls", pages, calls)
	}
	if a := r.adminCall("GET", "/readyz", ""); !strings.Contains(string(a.body), `"replays":{"running":`) {
		t.Errorf("readiness: %s", a.body)
	}
	if a := r.adminCall("GET", "/metrics", ""); !strings.Contains(string(a.body), `replygate_replays_total{result="complete"}`) {
		t.Error("no metric of replays")
	}
	code, out, errs := cli(t, "windows", "backfill", corpID, "--status", "--admin", "http://"+r.gateway.control.Addr().String())
	if code != exitGood || !strings.Contains(out, fmt.Sprintf("%s: complete; the records of 1 of 1 channel are complete", corpID)) {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	r.clock.Advance(time.Minute)
	r.sync()
	if n := strings.Count(r.log(), "nobody pulls this channel's messages"); n > 0 {
		t.Errorf("said %d times", n)
	}
}

// The command completes the channels that its secret can see, and names the others.
func TestBackfillOfSomeChannelsOnly(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), func(c *config.Config) { c.Accounts[0].Channels = []string{channel, "wkOther"} })
	r.since(-time.Hour)
	code, out, errs := cli(t, r.backfillArgs()...)
	if code != exitGood || !strings.Contains(out, "the records of these are complete, those of 1 other channel are not") || !strings.Contains(errs, "channel wkOther: this secret cannot see it") {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	r.reply("wmNever", "refuse", "window_closed")
	if a := r.adminCall("GET", "/v1/windows?corp_id="+corpID, ""); !strings.Contains(string(a.body), `"incomplete":true`) {
		t.Errorf("%s", a.body)
	}
	code, _, errs = cli(t, "windows", "backfill", corpID, "--status", "--admin", "http://"+r.gateway.control.Addr().String())
	if code != exitBad || !strings.Contains(errs, "no_secret") {
		t.Errorf("exit %d %s", code, errs)
	}
}
