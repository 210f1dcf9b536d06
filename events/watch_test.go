package events

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/record"
	"replygate/store/storetest"
	"replygate/window"
)

// A chat that closes is looked at and logged while the look at the records takes long.
func TestSlowRecordsDoNotDelayChats(t *testing.T) {
	var ahead atomic.Int64 // of the real clock
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	c := storetest.Open(t, storetest.Embedded(t), now)
	l := logIn(c)
	windows := window.NewEmbedded(c.UniversalClient, c, window.Settings{Prefix: "rg:", Length: 48 * time.Hour, Replies: 5, Timeout: patience, Now: now})
	ctx, cancel := context.WithCancel(t.Context())
	slow := make(chan struct{}, 1)
	w := &Watch{
		Log: l, Now: now, Errors: record.RateLimit(zap.NewNop(), now),
		Accounts: &Accounts{Book: func() *account.Book { return account.NewBook(nil) }},
		Moves:    &Moves{Book: func() *account.Book { return account.NewBook(nil) }},
		Chats: &Chats{
			Windows: windows, Observed: func(string) bool { return true },
			Describe: func(window.Key, time.Time) ChatData { return ChatData{} },
		},
		Records: &Records{
			Corps: func() []string { return nil },
			Since: func(ctx context.Context, _ []string) ([]window.History, error) {
				slow <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			},
		},
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { windows.Run(ctx) })
	running.Go(func() { w.Run(ctx) })
	k := window.Key{Corp: "wwA", Channel: "wkA", Customer: "wmA"}
	must(windows.Record(t.Context(), []window.Fact{{Key: k, At: now().Add(10*time.Minute - 48*time.Hour)}}))
	<-slow
	awaitEvent(t, l, WindowClosing)
	ahead.Store(int64(11 * time.Minute))
	awaitEvent(t, l, ClosedUnanswered)
}

// awaitEvent waits until an event of a type is logged.
func awaitEvent(t *testing.T, l *Log, kind string) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, e := range must(l.Read(t.Context(), "", 10)) {
			if e.Type == kind {
				return
			}
		}
	}
	t.Fatalf("no %s is logged", kind)
}
