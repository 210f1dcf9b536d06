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

// newAccountsPerBatch bounds a pipeline, so that it finishes within the shortest timeout.
const newAccountsPerBatch = 500

// ListAccounts stores the corps of all accounts. A corp that was not listed before begins with a
// gap, since its callbacks were not recorded. before are the corps listed until now; nil, as at a
// start, means those listed in Redis. If Redis does not answer, Run writes the list later.
func (s *Store) ListAccounts(ctx context.Context, corps, before []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(corps))*time.Millisecond)
	defer cancel()
	s.gaps.list(corps, before)
	return s.catchUp(ctx)
}

// list queues accounts for writing. It replaces a list that is still queued, and keeps that one's
// before.
func (g *gaps) list(corps, before []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if earlier := g.unwritten.accounts; earlier != nil {
		before = earlier.before
	}
	g.unwritten.accounts, g.listed = &accounts{now: corps, before: before}, corps
	g.pending.Store(true)
}

// rewriteAccountList queues the accounts again, after Redis lost its state.
func (s *Store) rewriteAccountList() {
	g := &s.gaps
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listed != nil && g.unwritten.accounts == nil {
		g.unwritten.accounts = &accounts{now: g.listed, before: g.listed}
		g.pending.Store(true)
	}
}

// writeAccounts writes the list of accounts and marks the gaps of new ones in batches. Accounts of
// a finished batch move to before, so a retry does not mark them again. If neither Redis nor the
// caller knows an earlier list, no account is new: rg:since starts anew then, or an operator set
// it.
func (s *Store) writeAccounts(ctx context.Context, a *accounts) error {
	key := s.Prefix + "accounts"
	text, err := s.rdb.Get(ctx, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return fmt.Errorf("window: accounts: %w", err)
	}
	if a.before == nil && err == nil {
		a.before = splitIDs(text)
	}
	if a.before != nil {
		for batch := range slices.Chunk(newAccounts(a.now, a.before), newAccountsPerBatch) {
			if err := s.beginAccounts(ctx, batch); err != nil {
				return err
			}
			a.before = slices.Concat(a.before, batch)
		}
	}
	if now := joinIDs(a.now); now != text {
		if err := s.rdb.Set(ctx, key, now, 0).Err(); err != nil {
			return fmt.Errorf("window: accounts: %w", err)
		}
	}
	return nil
}

// beginAccounts marks the gaps of new accounts. Few have a gap already, so a plain SETNX does for
// most, and only the rest need a script.
func (s *Store) beginAccounts(ctx context.Context, corps []string) error {
	now := s.Now().UnixMilli()
	p := s.rdb.Pipeline()
	marks := make(map[string]int64, 2*len(corps))
	set := make(map[string]*redis.BoolCmd, 2*len(corps))
	for _, corp := range corps {
		for _, key := range []string{s.gapKey(corp), s.gapKey(corp) + anyChannel} {
			marks[key], set[key] = now, p.SetNX(ctx, key, now, s.Length)
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: accounts: %w", err)
	}
	for key, cmd := range set {
		if cmd.Val() {
			delete(marks, key)
		}
	}
	_, err := s.raise(ctx, marks)
	return err
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
