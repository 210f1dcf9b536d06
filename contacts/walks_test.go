package contacts_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"replygate/contacts"
)

// fed is one page of a bot; total is the count that it completes, -1 for none.
type fed struct {
	corp, bot string
	page      contacts.Page
	after     time.Duration
	total     int
}

// A walk that a bot makes counts from its page without a cursor to its last. Those of several bots
// do not mix, and one that breaks off or is too slow is no count.
func TestWalks(t *testing.T) {
	const no = -1
	first, second, third := page("", "C1", "a", "b"), page("C1", "C2", "c"), page("C2", "", "d")
	for _, test := range []struct {
		name string
		fed  []fed
	}{
		{"one bot", []fed{{"ww1", "x", first, 0, no}, {"ww1", "x", second, 0, no}, {"ww1", "x", third, 0, 4}}},
		{"twice", []fed{{"ww1", "x", page("", "", "a"), 0, 1}, {"ww1", "x", page("", "", "a", "b"), 0, 2}}},
		{"seen from the middle on", []fed{{"ww1", "x", second, 0, no}, {"ww1", "x", third, 0, no}}},
		{"broken off, begun again", []fed{{"ww1", "x", first, 0, no}, {"ww1", "x", second, 0, no}, {"ww1", "x", first, 0, no}, {"ww1", "x", page("C1", "", "z"), 0, 3}}},
		{"a page left out", []fed{{"ww1", "x", first, 0, no}, {"ww1", "x", third, 0, no}}},
		{"two bots with the same cursors", []fed{
			{"ww1", "x", first, 0, no}, {"ww1", "y", page("", "C1", "p"), 0, no}, {"ww1", "x", second, 0, no},
			{"ww1", "y", page("C1", "C2", "q"), 0, no}, {"ww1", "y", page("C2", "", "r"), 0, 3}, {"ww1", "x", third, 0, 4},
		}},
		{"two corps with the same cursors", []fed{
			{"ww1", "x", first, 0, no}, {"ww2", "x", page("", "C1", "p"), 0, no}, {"ww2", "x", page("C1", "", "q"), 0, 2}, {"ww1", "x", page("C1", ""), 0, 2},
		}},
		{"one bot walks twice at once", []fed{
			{"ww1", "x", first, 0, no}, {"ww1", "x", first, 0, no}, {"ww1", "x", second, 0, no}, {"ww1", "x", second, 0, no},
			{"ww1", "x", third, 0, 4}, {"ww1", "x", third, 0, 4},
		}},
		{"another bot's cursor", []fed{{"ww1", "x", first, 0, no}, {"ww1", "y", page("C1", ""), 0, no}, {"ww1", "x", page("C1", ""), 0, 2}}},
		{"a page repeated", []fed{{"ww1", "x", first, 0, no}, {"ww1", "x", second, 0, no}, {"ww1", "x", second, 0, no}, {"ww1", "x", third, 0, 4}}},
		{"too slow", []fed{{"ww1", "x", first, 0, no}, {"ww1", "x", second, 4*time.Hour - time.Second, no}, {"ww1", "x", third, 4 * time.Hour, no}, {"ww1", "x", third, 4 * time.Hour, no}}},
		{"in time", []fed{{"ww1", "x", first, 0, no}, {"ww1", "x", second, 2 * time.Hour, no}, {"ww1", "x", third, 4*time.Hour - time.Second, 4}}},
	} {
		var w contacts.Walks
		for i, f := range test.fed {
			count, done := w.Feed(f.corp, f.bot, f.page, start.Add(f.after))
			if done != (f.total >= 0) || done && count.Total != f.total {
				t.Errorf("%s, page %d: %+v, %v, want %d", test.name, i, count, done, f.total)
			}
		}
	}
}

// Walks that bots leave unfinished cost little: the oldest are dropped, and a walk that goes on is
// counted all the same.
func TestWalksAreBounded(t *testing.T) {
	var w contacts.Walks
	w.Feed("ww1", "left", page("", "C1", "a"), start)
	w.Feed("ww1", "x", page("", "C1", "a"), start)
	for i := range 255 {
		w.Feed("ww1", fmt.Sprint(i), page("", "C1", "a"), start)
		w.Feed("ww1", "x", page("C1", "C1x", "a"), start)
	}
	if _, done := w.Feed("ww1", "left", page("C1", ""), start); done {
		t.Error("a walk that waited longest is counted")
	}
	if _, done := w.Feed("ww1", "254", page("C1", ""), start); !done {
		t.Error("the newest walk is not counted")
	}
	if _, done := w.Feed("ww1", "x", page("C1x", ""), start); !done {
		t.Error("a walk that went on is not counted")
	}
}

// A walk that is left unfinished is forgotten after four hours.
func TestOldWalksAreForgotten(t *testing.T) {
	var w contacts.Walks
	w.Feed("ww1", "x", page("", "C1", "a"), start)
	w.Feed("ww1", "y", page("", "C1", "a"), start.Add(time.Second))
	w.Feed("ww2", "z", page("", "", "a"), start.Add(contacts.PassLimit))
	if n := w.Open(); n != 1 {
		t.Errorf("%d walks are open", n)
	}
}

// The people of all unfinished walks together are bounded too.
func TestPeopleOfWalksAreBounded(t *testing.T) {
	contacts.LimitPeople(t, 5)
	var w contacts.Walks
	w.Feed("ww1", "x", page("", "C1", "a", "b"), start)
	w.Feed("ww1", "y", page("", "C1", "a", "b", "c"), start) // five: both fit
	w.Feed("ww1", "z", page("", "C1", "a"), start)           // the first is dropped
	for bot, want := range map[string]int{"x": -1, "y": 3, "z": 1} {
		if count, done := w.Feed("ww1", bot, page("C1", ""), start); done != (want >= 0) || done && count.Total != want {
			t.Errorf("%s: %+v, %v", bot, count, done)
		}
	}
	if _, done := w.Feed("ww1", "v", page("", "C1", "a", "b", "c", "d", "e", "f"), start); done {
		t.Error("an unfinished walk is counted")
	}
	if _, done := w.Feed("ww1", "v", page("C1", ""), start); done {
		t.Error("a walk over more people than are counted is counted")
	}
}

// However the pages of many walks interleave, each walk has the count of its own pages.
func TestInterleavedWalks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var w contacts.Walks
		left := make([][]contacts.Page, 5)
		want := make([]int, len(left))
		for i := range left {
			people, cursor := map[string]bool{}, ""
			for n := range 1 + random.IntN(6) {
				p := page(cursor, fmt.Sprint("C", n))
				for range random.IntN(5) {
					id := fmt.Sprint(random.IntN(20))
					people[id] = true
					p.Rows = append(p.Rows, contacts.Row{TmpOpenID: id})
				}
				left[i], cursor = append(left[i], p), p.Next
			}
			left[i][len(left[i])-1].Next = ""
			want[i] = len(people)
		}
		for range 5 * 6 * 3 {
			i := random.IntN(len(left))
			if len(left[i]) == 0 {
				continue
			}
			count, done := w.Feed("ww1", fmt.Sprint(i), left[i][0], start)
			if left[i] = left[i][1:]; done != (len(left[i]) == 0) || done && count.Total != want[i] {
				t.Fatalf("walk %d: %+v, %v, want %d", i, count, done, want[i])
			}
		}
	}
}
