package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// accounts are the corps that the configuration lists now, and those that it listed before; nil if
// only Redis may know.
type accounts struct{ now, before []string }

// ListAccounts notes the corps of all accounts. One that was not listed before begins with a gap,
// since its callbacks were not recorded. before are those listed up to now, nil at a start: then
// the list in Redis counts.
func (s *Store) ListAccounts(ctx context.Context, corps, before []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	s.gaps.mu.Lock()
	if earlier := s.gaps.accounts; earlier != nil {
		before = earlier.before
	}
	s.gaps.accounts, s.gaps.listed = &accounts{now: corps, before: before}, corps
	s.gaps.pending.Store(true)
	s.gaps.mu.Unlock()
	return s.catchUp(ctx)
}

// listAgain has the accounts written again, after Redis lost its state.
func (s *Store) listAgain() {
	s.gaps.mu.Lock()
	defer s.gaps.mu.Unlock()
	if s.gaps.listed != nil && s.gaps.accounts == nil {
		s.gaps.accounts = &accounts{now: s.gaps.listed, before: s.gaps.listed}
		s.gaps.pending.Store(true)
	}
}

// writeAccounts writes the list of accounts and marks the gaps of new ones. If neither Redis nor
// the caller knows an earlier list, none is new: rg:since has begun anew then, or an operator has
// set it.
func (s *Store) writeAccounts(ctx context.Context, a accounts) error {
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
		if _, err := s.writeGaps(ctx, s.newAmong(a.now, before)); err != nil {
			return err
		}
	}
	if now := joinIDs(a.now); now != text {
		if err := s.rdb.Set(ctx, key, now, 0).Err(); err != nil {
			return fmt.Errorf("window: accounts: %w", err)
		}
	}
	return nil
}

// newAmong returns the losses of accounts that were not listed before.
func (s *Store) newAmong(now, before []string) (losses []Loss) {
	known := make(map[string]bool, len(before))
	for _, corp := range before {
		known[corp] = true
	}
	for _, corp := range now {
		if !known[corp] {
			losses = append(losses, Loss{Corp: corp, Messages: true, Codes: true, noted: s.Now().UnixMilli()})
		}
	}
	return losses
}

// joinIDs writes ids for Redis, sorted.
func joinIDs(ids []string) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(appendID(nil, id))
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
