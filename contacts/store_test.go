package contacts

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

const patience = 5 * time.Second // for an exchange with Redis

func metered(total int, at time.Time) Count {
	return Count{Count: account.Count{Total: total, AsOf: at, Source: account.Metered}, Customers: total / 2}
}

// each runs body with a Store on every kind of Redis.
func each(t *testing.T, body func(t *testing.T, s *Store, c *store.Client)) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, c *store.Client) {
		body(t, NewStore(c.UniversalClient, "rg:", patience), c)
	})
}

// must returns the result of what must not fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (s *Store) read(t *testing.T, corp string) (State, bool) {
	t.Helper()
	state, ok := must(s.Read(t.Context(), []string{corp, "wwNobody"}))[corp]
	return state, ok
}

// The newest count is kept, whatever the order, and so is the last of each day in UTC+8.
func TestCountsAreShared(t *testing.T) {
	each(t, func(t *testing.T, s *Store, c *store.Client) {
		const corp = "ww_1-A"
		if _, ok := s.read(t, corp); ok {
			t.Error("a count before the first")
		}
		if days := must(s.History(t.Context(), corp)); len(days) != 0 {
			t.Errorf("%v", days)
		}
		midnight := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC) // in UTC+8
		for _, put := range []struct {
			total int
			at    time.Time
			taken bool
		}{
			{10, midnight.Add(-time.Hour), true},
			{11, midnight.Add(-time.Millisecond), true},
			{99, midnight.Add(-time.Minute), false},
			{12, midnight, true},
			{12, midnight, false},
			{98, midnight.Add(-48 * time.Hour), false},
			{0, midnight.Add(24*time.Hour + time.Millisecond), true},
		} {
			if taken, err := s.Put(t.Context(), corp, metered(put.total, put.at)); err != nil || taken != put.taken {
				t.Errorf("%+v: %v, %v", put, taken, err)
			}
		}
		state, ok := s.read(t, corp)
		if want := metered(0, midnight.Add(24*time.Hour+time.Millisecond)); !ok || state.Total != 0 || state.Customers != 0 || !state.AsOf.Equal(want.AsOf) || state.Source != account.Metered || state.Number().Exact != true {
			t.Errorf("%+v", state)
		}
		days := must(s.History(t.Context(), corp))
		if fmt.Sprint(days) != "[{2026-11-21 11} {2026-11-22 12} {2026-11-23 0}]" {
			t.Errorf("%v", days)
		}
		for _, key := range c.Keys(t.Context(), "rg:*").Val() {
			if strings.Contains(key, "contacts") && (!strings.HasPrefix(key, "rg:contacts:{ww_1-A}") || c.PTTL(t.Context(), key).Val() <= 399*24*time.Hour) {
				t.Errorf("%s is kept for %s", key, c.PTTL(t.Context(), key).Val())
			}
		}
	})
}

// The history has 400 days and no more.
func TestHistoryIsBounded(t *testing.T) {
	each(t, func(t *testing.T, s *Store, _ *store.Client) {
		for i := range 410 {
			must(s.Put(t.Context(), "ww1", metered(i, epoch.AddDate(0, 0, i))))
		}
		days := must(s.History(t.Context(), "ww1"))
		if len(days) != 401 || days[400].Total != 409 || days[0].Date != "2026-12-01" {
			t.Errorf("%d days from %v to %v", len(days), days[0], days[len(days)-1])
		}
	})
}

// storeCounter makes a Store a counter.
type storeCounter struct {
	t *testing.T
	s *Store
}

func (c storeCounter) put(n Count) { must(c.s.Put(c.t.Context(), "ww1", n)) }
func (c storeCounter) move(v Move) {
	if err := c.s.Move(c.t.Context(), "ww1", v); err != nil {
		c.t.Error(err)
	}
}

// both is a ledger and a Store that get the same.
type both struct {
	l *ledger
	s storeCounter
}

func (b both) put(n Count) { b.l.put(n); b.s.put(n) }
func (b both) move(v Move) { b.l.move(v); b.s.move(v) }

// What Redis holds moves as the arithmetic says, in histories with everything that can happen.
func TestStoredEstimate(t *testing.T) {
	each(t, func(t *testing.T, s *Store, c *store.Client) {
		for seed := range uint64(8) {
			w, b := newWorld(seed), both{&ledger{}, storeCounter{t, s}}
			w.now = epoch.AddDate(0, 0, int(seed))
			w.pass(t, b)
			for range 15 {
				w.change()
				w.deliver(2, b)
				if w.random.IntN(8) == 0 {
					w.pass(t, b)
				}
				state, _ := s.read(t, "ww1")
				if got, want := state.Number(), b.l.Number(); got.Total != want.Total || got.Exact != want.Exact || !got.AsOf.Equal(want.AsOf) || got.Source != want.Source {
					t.Fatalf("history %d: %+v, want %+v", seed, got, want)
				}
			}
		}
		if values := c.HVals(t.Context(), "rg:contacts:{ww1}:moves").Val(); strings.Contains(strings.Join(values, " "), "clerk") {
			t.Errorf("ids are in Redis: %v", values)
		}
	})
}

