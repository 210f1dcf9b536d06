package account

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// resolver reads from Redis which corps own unknown tokens or channels. Concurrent lookups share a
// round trip, and the number of round trips per second is limited, so that a flood of random tokens
// is delayed and costs Redis little.
type resolver struct {
	rdb     redis.UniversalClient
	limiter limiter
	batch   *store.Coalescer[string, ownerRecord]
}

// ownerRecord is the value of one key in Redis.
type ownerRecord struct {
	corp       string        // "" if the key holds none
	ttl        time.Duration // for which the corp may be cached
	persistent bool          // the key does not expire, so an operator may have set it and may change it
	err        error
}

const (
	// lookupInterval is the sustained time between two round trips: at most 500 a second, each with
	// up to 256 keys.
	lookupInterval = 2 * time.Millisecond
	// lookupBurst is the number of round trips that may go out at once after a quiet period.
	lookupBurst = 100

	noExpiry      = -1          // PTTL of a key without a TTL, as go-redis returns it
	persistentTTL = time.Minute // for which the value of such a key is cached
)

func newResolver(rdb redis.UniversalClient) *resolver {
	r := &resolver{rdb: rdb, limiter: limiter{interval: lookupInterval, burst: lookupBurst}}
	r.batch = store.NewCoalescer(r.readAll)
	return r
}

// read returns the owner in one key.
func (r *resolver) read(ctx context.Context, key string) (ownerRecord, error) {
	found, err := r.batch.Do(ctx, key)
	if err != nil {
		return ownerRecord{}, err
	}
	return found, found.err
}

// readAll returns the owners in several keys. A key that does not hold a string holds no corp.
func (r *resolver) readAll(ctx context.Context, keys []string) ([]ownerRecord, error) {
	if err := r.limiter.wait(ctx); err != nil {
		return nil, err
	}
	all := make([]ownerRecord, len(keys))
	if r.multiKey(ctx, keys, all) != nil {
		r.singleKeys(ctx, keys, all)
	}
	r.readTTLs(ctx, keys, all)
	return all, nil
}

var errSingleKeyOnly = errors.New("account: a Cluster takes one command per key")

// multiKey reads the corps with one MGET. It returns an error if Redis rejects the command, as it
// does if the keys are on several shards; a failed connection is the error of each record.
func (r *resolver) multiKey(ctx context.Context, keys []string, all []ownerRecord) error {
	if _, cluster := r.rdb.(*redis.ClusterClient); cluster {
		return errSingleKeyOnly
	}
	values, err := r.rdb.MGet(ctx, keys...).Result()
	if store.Classify(err).Has(store.Rejected) {
		return err
	}
	for i := range all {
		all[i].err = err
		if err == nil {
			all[i].corp, _ = values[i].(string)
		}
	}
	return nil
}

// singleKeys reads the corps with a pipeline of GETs.
func (r *resolver) singleKeys(ctx context.Context, keys []string, all []ownerRecord) {
	p := r.rdb.Pipeline()
	gets := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		gets[i] = p.Get(ctx, key)
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for i, get := range gets {
		corp, err := get.Result()
		if errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE") {
			err = nil
		}
		all[i] = ownerRecord{corp: corp, err: err}
	}
}

// readTTLs reads for how long the keys that hold a corp will exist.
func (r *resolver) readTTLs(ctx context.Context, keys []string, all []ownerRecord) {
	p := r.rdb.Pipeline()
	ttls := make([]*redis.DurationCmd, len(keys))
	for i, found := range all {
		if found.corp != "" {
			ttls[i] = p.PTTL(ctx, keys[i])
		}
	}
	if p.Len() == 0 {
		return
	}
	_, _ = p.Exec(ctx) // a key without an answer is cached like a persistent one
	for i, ttl := range ttls {
		switch {
		case ttl == nil:
		case ttl.Err() != nil || ttl.Val() == noExpiry:
			all[i].ttl, all[i].persistent = persistentTTL, true
		default:
			all[i].ttl = max(ttl.Val(), 0)
		}
	}
}

// limiter is a rate limiter (GCRA): burst events at once, then one per interval. Each event that is
// reserved goes ahead, later if need be.
type limiter struct {
	interval time.Duration
	burst    int

	mu   sync.Mutex
	next time.Time // theoretical arrival time of the next event
}

// reserve takes the next event and returns how long its caller must wait for it; zero or less is
// now.
func (l *limiter) reserve(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.After(l.next) {
		l.next = now
	}
	delay := l.next.Sub(now) - time.Duration(l.burst)*l.interval
	l.next = l.next.Add(l.interval)
	return delay
}

// wait reserves the next event and waits for it. It returns ctx.Err() if ctx ends first.
func (l *limiter) wait(ctx context.Context) error {
	delay := l.reserve(time.Now())
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
