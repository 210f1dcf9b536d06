package main

import (
	"strings"
	"testing"

	"replygate/account"
	"replygate/store/storetest"
)

// The health check of a container needs no key and no configuration, and fails once the gateway
// stops.
func TestHealth(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	admin := "http://" + r.gateway.control.Addr().String()
	code, out, errs := cli(t, "health", "--admin", admin)
	if code != exitGood || !strings.HasPrefix(out, "the gateway at "+admin+" serves: redis up, history complete, configuration ") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	r.gateway.mu.Lock()
	r.gateway.held = &pendingReload{change: account.Change{Before: 301, After: 1}}
	r.gateway.mu.Unlock()
	if code, out, errs := cli(t, "health", "--admin", admin); code != exitGood || !strings.Contains(out, " in force\nwarning: a reload is held (301 -> 1 accounts)") || strings.Contains(out, "mistakes") {
		t.Errorf("while a reload is held: exit %d\n%s%s", code, out, errs)
	}
	r.gateway.draining.Store(true)
	if code, out, errs := cli(t, "health", "--admin", admin); code != exitBad || !strings.Contains(errs, "HTTP 503") {
		t.Errorf("while it stops: exit %d\n%s%s", code, out, errs)
	}
}
