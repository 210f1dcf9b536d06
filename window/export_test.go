package window

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// ReserveTogether reserves a reply in each window in one round trip.
func (s *Store) ReserveTogether(ctx context.Context, keys ...Key) (answers []Answer, errs []error) {
	return s.ReserveUntil(ctx, func(int) time.Time { t, _ := ctx.Deadline(); return t }, keys...)
}

// ReserveUntil is ReserveTogether for callers that wait until times of their own.
func (s *Store) ReserveUntil(ctx context.Context, until func(i int) time.Time, keys ...Key) (answers []Answer, errs []error) {
	asked := make([]reservation, len(keys))
	for i, k := range keys {
		asked[i] = reservation{k.redisKey(s.Prefix), until(i)}
	}
	reserve := s.reserveAll
	if c, ok := s.rdb.(*redis.ClusterClient); ok { // the keys are on one node
		reserve = func(ctx context.Context, all []reservation) ([]result, error) {
			node, err := c.MasterForKey(ctx, all[0].key)
			if err != nil {
				return nil, err
			}
			return s.reserveNode(ctx, node, all)
		}
	}
	all, err := reserve(ctx, asked)
	if err != nil {
		return nil, []error{err}
	}
	for _, a := range all {
		answers, errs = append(answers, a.Answer), append(errs, a.err)
	}
	return answers, errs
}

// RedisKey returns the key in Redis.
func (k Key) RedisKey(prefix string) string { return k.redisKey(prefix) }

// RecordGap raises rg:since.
func (s *Store) RecordGap(ctx context.Context) error { return s.raiseSince(ctx, s.Now(), "test") }

// Expiry is when the last lease of this gateway has surely expired.
func (s *Store) Expiry() time.Time { return s.leases.expiry() }

// ProofCause returns why a missing window proves nothing, "" if it does.
func (s *Store) ProofCause(ctx context.Context, k Key) (cause string, err error) {
	p := s.prove(ctx, question{window: k.redisKey(s.Prefix), scope: s.ofMessages(k)})[0]
	return p.cause, p.err
}

// Grants returns the grants of all members in each partition, as of the last exchange.
func (s *Store) Grants() (all []map[string]string) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	for _, p := range s.leases.partitions {
		all = append(all, p.lease.view.grants)
	}
	return all
}

// TakeChanges removes what is pending for the lists, and returns how many chats that concerns.
func (s *Store) TakeChanges() int { return len(s.index.take().chats) }

// Flush writes what is pending to the lists.
func (s *Store) Flush(ctx context.Context) error { return s.flush(ctx) }

// ForgetSums makes the next page read the sums.
func (s *Store) ForgetSums() {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	s.sums.at = time.Time{}
}

// WaitingKey returns the key of the list of a corp's waiting chats.
func (s *Store) WaitingKey(corp string) string { return s.waitingKey(corp) }

// CoversRenewals reports whether this gateway has all that Redis would lack after a return to the
// last renewal. It has not in the millisecond of its start.
func (s *Store) CoversRenewals() bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	for _, p := range s.leases.partitions {
		if !s.recent.covers(p.lease.confirmed) {
			return false
		}
	}
	return true
}

// KeepNoReplies forgets the replies up to now, as if there had been too many.
func (s *Store) KeepNoReplies() {
	s.recent.mu.Lock()
	defer s.recent.mu.Unlock()
	s.recent.unkept, s.recent.new.answers, s.recent.old.answers = s.stampNow(), nil, nil
}
