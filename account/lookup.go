package account

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// lookups ask Redis which corps own what is unknown here. Questions that come together go together,
// and only so many round trips go out in a second: a flood of random tokens waits for them, and
// Redis hardly notices.
type lookups struct {
	rdb   redis.UniversalClient
	pace  pace
	batch *store.Coalescer[string, lookup]
}

// lookup is what Redis says of one key.
type lookup struct {
	corp  string        // "" if the key holds none
	life  time.Duration // for which the key still holds it
	moves bool          // an operator may have set it by hand, and may set it anew
	err   error
}

func newLookups(rdb redis.UniversalClient) *lookups {
	l := &lookups{rdb: rdb, pace: pace{every: lookupEvery, burst: lookupBurst}}
	l.batch = store.NewCoalescer(l.askAll)
	return l
}

const (
	// lookupEvery is the time between two round trips where there is much to ask: at most 500 a
	// second go out, each with up to 256 questions.
	lookupEvery = 2 * time.Millisecond
	// lookupBurst is how many go out at once when it was quiet before.
	lookupBurst = 100

	endless    = -1          // what PTTL says of a key that does not expire
	endlessFor = time.Minute // for which it is believed
)

// ask asks for one key.
func (l *lookups) ask(ctx context.Context, key string) (lookup, error) {
	found, err := l.batch.Do(ctx, key)
	if err != nil {
		return lookup{}, err
	}
	return found, found.err
}

// askAll asks for several keys. A key that holds something else than a string holds no corp.
func (l *lookups) askAll(ctx context.Context, keys []string) ([]lookup, error) {
	if err := l.pace.wait(ctx); err != nil {
		return nil, err
	}
	all := make([]lookup, len(keys))
	if l.askTogether(ctx, keys, all) != nil {
		l.askApart(ctx, keys, all)
	}
	l.askLives(ctx, keys, all)
	return all, nil
}

var errApart = errors.New("account: one command is for keys of one slot")

// askTogether asks by one command. Redis refuses it where the keys are on several shards.
func (l *lookups) askTogether(ctx context.Context, keys []string, all []lookup) error {
	if _, cluster := l.rdb.(*redis.ClusterClient); cluster {
		return errApart
	}
	values, err := l.rdb.MGet(ctx, keys...).Result()
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

// askApart asks by a command for each key.
func (l *lookups) askApart(ctx context.Context, keys []string, all []lookup) {
	p := l.rdb.Pipeline()
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
		all[i] = lookup{corp: corp, err: err}
	}
}

// askLives asks how long the keys that hold a corp still will.
func (l *lookups) askLives(ctx context.Context, keys []string, all []lookup) {
	p := l.rdb.Pipeline()
	lives := make([]*redis.DurationCmd, len(keys))
	for i, found := range all {
		if found.corp != "" {
			lives[i] = p.PTTL(ctx, keys[i])
		}
	}
	if p.Len() == 0 {
		return
	}
	_, _ = p.Exec(ctx) // one without an answer is believed as long as one without an end
	for i, life := range lives {
		switch {
		case life == nil:
		case life.Err() != nil || life.Val() == endless:
			all[i].life, all[i].moves = endlessFor, true
		default:
			all[i].life = max(life.Val(), 0)
		}
	}
}

// pace lets so many through at once, and then one in every interval.
type pace struct {
	every time.Duration
	burst int

	mu   sync.Mutex
	next time.Time // when the next one were due if all before had kept the interval
}

// wait waits until one more may go.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if now.After(p.next) {
		p.next = now
	}
	left := p.next.Sub(now) - time.Duration(p.burst)*p.every
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
