package window_test

import (
	"fmt"
	"testing"

	"replygate/store/storetest"
	"replygate/wecom/wecomtest"
	"replygate/window"
)

// Three masters: every script finds its slot, and a listing sees them all.
func TestCluster(t *testing.T) {
	c, _ := storetest.StartCluster(t)
	clock := wecomtest.NewClock()
	s := storetest.Open(t, c, clock.Now)
	w := window.NewStore(s.UniversalClient, window.Settings{Prefix: "rg:", Length: length, Replies: 5, Timeout: c.Timeout, Now: clock.Now})
	b := &bench{T: t, clock: clock, rdb: s.UniversalClient, Store: w}
	b.since(-2 * length)
	var facts []window.Fact
	for i := range 300 {
		facts = append(facts, window.Fact{Key: window.Key{Corp: "ww1", Channel: "wk1", Customer: fmt.Sprintf("wm%d", i)}, At: clock.Now()})
	}
	if tally, err := w.Record(t.Context(), facts); err != nil || tally.Recorded != 300 {
		t.Fatalf("Record = %+v, %v", tally, err)
	}
	for _, f := range facts[:50] {
		b.settles(f.Key, b.wants(f.Key, window.Open, 4), window.NotTaken)
		b.wants(f.Key, window.Open, 4)
	}
	if all, more, err := w.List(t.Context(), "ww1", 1000); err != nil || more || len(all) != 300 {
		t.Fatalf("List = %d windows, more %v, %v", len(all), more, err)
	}
}
