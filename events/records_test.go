package events

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// A gap is told once it has been there for two looks, and its end; one of everybody's once, and not
// for each account.
func TestRecordsChange(t *testing.T) {
	type state struct {
		whole bool
		since time.Time
	}
	states := map[string]state{"": {false, start}, "wwA": {false, start}, "wwB": {false, start}}
	r := &Records{
		Corps: func() []string { return []string{"wwA", "wwB"} },
		Since: func(_ context.Context, corp string) (bool, time.Time, error) {
			return states[corp].whole, states[corp].since, nil
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
		states[corp] = state{true, start}
	}
	look()
	look("records.complete  2026-11-22T04:00")
	states["wwB"] = state{false, start.Add(time.Hour)}
	look()
	states["wwB"] = state{true, start} // it was nothing
	look()
	look()
	states["wwB"] = state{false, start.Add(2 * time.Hour)}
	look()
	look("records.gap wwB 2026-11-22T06:00")
	look()
	later := state{false, start.Add(3 * time.Hour)}
	states[""], states["wwA"], states["wwB"] = later, later, later
	look()
	look("records.gap  2026-11-22T07:00")
	for corp := range states {
		states[corp] = state{true, start}
	}
	look()
	look("records.complete  2026-11-22T07:00", "records.complete wwB 2026-11-22T06:00")
	look()
}
