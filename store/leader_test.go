package store_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"replygate/config"
	"replygate/store"
	"replygate/store/storetest"
)

const testTerm = 500 * time.Millisecond

// One process leads at a time. When it ends, another one leads at once.
func TestOneLeaderAtATime(t *testing.T) {
	storetest.Each(t, time.Now, func(t *testing.T, _ config.Redis, s *store.Client) {
		var leading atomic.Int32
		led := make(chan int)
		run := func(ctx context.Context, id int) (ended chan struct{}) {
			ended = make(chan struct{})
			go func() {
				defer close(ended)
				store.NewLeader(s, "rg:leader:test", testTerm).Run(ctx, func(ctx context.Context) {
					if n := leading.Add(1); n != 1 {
						t.Errorf("%d lead at the same time", n)
					}
					led <- id
					<-ctx.Done()
					leading.Add(-1)
				})
			}()
			return ended
		}
		ends := map[int]context.CancelFunc{}
		ended := map[int]chan struct{}{}
		for id := range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			ends[id], ended[id] = cancel, run(ctx, id)
		}
		for range 3 {
			id := <-led
			ends[id]()
			<-ended[id]
		}
		if n, err := s.Exists(t.Context(), "rg:leader:test").Result(); err != nil || n != 0 {
			t.Errorf("after the last one the lock exists: %d, %v", n, err)
		}
	})
}

// Work that returns is called again after a term, and meanwhile others may lead.
func TestLeaderWorksAgain(t *testing.T) {
	s := storetest.Open(t, storetest.Embedded(t), time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan struct{}, 2)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		store.NewLeader(s, "rg:leader:test", testTerm).Run(ctx, func(context.Context) { calls <- struct{}{} })
	}()
	<-calls
	<-calls
	cancel()
	<-ended
}

// A leader whose lock was taken, or that cannot reach Redis, is told within the term.
func TestLeaderLosesTheLock(t *testing.T) {
	for name, lose := range map[string]func(*storetest.Server){
		"taken": func(s *storetest.Server) { s.CLI("set", "rg:leader:test", "another", "px", "100000") },
		"away":  (*storetest.Server).Down,
	} {
		t.Run(name, func(t *testing.T) {
			server := storetest.Start(t)
			s := storetest.Open(t, server.Config(), time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			leads, lost, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				store.NewLeader(s, "rg:leader:test", testTerm).Run(ctx, func(ctx context.Context) {
					close(leads)
					<-ctx.Done()
					close(lost)
				})
			}()
			<-leads
			lose(server)
			select {
			case <-lost:
			case <-time.After(5 * testTerm):
				t.Error("the leader still leads")
			}
			cancel()
			<-ended
		})
	}
}
