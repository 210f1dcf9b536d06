package window_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store/storetest"
	"replygate/window"
)

// readLists counts the lists that are read.
type readLists struct {
	mu sync.Mutex
	n  int
}

func (r *readLists) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (r *readLists) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (r *readLists) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, c := range cmds {
			if c.Name() == "zrangebyscore" {
				r.n++
			}
		}
		return next(ctx, cmds)
	}
}

func (r *readLists) take() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.n
	r.n = 0
	return n
}

// A page over many corps reads the lists of those that close first, and has at once what this
// gateway has recorded since the sums, however old it is.
func TestFewListsOfManyCorps(t *testing.T) {
	t.Parallel()
	const corps = 300
	client := storetest.Open(t, storetest.Start(t).Config(), time.Now)
	set := settings(5, time.Now)
	set.IndexAll = true
	s, _ := newStore(t, client, set)
	agree(t, s)
	lists := &readLists{}
	client.AddHook(lists)
	begin := time.Now().Add(-40 * time.Hour)
	key := func(corp int) window.Key {
		return window.Key{Corp: fmt.Sprintf("ww%03d", corp), Channel: "wk1", Customer: "wm1"}
	}
	record := func(k window.Key, at time.Time) {
		t.Helper()
		if _, err := s.Record(t.Context(), []window.Fact{{Key: k, At: at}}); err != nil {
			t.Fatal(err)
		}
	}
	for corp := range corps {
		record(key(corp), begin.Add(time.Duration(corp)*time.Minute))
	}
	for corp := 0; corp < corps; corp += 2 { // which leaves them out of the waiting ones
		if _, err := s.RecordReplies(t.Context(), []window.Reply{{Key: key(corp), Kind: window.ByBot, At: time.Now(), ID: fmt.Sprint(corp)}}); err != nil {
			t.Fatal(err)
		}
	}
	page := func(q window.Query) (all []string) {
		t.Helper()
		q.Limit = 3
		got, err := s.ListByClose(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got.Entries {
			all = append(all, e.Key.Corp)
		}
		return all
	}
	page(window.Query{}) // writes the lists
	if err := s.Sum(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ForgetSums()
	lists.take()
	for _, c := range []struct {
		q    window.Query
		want string
	}{{window.Query{Waiting: true}, "[ww001 ww003 ww005]"}, {window.Query{}, "[ww000 ww001 ww002]"}} {
		if got := fmt.Sprint(page(c.q)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.q, got, c.want)
		}
		if n := lists.take(); n > 128 {
			t.Errorf("%+v: %d lists were read", c.q, n)
		}
	}
	record(window.Key{Corp: "ww200", Channel: "wk1", Customer: "wmLate"}, begin.Add(-time.Hour)) // as by a page that comes late
	for _, waiting := range []bool{true, false} {
		if got := page(window.Query{Waiting: waiting}); got[0] != "ww200" {
			t.Errorf("waiting=%v: the page begins with %s", waiting, got)
		}
	}
}
