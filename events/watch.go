package events

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"replygate/record"
)

// Watch finds the events that time and shared state bring. One gateway at a time runs it; running
// it twice logs nothing twice.
type Watch struct {
	Log      *Log
	Accounts *Accounts
	Chats    *Chats
	Records  *Records
	Moves    *Moves
	Now      func() time.Time
	Errors   *record.RateLimited

	known map[string]string
}

const (
	watchEvery   = time.Second
	accountsEach = 10 * time.Second // also at the instants that time alone brings
	chatsEach    = 15 * time.Second
	recordsEach  = time.Minute
	movesEach    = time.Hour
)

// Run looks until ctx ends. All it knows of earlier looks is in Redis, so what a gateway had no
// time for is found by the next one.
func (w *Watch) Run(ctx context.Context) {
	var chats sync.WaitGroup
	defer chats.Wait()
	chats.Go(func() { w.watchChats(ctx) }) // a last look at a chat waits for nothing else
	w.watchFacts(ctx)
}

// watchChats looks at chats.
func (w *Watch) watchChats(ctx context.Context) {
	var next time.Time // look
	begun := false
	repeat(ctx, func() {
		if !begun {
			if begun = w.tell(w.Chats.begin(ctx, w.Log), "events that were logged before cannot be read: retrying"); !begun {
				return
			}
		}
		now := w.Now()
		w.tell(w.Chats.close(ctx, now), "chats that closed unanswered cannot be logged: retrying")
		if !now.Before(next) && w.tell(w.Chats.look(ctx, now), "chats that close cannot be logged: retrying") {
			next = now.Add(chatsEach)
		}
	})
}

// watchFacts looks at facts that last: of accounts, of the records, and of contacts.
func (w *Watch) watchFacts(ctx context.Context) {
	var accounts, records, moves time.Time // when the next look is due
	begun := false
	repeat(ctx, func() {
		if !begun {
			if begun = w.tell(w.begin(ctx), "events that were logged before cannot be read: retrying"); !begun {
				return
			}
		}
		now := w.Now()
		if !now.Before(accounts) {
			next, err := w.lookAtAccounts(ctx, now)
			if w.tell(err, "events of accounts cannot be logged: retrying") {
				accounts = earliest(next, now.Add(accountsEach))
			}
		}
		if !now.Before(records) && w.tell(w.lookAtRecords(ctx, now), "gaps in the records cannot be logged: retrying") {
			records = now.Add(recordsEach)
		}
		if !now.Before(moves) && w.tell(w.lookAtMoves(ctx, now), "contacts.moved events cannot be logged: retrying") {
			moves = now.Add(movesEach)
		}
	})
}

// repeat calls look every watchEvery until ctx ends.
func repeat(ctx context.Context, look func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look()
		}
	}
}

// tell logs an error, if there is one. ok reports that there is none.
func (w *Watch) tell(err error, what string) (ok bool) {
	if err != nil {
		w.Errors.Warn(what, zap.Error(err))
	}
	return err == nil
}

// begin reads which facts the gateway that led before knew.
func (w *Watch) begin(ctx context.Context) (err error) {
	if w.known, err = w.Log.known(ctx); err != nil {
		return err
	}
	if fields := w.Accounts.stale(w.known); len(fields) > 0 {
		if err := w.Log.forget(ctx, fields); err != nil {
			return err
		}
		maps.DeleteFunc(w.known, func(field, _ string) bool { return slices.Contains(fields, field) })
	}
	w.Records.seen = map[string]string{}
	return nil
}

func (w *Watch) lookAtAccounts(ctx context.Context, now time.Time) (next time.Time, err error) {
	all, next := w.Accounts.find(ctx, w.known, now)
	return next, w.append(ctx, all)
}

func (w *Watch) lookAtRecords(ctx context.Context, now time.Time) error {
	all, err := w.Records.find(ctx, w.known, now)
	if err != nil {
		return err
	}
	return w.append(ctx, all)
}

func (w *Watch) lookAtMoves(ctx context.Context, now time.Time) error {
	all, err := w.Moves.find(ctx, w.known, now)
	if err != nil {
		return err
	}
	return w.append(ctx, all)
}

// append logs facts that last, and remembers them. If another gateway knows more, everything is
// read again.
func (w *Watch) append(ctx context.Context, all []Event) error {
	results, err := w.Log.Append(ctx, all...)
	reread := false
	for i, r := range results {
		if r == Other {
			reread = true
			continue
		}
		w.known[all[i].Field] = all[i].Value
	}
	if err == nil && reread {
		w.known, err = w.Log.known(ctx)
	}
	return err
}
