package contacts_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"replygate/account"
	"replygate/contacts"
)

// page is a page of customers.
func page(cursor, next string, people ...string) contacts.Page {
	p := contacts.Page{Cursor: cursor, Next: next}
	for _, id := range people {
		p.Rows = append(p.Rows, contacts.Row{TmpOpenID: id, Customer: true})
	}
	return p
}

// A pass is a chain of pages within four hours. Whatever breaks it leaves it without a count.
func TestPass(t *testing.T) {
	type step struct {
		page  contacts.Page
		after time.Duration // since the first page
		err   error
	}
	const limit = contacts.PassLimit
	for _, test := range []struct {
		name  string
		steps []step
		total int // -1: no count
	}{
		{"one page", []step{{page("", "", "a", "b"), 0, nil}}, 2},
		{"nobody", []step{{page("", ""), 0, nil}}, 0},
		{"no page", nil, -1},
		{"two pages", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "", "b"), time.Minute, nil}}, 2},
		{"a person on both pages", []step{{page("", "C1", "a", "b"), 0, nil}, {page("C1", "", "b", "a", "c"), 0, nil}}, 3},
		{"unfinished", []step{{page("", "C1", "a"), 0, nil}}, -1},
		{"begun in the middle", []step{{page("C1", "", "a"), 0, contacts.ErrBroken}}, -1},
		{"a page left out", []step{{page("", "C1", "a"), 0, nil}, {page("C2", "", "b"), 0, contacts.ErrBroken}}, -1},
		{"begun again within the pass", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "C2", "b"), 0, nil}, {page("", "C1", "a"), 0, contacts.ErrBroken}}, -1},
		{"the first page repeated", []step{{page("", "C1", "a"), 0, nil}, {page("", "C1", "a"), 0, nil}, {page("C1", "", "b"), 0, nil}}, 2},
		{"a page repeated, with another cursor", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "C2", "b"), 0, nil}, {page("C1", "C3", "b", "c"), 0, nil}, {page("C3", "", "d"), 0, nil}}, 4},
		{"a page before the last repeated", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "C2", "b"), 0, nil}, {page("C2", "C3", "b"), 0, nil}, {page("C1", "C2"), 0, contacts.ErrBroken}}, -1},
		{"a page after the last", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "", "b"), 0, nil}, {page("", "", "c"), 0, contacts.ErrBroken}}, -1},
		{"a page that leads to itself", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "C1", "b"), 0, contacts.ErrBroken}}, -1},
		{"just in time", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "", "b"), limit - time.Nanosecond, nil}}, 2},
		{"four hours", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "", "b"), limit, contacts.ErrTooSlow}}, -1},
		{"each page in time, the whole not", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "C2", "b"), limit / 2, nil}, {page("C2", "", "c"), limit, contacts.ErrTooSlow}}, -1},
		{"a clock that went back", []step{{page("", "C1", "a"), 0, nil}, {page("C1", "", "b"), -time.Hour, contacts.ErrTooSlow}}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p contacts.Pass
			var last time.Duration
			failed := false
			for _, s := range test.steps {
				err := p.Add(s.page, start.Add(s.after))
				if !errors.Is(err, s.err) || (err == nil) != (s.err == nil) {
					t.Fatalf("page %q: %v, want %v", s.page.Cursor, err, s.err)
				}
				failed, last = failed || err != nil, s.after
			}
			if failed {
				return
			}
			count, done := p.Count()
			if done != (test.total >= 0) || done && count.Total != test.total {
				t.Fatalf("%+v, %v", count, done)
			}
			if done && (!count.AsOf.Equal(start.Add(last).Truncate(time.Millisecond)) || count.Source != account.Metered) {
				t.Errorf("%+v", count)
			}
		})
	}
}

// Everybody in the list is a served contact. The customers among them are counted too: one row that
// says so is enough.
func TestCustomers(t *testing.T) {
	var p contacts.Pass
	rows := []contacts.Row{{"a", false}, {"a", true}, {"b", true}, {"b", false}, {"c", false}, {"C", false}}
	if err := p.Add(contacts.Page{Rows: rows}, start); err != nil {
		t.Fatal(err)
	}
	if count, _ := p.Count(); count.Total != 4 || count.Customers != 2 {
		t.Errorf("%+v", count)
	}
}

// big adds a list of people, each with two rows, in pages of 1,000 rows.
func big(tb testing.TB, p *contacts.Pass, people int) {
	tb.Helper()
	const perPage = 500
	for first := 0; first < people; first += perPage {
		page := contacts.Page{Rows: make([]contacts.Row, 0, 2*perPage)}
		if first > 0 {
			page.Cursor = fmt.Sprint("C", first)
		}
		if first+perPage < people {
			page.Next = fmt.Sprint("C", first+perPage)
		}
		for i := range perPage {
			row := contacts.Row{TmpOpenID: fmt.Sprintf("towMDMDAAA8c0vEVWx8Z-%08d", first+i), Customer: i%3 > 0}
			page.Rows = append(page.Rows, row, row)
		}
		if err := p.Add(page, start); err != nil {
			tb.Fatal(err)
		}
	}
}

// heap returns the bytes in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A pass over 200,000 people holds less than 64 MB.
func TestPassMemory(t *testing.T) {
	const people, most = 200_000, 64 << 20
	before := heap()
	var p contacts.Pass
	big(t, &p, people)
	used := int64(heap()) - int64(before)
	if count, _ := p.Count(); count.Total != people {
		t.Errorf("%+v", count)
	}
	if used <= 0 || used > most {
		t.Errorf("%d bytes for %d people", used, people)
	}
	runtime.KeepAlive(&p)
}

func BenchmarkPass(b *testing.B) {
	const people = 200_000
	for b.Loop() {
		before := heap()
		var p contacts.Pass
		big(b, &p, people)
		b.ReportMetric(float64(heap()-before)/(1<<20), "MB/pass")
		runtime.KeepAlive(&p)
	}
}

// More people than the gateway counts end the pass.
func TestPassTooLarge(t *testing.T) {
	contacts.LimitPeople(t, 3)
	var p contacts.Pass
	if err := p.Add(page("", "C1", "a", "b", "c", "a"), start); err != nil {
		t.Error(err)
	}
	if err := p.Add(page("C1", "C2", "d"), start); !errors.Is(err, contacts.ErrTooLarge) {
		t.Error(err)
	}
}
