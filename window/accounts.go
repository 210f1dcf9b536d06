package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// accounts are the corps in the configuration now, and those in it before. before is nil if only
// Redis may know.
type accounts struct{ now, before []string }

// ListAccounts stores the corps of all accounts. A corp that was not listed before begins with a
// gap, since its callbacks were not recorded. before are the corps listed until now; nil, as at a
// start, means those listed in Redis. It returns before any call of a new account is judged, so
// that refusals stay possible meanwhile. If Redis does not answer, Run writes the list later, and
// until then nothing is refused because a record is missing.
func (s *Store) ListAccounts(ctx context.Context, corps, before []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(corps))*time.Millisecond)
	defer cancel()
	if before != nil && s.listAtOnce(ctx, &accounts{now: corps, before: before}) {
		return nil
	}
	s.gaps.list(corps, before)
	return s.writePending(ctx)
}

// listAtOnce writes accounts unless others wait to be written, and reports whether it did.
func (s *Store) listAtOnce(ctx context.Context, a *accounts) bool {
	g := &s.gaps
	if !g.writing.TryLock() {
		return false
	}
	defer g.writing.Unlock()
	g.mu.Lock()
	queued := g.accounts != nil
	g.mu.Unlock()
	if queued || s.writeAccounts(ctx, a) != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listed = a.now
	if g.accounts != nil { // rewriteAccountList queued the list before
		g.accounts.now = a.now
	}
	return true
}

// list queues accounts for writing. It replaces a list that is still queued, and keeps that one's
// before.
func (g *gaps) list(corps, before []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.accounts != nil {
		before = g.accounts.before
	}
	g.accounts, g.listed = &accounts{now: corps, before: before}, corps
	g.pending.Store(true)
}

// rewriteAccountList queues the accounts again, after Redis lost its state.
func (s *Store) rewriteAccountList() {
	g := &s.gaps
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listed != nil && g.accounts == nil {
		g.accounts = &accounts{now: g.listed, before: g.listed}
		g.pending.Store(true)
	}
}

// writeAccounts writes the list of accounts and marks the gaps of new ones. If neither Redis nor
// the caller knows an earlier list, no account is new: rg:since starts anew then, or an operator
// set it.
func (s *Store) writeAccounts(ctx context.Context, a *accounts) error {
	key := s.Prefix + "accounts"
	text, err := s.rdb.Get(ctx, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return fmt.Errorf("window: accounts: %w", err)
	}
	before := a.before
	if before == nil && err == nil {
		before = splitIDs(text)
	}
	if before != nil {
		now, marks := s.Now().UnixMilli(), map[string]int64{}
		for _, corp := range newAccounts(a.now, before) {
			marks[s.gapKey(corp)], marks[s.gapKey(corp)+anyChannel] = now, now
		}
		if len(marks) > 0 {
			s.waitSettled()
			ctx = context.WithoutCancel(ctx) // each chunk has its own deadline
		}
		if moved, err := s.mark(ctx, marks); err != nil {
			return err
		} else if moved {
			s.counts.gap(gapNewAccount)
		}
	}
	if now := joinIDs(a.now); now != text {
		if err := s.rdb.Set(ctx, key, now, 0).Err(); err != nil {
			return fmt.Errorf("window: accounts: %w", err)
		}
	}
	return nil
}

// newAccounts returns the corps that were not listed before.
func newAccounts(now, before []string) (corps []string) {
	known := make(map[string]bool, len(before))
	for _, corp := range before {
		known[corp] = true
	}
	for _, corp := range now {
		if !known[corp] {
			corps = append(corps, corp)
		}
	}
	return corps
}

// joinIDs encodes ids for Redis, sorted and separated by commas.
func joinIDs(ids []string) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(appendEncoded(nil, id))
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// splitIDs is the inverse of joinIDs. It skips what is not an encoded id.
func splitIDs(text string) []string {
	all := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if id, ok := unescapeID(part); ok {
			all = append(all, id)
		}
	}
	return all
}
