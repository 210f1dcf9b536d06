package outbox

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/events"
	"replygate/store/storetest"
)

// dies is a connection to a Redis that dies once it has carried out a script, before the answer.
type dies struct {
	armed atomic.Bool
	die   func()
}

func (h *dies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *dies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil && cmd.Name() == "evalsha" && h.armed.CompareAndSwap(true, false) {
			h.die()
			err = errors.New("the connection broke")
			cmd.SetErr(err)
		}
		return err
	}
}

func (h *dies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// appends repeats an append until Redis answers, as the finders of events do.
func (r *rig) appends(all ...events.Event) {
	r.Helper()
	var err error
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = r.Log.Append(r.Context(), all...); err == nil {
			return
		}
	}
	r.Fatal(err)
}

// inLog returns how often each event is in the log, by id.
func (r *rig) inLog() map[string]int {
	r.Helper()
	entries, err := r.Log.Read(r.Context(), "", 1000)
	if err != nil {
		r.Fatal(err)
	}
	n := map[string]int{}
	for _, e := range entries {
		n[idOf(&e)]++
	}
	return n
}

// A primary dies after it took an event and before it answered, while a webhook gets others.
// Whether the replica has the event or not: each is delivered, and in the log once.
func TestFailovers(t *testing.T) {
	for name, replicated := range map[string]bool{"the replica has it": true, "the replica lacks it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, primary, replica, _ := storetest.StartSentinel(t)
			client := storetest.Open(t, c, time.Now)
			in := receives(t, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(5 * time.Millisecond)
				w.WriteHeader(http.StatusNoContent)
			})
			r := newRig(t, client, to(in.URL))
			r.begins()
			ids := r.logs(events.ClosedUnanswered, "wwA", 100, nil)
			r.await("some deliveries", func() bool { return in.has("") > 10 })
			h := &dies{die: func() {
				if replicated {
					primary.Replicated(replica)
				}
				primary.Down()
			}}
			client.AddHook(h)
			if !replicated {
				primary.Replicated(replica)
				replica.Signal(syscall.SIGSTOP)
			}
			one := events.Event{Type: events.AccountStopsSoon, At: time.Now(), Corp: "wwA", Key: []string{"wwA", "1"}}
			h.armed.Store(true)
			if _, err := r.Log.Append(t.Context(), one); err == nil {
				t.Fatal("the append was answered")
			}
			if !replicated {
				replica.Signal(syscall.SIGCONT)
			}
			r.appends(one)
			ids = append(ids, one.ID())
			for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				missing := 0
				for _, id := range ids {
					if in.has(id) == 0 {
						missing++
					}
				}
				if missing == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d events did not come", missing)
				}
			}
			logged := r.inLog()
			for _, id := range ids {
				if logged[id] != 1 {
					t.Errorf("%s is in the log %d times", id, logged[id])
				}
			}
			if len(logged) != len(ids) {
				t.Errorf("%d events in the log, want %d", len(logged), len(ids))
			}
		})
	}
}
