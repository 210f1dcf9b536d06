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

// accounts are the corps that the configuration lists now, and those that it listed before; nil if
// only Redis may know.
type accounts struct{ now, before []string }

// newAtOnce is how many new accounts are written at once: as many as no timeout is too short for.
const newAtOnce = 500

// ListAccounts notes the corps of all accounts. One that was not listed before begins with a gap,
// since its callbacks were not recorded. before are those listed up to now, nil at a start: then
// the list in Redis counts.
func (s *Store) ListAccounts(ctx context.Context, corps, before []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(corps))*time.Millisecond)
	defer cancel()
	s.gaps.list(corps, before)
	return s.catchUp(ctx)
}

// list has accounts written. Of a list that is not written yet only what was before it counts.
func (g *gaps) list(corps, before []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if earlier := g.unwritten.accounts; earlier != nil {
		before = earlier.before
	}
	g.unwritten.accounts, g.listed = &accounts{now: corps, before: before}, corps
	g.pending.Store(true)
}

// rewriteAccountList has the accounts written again, after Redis lost its state.
func (s *Store) rewriteAccountList() {
	g := &s.gaps
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listed != nil && g.unwritten.accounts == nil {
		g.unwritten.accounts = &accounts{now: g.listed, before: g.listed}
		g.pending.Store(true)
	}
}

// writeAccounts writes the list of accounts and marks the gaps of new ones, a part of them at a
// time: those that are marked count as listed before. If neither Redis nor the caller knows an
// earlier list, none is new: rg:since has begun anew then, or an operator has set it.
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
		for some := range slices.Chunk(newAccounts(a.now, a.before), newAtOnce) {
			if err := s.beginAccounts(ctx, some); err != nil {
				return err
			}
			a.before = slices.Concat(a.before, some)
		}
	}
	if now := joinIDs(a.now); now != text {
		if err := s.rdb.Set(ctx, key, now, 0).Err(); err != nil {
			return fmt.Errorf("window: accounts: %w", err)
		}
	}
	return nil
}

// beginAccounts marks the gaps of new accounts. They rarely have one already: what takes a script
// for each key then is a plain SETNX.
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

// joinIDs writes ids for Redis, sorted.
func joinIDs(ids []string) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(appendEncoded(nil, id))
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// splitIDs reads what joinIDs writes.
func splitIDs(text string) []string {
	all := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if id, ok := unescapeID(part); ok {
			all = append(all, id)
		}
	}
	return all
}
