package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"replygate/store"
	"replygate/store/storetest"
)

// Every caller gets the answer to its own question. An error is returned to all callers of its
// batch, and to no others.
func TestCoalescerAnswersEachQuestion(t *testing.T) {
	broken := errors.New("broken")
	var asked atomic.Int64
	b := store.NewCoalescer(func(_ context.Context, questions []int) ([]string, error) {
		asked.Add(1)
		if slices.Contains(questions, 777) {
			return nil, broken
		}
		answers := make([]string, len(questions))
		for i, q := range questions {
			answers[i] = fmt.Sprint("answer ", q)
		}
		return answers, nil
	})
	var all sync.WaitGroup
	var failed atomic.Int64
	for i := range 2000 {
		all.Go(func() {
			switch got, err := b.Do(t.Context(), i); {
			case errors.Is(err, broken):
				failed.Add(1)
			case err != nil || got != fmt.Sprint("answer ", i):
				t.Errorf("%d: %v, %v", i, got, err)
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n < 1 || n > 256 {
		t.Errorf("%d callers got the error of one batch of at most 256", n)
	}
	if n := asked.Load(); n > 2000 {
		t.Errorf("2000 questions were sent in %d batches", n)
	}
}

// Requests that arrive during a batch are sent together as the next one.
func TestCoalescerBatches(t *testing.T) {
	const many = 100
	hold := make(chan struct{})
	var sizes []int
	b := store.NewCoalescer(func(_ context.Context, questions []int) ([]int, error) {
		if sizes = append(sizes, len(questions)); len(sizes) == 1 {
			<-hold
		}
		return questions, nil
	})
	var all sync.WaitGroup
	ask := func(i int) {
		all.Go(func() {
			if got, err := b.Do(t.Context(), i); got != i || err != nil {
				t.Error(got, err)
			}
		})
	}
	ask(0)
	for b.Workers() == 0 || b.Pending() > 0 {
		runtime.Gosched()
	}
	for i := range many {
		ask(i + 1)
	}
	for b.Pending() < many {
		runtime.Gosched()
	}
	close(hold)
	all.Wait()
	if !slices.Equal(sizes, []int{1, many}) {
		t.Errorf("the batches have %v questions", sizes)
	}
}

// No caller waits for a hanging Redis longer than its own deadline, and callers are served once it
// is back.
func TestCoalescerOnHangingRedis(t *testing.T) {
	slow(t, "waits for timeouts")
	server := storetest.Start(t)
	wire := storetest.NewWire(t, server.Addr())
	c := server.Config()
	c.Addrs, c.Timeout = []string{wire.Addr().String()}, 200*time.Millisecond
	s := storetest.Open(t, c, time.Now)
	b := store.NewCoalescer(func(ctx context.Context, questions []int) ([]int, error) {
		return questions, s.Ping(ctx).Err()
	})
	ask := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		_, err := b.Do(ctx, 1)
		return err
	}
	wire.Hang()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			began := time.Now()
			if err := ask(); err == nil {
				t.Error("a hanging Redis has answered")
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
			t.Fatal(errors.Join(errors.New("Redis is back, and gets no requests"), err))
		}
	}
}