// Gateways that get the same callbacks at the same time count each once.
func TestConcurrentMoves(t *testing.T) {
	each(t, func(t *testing.T, s *Store, c *store.Client) {
		must(s.Put(t.Context(), "ww1", metered(100, epoch)))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				other := NewStore(c.UniversalClient, "rg:", patience)
				for i := range 20 {
					for _, with := range []string{"a", "b"} {
						if err := other.Move(context.Background(), "ww1", Move{Customer: fmt.Sprint("wm", i), With: with, Change: Added, At: epoch.Add(time.Duration(i+1) * time.Second)}); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		state, _ := s.read(t, "ww1")
		if n := state.Number(); n.Total != 120 || n.Exact || !n.AsOf.Equal(epoch.Add(20*time.Second)) {
			t.Errorf("%+v", n)
		}
	})
}

// Without a count there is no estimate. A broken count is none, and the next one replaces it.
func TestNoEstimateWithoutCount(t *testing.T) {
	each(t, func(t *testing.T, s *Store, c *store.Client) {
		add := Move{Customer: "wm1", With: "a", Change: Added, At: epoch.Add(time.Second)}
		if err := s.Move(t.Context(), "ww1", add); err != nil {
			t.Fatal(err)
		}
		if n := c.Exists(t.Context(), "rg:contacts:{ww1}:moves", "rg:contacts:{ww1}:count").Val(); n != 0 {
			t.Errorf("%d keys", n)
		}
		c.HSet(t.Context(), "rg:contacts:{ww1}:count", "as_of", epoch.UnixMilli(), "total", "many")
		if state, ok := s.read(t, "ww1"); ok {
			t.Errorf("%+v", state)
		}
		if taken := must(s.Put(t.Context(), "ww1", metered(5, epoch.Add(time.Hour)))); !taken {
			t.Error("the next count is not taken")
		}
		// A move that the count has seen, and one within the millisecond of it.
		for _, at := range []time.Duration{time.Second, time.Hour} {
			add.At = epoch.Add(at)
			if err := s.Move(t.Context(), "ww1", add); err != nil {
				t.Fatal(err)
			}
		}
		if state, _ := s.read(t, "ww1"); !state.Number().Exact || state.Total != 5 {
			t.Errorf("%+v", state)
		}
		add.At = epoch.Add(time.Hour + time.Second)
		if err := s.Move(t.Context(), "ww1", add); err != nil {
			t.Fatal(err)
		}
		if state, _ := s.read(t, "ww1"); state.Number().Total != 6 {
			t.Errorf("%+v", state)
		}
	})
}

// More people than are remembered no longer move the estimate, which says so until the next count.
func TestMovesAreBounded(t *testing.T) {
	each(t, func(t *testing.T, s *Store, c *store.Client) {
		must(s.Put(t.Context(), "ww1", metered(100, epoch)))
		many := make([]any, 0, 2*maxMoved)
		for i := range maxMoved {
			many = append(many, fmt.Sprint(i), "x:+1+1")
		}
		if err := c.HSet(t.Context(), "rg:contacts:{ww1}:moves", many...).Err(); err != nil {
			t.Fatal(err)
		}
		old := Move{Customer: "wm1", With: "a", Change: Added, At: epoch}
		if err := s.Move(t.Context(), "ww1", old); err != nil {
			t.Fatal(err)
		}
		if state, _ := s.read(t, "ww1"); state.Partial {
			t.Error("a move that the count has seen makes it partial")
		}
		if err := s.Move(t.Context(), "ww1", Move{Customer: "wm1", With: "a", Change: Added, At: epoch.Add(time.Second)}); err != nil {
			t.Fatal(err)
		}
		if state, _ := s.read(t, "ww1"); !state.Partial || state.Moved != 0 {
			t.Errorf("%+v", state)
		}
		must(s.Put(t.Context(), "ww1", metered(100, epoch.Add(time.Hour))))
		if state, _ := s.read(t, "ww1"); state.Partial {
			t.Errorf("%+v", state)
		}
	})
}

// Many accounts are read at once, each with its own count.
func TestReadMany(t *testing.T) {
	each(t, func(t *testing.T, s *Store, _ *store.Client) {
		var corps []string
		for i := range readChunk + 3 {
			corps = append(corps, fmt.Sprint("ww", i))
		}
		for _, i := range []int{0, readChunk - 1, readChunk, readChunk + 2} {
			must(s.Put(t.Context(), corps[i], metered(i, epoch)))
		}
		all, err := s.Read(t.Context(), corps)
		if err != nil || len(all) != 4 || all[corps[readChunk]].Total != readChunk {
			t.Errorf("%d states, %v", len(all), err)
		}
	})
}

// A Redis that does not answer is an error that names the account, within the store's timeout.
func TestRedisAway(t *testing.T) {
	server := storetest.Start(t)
	c := storetest.Open(t, server.Config(), time.Now)
	server.Down()
	s := NewStore(c.UniversalClient, "rg:", 100*time.Millisecond)
	_, putErr := s.Put(t.Context(), "ww1", metered(1, epoch))
	_, readErr := s.Read(t.Context(), []string{"ww1"})
	_, historyErr := s.History(t.Context(), "ww1")
	moveErr := s.Move(t.Context(), "ww1", Move{Customer: "wm1", With: "a", Change: Added, At: epoch})
	for _, err := range []error{putErr, historyErr, moveErr, readErr} {
		if err == nil || !strings.HasPrefix(err.Error(), "contacts: ") || err != readErr && !strings.Contains(err.Error(), " of ww1: ") {
			t.Errorf("%v", err)
		}
	}
}
