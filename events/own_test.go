package events

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A gateway tells of what lasts for a minute, once, and of its end; of the rules in shadow once an
// hour what is new.
func TestOwnEvents(t *testing.T) {
	now := start
	up, since := true, time.Time{}
	skew := ""
	channels := [][2]string{}
	counted, reloaded := int64(0), start
	o := &Own{
		Now: func() time.Time { return now }, Began: start, Gateway: func() string { return "10.1.0.11:9090" },
		Store: func() (bool, time.Time) { return up, since },
		Skew:  func() (string, time.Duration) { return skew, 2 * time.Second },
		Bypassed: func(visit func(corp, channel string) bool) {
			for _, c := range channels {
				visit(c[0], c[1])
			}
		},
		Shadow: func(time.Time) (time.Time, []ShadowRule) {
			return reloaded, []ShadowRule{{Name: "r", WouldRefuse: counted, Examples: []string{"id"}}}
		},
		bypassed: map[[2]string]time.Time{},
	}
	look := func(after time.Duration, want ...string) {
		t.Helper()
		now = now.Add(after)
		o.lookAtStore(now)
		o.lookAtClock(now)
		o.lookAtBypass(now)
		o.lookAtShadow(now)
		var got []string
		for i := range o.waiting {
			e := &o.waiting[i]
			text := e.Type + " " + e.At.Sub(start).String()
			if d, digest := e.Data.(ShadowData); digest {
				text += fmt.Sprintf(" %d", d.Rules[0].WouldRefuse)
			}
			if json, err := e.Encode(); err != nil || !strings.Contains(string(json), `"gateway":"10.1.0.11:9090"`) {
				t.Errorf("%s %v", json, err)
			}
			got = append(got, text)
		}
		if o.waiting = nil; !slices.Equal(got, want) {
			t.Errorf("after %s: %q, want %q", now.Sub(start), got, want)
		}
	}
	look(0)
	up, since = false, now.Add(time.Second)
	look(30 * time.Second)
	up, since = true, now.Add(time.Second) // too short
	look(2 * time.Minute)
	up, since = false, now
	look(time.Minute, "store.down 2m30s")
	look(time.Minute)
	up, since = true, now
	look(59 * time.Second)
	look(time.Second, "store.up 4m30s")
	skew, channels = "redis", [][2]string{{"wwA", "wkA"}}
	look(0)
	look(time.Minute, "clock.skew 5m30s", "channel.bypassed 5m30s")
	look(time.Hour)
	skew = ""
	look(time.Minute)
	counted = 5
	look(time.Hour, "rule.shadow_digest 2h7m30s 5")
	look(time.Hour)
	counted = 7
	look(time.Hour, "rule.shadow_digest 4h7m30s 2")
	counted, reloaded = 3, now.Add(time.Minute)
	look(time.Hour, "rule.shadow_digest 5h7m30s 3")
}

// While Redis is away events wait, and the oldest are given up when there are too many.
func TestOwnEventsAreBounded(t *testing.T) {
	o := &Own{Now: func() time.Time { return start }, Gateway: func() string { return "g" }}
	for n := range maxWaiting + 3 {
		o.Reloaded(fmt.Sprint(n), fmt.Sprint(n+1), nil)
	}
	o.Rejected("hash", strings.Repeat("错", maxError))
	if o.Dropped() != 4 || len(o.waiting) != maxWaiting {
		t.Errorf("%d dropped, %d wait", o.Dropped(), len(o.waiting))
	}
	last := o.waiting[maxWaiting-1]
	if text := last.Data.(GatewayData).Error; len(text) > maxError+8 || !strings.HasSuffix(text, "错 …") {
		t.Errorf("%d bytes", len(text))
	}
}
