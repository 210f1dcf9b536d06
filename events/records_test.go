package events

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"replygate/store/storetest"
	"replygate/window"
)

// A gap is told once it has been there for two looks, and its end; one of everybody's once, and not
// for each account.
func TestRecordsChange(t *testing.T) {
	state := func(complete bool, since time.Time) window.History {
		return window.History{Complete: complete, Since: since}
	}
	states := map[string]window.History{"": state(false, start), "wwA": state(false, start), "wwB": state(false, start)}
	r := &Records{
		Corps: func() []string { return []string{"wwA", "wwB"} },
		Since: func(_ context.Context, corps []string) (all []window.History, err error) {
			for _, corp := range corps {
				all = append(all, states[corp])
			}
			return all, nil
		},
	}
	known := map[string]string{}
	now := start
	look := func(want ...string) {
		t.Helper()
		now = now.Add(time.Minute)
		all, err := r.find(t.Context(), known, now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range all {
			e := &all[i]
			if known[e.Field] != e.Was {
				t.Errorf("%+v", e)
			}
			if known[e.Field] = e.Value; e.Type != "" {
				got = append(got, e.Type+" "+e.Corp+" "+strings.TrimSuffix(e.Data.(GapData).Since, ":00.000Z"))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	look()
	look() // the cold start is no event
	for corp := range states {
		states[corp] = state(true, start)
	}
	look()
	look("records.complete  2026-11-22T04:00")
	states["wwB"] = state(false, start.Add(time.Hour))
	look()
	states["wwB"] = state(true, start) // it was nothing
	look()
	look()
	states["wwB"] = state(false, start.Add(2*time.Hour))
	look()
	look("records.gap wwB 2026-11-22T06:00")
	look()
	later := state(false, start.Add(3*time.Hour))
	states[""], states["wwA"], states["wwB"] = later, later, later
	look()
	look("records.gap  2026-11-22T07:00")
	for corp := range states {
		states[corp] = state(true, start)
	}
	look()
	look("records.complete  2026-11-22T07:00", "records.complete wwB 2026-11-22T06:00")
	look()
}

// Of more corps than are read at once each has its own records.
func TestRecordsOfManyCorps(t *testing.T) {
	c := storetest.Open(t, storetest.Embedded(t), time.Now)
	windows := window.NewEmbedded(c.UniversalClient, c, window.Settings{Prefix: "rg:", Length: 48 * time.Hour, Timeout: patience, Now: time.Now})
	var corps []string
	for n := range 1201 {
		corps = append(corps, fmt.Sprintf("ww%d", n))
	}
	at := time.Now().Add(-time.Hour).UnixMilli()
	for key, ms := range map[string]int64{"rg:since": 1, "rg:gap:ww700:any": at, "rg:gap:ww1200:any": at} {
		if err := c.Set(t.Context(), key, ms, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r := &Records{Corps: func() []string { return corps }, Since: windows.HistoriesSince}
	must(r.find(t.Context(), map[string]string{}, time.Now()))
	var got []string
	for _, e := range must(r.find(t.Context(), map[string]string{}, time.Now())) {
		got = append(got, e.Type+" "+e.Corp)
	}
	if want := []string{" ", "records.gap ww700", "records.gap ww1200"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
