package window

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// Fact is a message of a customer.
type Fact struct {
	Key Key
	At  time.Time // by the platform's clock
}

// Tally counts what Record did with facts.
type Tally struct {
	Recorded int // stored in Redis or the journal, also if they changed no window
	Expired  int // too old to open a window
	Ahead    int // too far ahead of our clock to count; each marks a gap of its channel once
}

// maxAhead is how far the platform's clock may be ahead of ours before a message does not count.
const maxAhead = 5 * time.Minute

// ahead returns the loss of a message that is too far ahead of our clock. Bots pull it again, so
// its id is made of its content.
func (f Fact) ahead() Loss {
	id := f.Key.appendIDs(nil)
	return Loss{Corp: f.Key.Corp, Channel: f.Key.Channel, Messages: true, Item: &Item{ID: string(strconv.AppendInt(append(id, ' '), f.At.UnixMilli(), 10))}}
}

// Record stores messages in Redis, or in the journal if Redis fails. Order and repetition do not
// matter. After an error some facts may be stored and others not; recording all of them again is
// safe.
func (s *Store) Record(ctx context.Context, facts []Fact) (Tally, error) {
	var t Tally
	now := s.Now()
	var furthest time.Duration
	var losses []Loss
	latest := make(map[Key]int64, len(facts))
	for _, f := range facts {
		switch at := f.At.UnixMilli(); {
		case f.At.After(now.Add(maxAhead)):
			t.Ahead++
			furthest = max(furthest, f.At.Sub(now))
			losses = append(losses, f.ahead())
		case !now.Before(f.At.Add(s.Length)):
			t.Expired++
		default:
			t.Recorded++
			latest[f.Key] = max(latest[f.Key], at)
		}
	}
	if t.Ahead > 0 && s.clockAhead.due(now.UnixMilli()) {
		s.Log.Error("messages of customers are too far ahead of this machine's clock to count, so replies on their channels that have no open window are history_incomplete: set the clock by NTP",
			zap.Int("count", t.Ahead), zap.Duration("ahead", furthest))
	}
	if len(losses) > 0 {
		if _, err := s.RecordGaps(ctx, losses...); err != nil {
			s.Log.Warn("a gap is recorded in this gateway alone, since redis did not take it", zap.Error(err))
		}
	}
	if len(latest) == 0 {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(latest))*time.Millisecond)
	defer cancel()
	if err := s.recordWithRetry(ctx, latest); err != nil {
		if err := s.spill(latest, nil, err); err != nil {
			return Tally{}, fmt.Errorf("window: record: %w", err)
		}
		return t, nil
	}
	if !s.embedded() {
		s.recent.add(now, latest, nil)
	}
	return t, nil
}

// recordWithRetry is record with up to four retries, for a broken connection. Recording twice is
// safe, and cheaper than the journal, whose records are unknown to other gateways for a moment. It
// does not retry while the circuit breaker is open.
func (s *Store) recordWithRetry(ctx context.Context, latest map[Key]int64) error {
	err := s.record(ctx, latest)
	for range 4 {
		if err == nil || errors.Is(err, store.ErrAway) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
		err = s.record(ctx, latest)
	}
	return err
}

// record sends messages in one pipeline, and again with the script's text if Redis does not have
// it.
func (s *Store) record(ctx context.Context, latest map[Key]int64) error {
	send := func(run func(p redis.Pipeliner, key, at, expires string)) error {
		p := s.rdb.Pipeline()
		for k, at := range latest {
			run(p, k.redisKey(s.Prefix), strconv.FormatInt(at, 10), strconv.FormatInt(at+s.Length.Milliseconds(), 10))
		}
		_, err := p.Exec(ctx)
		return err
	}
	err := send(func(p redis.Pipeliner, key, at, expires string) {
		recordScript.EvalSha(ctx, p, []string{key}, at, expires)
	})
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = send(func(p redis.Pipeliner, key, at, expires string) {
			recordScript.Eval(ctx, p, []string{key}, at, expires)
		})
	}
	return err
}
