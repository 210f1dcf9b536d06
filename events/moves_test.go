package events

import (
	"context"
	"slices"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
)

// Contacts that move between siblings are told once, and again after the time over which that is
// measured.
func TestContactsMove(t *testing.T) {
	book := account.NewBook([]config.Account{{CorpID: "wwA", Entity: "acme"}, {CorpID: "wwB", Entity: "acme"}, {CorpID: "wwC", Entity: "other"}, {CorpID: "wwD"}})
	book.UseCounts(account.NewCounts(), 6*time.Hour)
	now := start
	m := &Moves{
		Book: func() *account.Book { return book }, State: func(string) contacts.State { return contacts.State{} },
		Histories: func(_ context.Context, corps []string) (map[string][]contacts.Day, error) {
			if !slices.Equal(corps, []string{"wwA", "wwB", "wwC"}) {
				t.Errorf("%v", corps)
			}
			from, to := contacts.DayOf(now.Add(-20*day)), contacts.DayOf(now)
			return map[string][]contacts.Day{
				"wwA": {{Date: from, Total: 1000}, {Date: to, Total: 800}},
				"wwB": {{Date: from, Total: 300}, {Date: to, Total: 495}},
				"wwC": {{Date: from, Total: 100}, {Date: to, Total: 400}},
			}, nil
		},
	}
	known := map[string]string{}
	ids := map[string]bool{}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {time.Hour, 0}, {29 * day, 0}, {31 * day, 1}} {
		now = start.Add(step.after)
		all, err := m.find(t.Context(), known, now)
		if err != nil || len(all) != step.want {
			t.Fatalf("%s: %+v, %v", step.after, all, err)
		}
		for i := range all {
			known[all[i].Field] = all[i].Value
			ids[all[i].ID()] = true
			if d := all[i].Data.(MovedData); d != (MovedData{Entity: "acme", From: "wwA", To: "wwB", Gained: 195, Lost: 200, Days: 20}) {
				t.Errorf("%+v", d)
			}
		}
	}
	if len(ids) != 2 {
		t.Errorf("%v", ids)
	}
}
