package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
	"replygate/store/storetest"
)

// Everyone gets the answer to what was asked, however many ask at a time, and an error of one is nobody else's.
func TestBatchAnswersEachItsOwn(t *testing.T) {
	c := storetest.Start(t).Config()
	s := storetest.Open(t, c, time.Now)
	b := store.NewBatch(s.UniversalClient, s.Timeout)
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			text := fmt.Sprint("text", i)
			command := []any{"ECHO", text}
			if i%10 == 0 {
				command = []any{"HGET", "rg:layout", "field"} // it is no hash
			}
			got, err := b.Do(t.Context(), func(p store.Sender) *redis.Cmd { return p.Do(t.Context(), command...) })
			if wrong := i%10 == 0; wrong != (err != nil) || !wrong && got != text {
				t.Errorf("%s: %v, %v", text, got, err)
			}
		})
	}
	all.Wait()
}

// A Redis that hangs keeps nobody longer than they wait, and serves them all once it is back.
func TestBatchOfAHangingRedis(t *testing.T) {
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	c := server.Config()
	c.Addrs, c.Timeout = []string{wire.Addr().String()}, 200*time.Millisecond
	s := storetest.Open(t, c, time.Now)
	b := store.NewBatch(s.UniversalClient, s.Timeout)
	ask := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		_, err := b.Do(ctx, func(p store.Sender) *redis.Cmd { return p.Do(ctx, "PING") })
		return err
	}
	wire.Hang()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			began := time.Now()
			if err := ask(); err == nil {
				t.Error("an answer from a Redis that hangs")
			}
			if took := time.Since(began); took > 5*s.Timeout {
				t.Errorf("it took %s", took)
			}
		})
	}
	all.Wait()
	wire.Heal()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(errors.Join(errors.New("Redis is back, and not asked"), err))
		}
	}
}
