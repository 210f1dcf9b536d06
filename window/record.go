package window

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

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
	return Loss{Corp: f.Key.Corp, Channel: f.Key.Channel, Messages: true, Reason: gapAhead, Item: &Item{ID: string(strconv.AppendInt(append(id, ' '), f.At.UnixMilli(), 10))}}
}

// Record stores messages in Redis, or in the journal if Redis fails. Order and repetition do not
// matter. After an error some facts may be stored and others not; recording all of them again is
// safe. With ErrNotMember all are in the journal.
func (s *Store) Record(ctx context.Context, facts []Fact) (Tally, error) {
	return s.RecordPage(ctx, facts, nil)
}

// RecordPage is Record for a page that also tells of replies.
func (s *Store) RecordPage(ctx context.Context, facts []Fact, replies []Reply) (Tally, error) {
	latest, ahead, t := s.sift(facts)
	if len(ahead) > 0 {
		if _, err := s.RecordGaps(ctx, ahead...); err != nil {
			s.Log.Warn("gaps are not in redis yet", zap.Error(err))
		}
	}
	b := newBacklog()
	b.facts = latest
	b.answers = s.answersOf(replies)
	if s.dropKnown(&b.writes); b.len() == 0 { // no refusal depends on replies
		if _, err := s.writeAnswers(ctx, b.answers); err != nil {
			s.loseAnswers(b.answers)
		}
		return t, nil
	}
	switch err := s.commit(ctx, b); {
	case errors.Is(err, ErrNotMember):
		return t, err
	case err != nil:
		return Tally{}, fmt.Errorf("window: record: %w", err)
	}
	return t, nil
}

// sift returns the newest message of each customer that counts, and the losses of those that are
// too far ahead of our clock.
func (s *Store) sift(facts []Fact) (latest map[Key]int64, losses []Loss, t Tally) {
	now := s.Now()
	var furthest time.Duration
	latest = make(map[Key]int64, len(facts))
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
	if t.Ahead > 0 {
		s.Log.Error("messages of customers are too far ahead of this machine's clock to count, so replies on their channels that have no open window are history_incomplete: set the clock by NTP",
			zap.Int("count", t.Ahead), zap.Duration("ahead", furthest))
	}
	return latest, losses, t
}

// commit writes to Redis what it may lack, or to the journal if Redis fails. Once it returns nil,
// the writes may be acknowledged.
func (s *Store) commit(ctx context.Context, b backlog) error {
	if s.dropKnown(&b.writes); b.len() == 0 {
		return nil
	}
	s.waitSettled()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(b.len())*time.Millisecond)
	defer cancel()
	begun := s.stampNow()
	_, from, err := s.writeWithRetry(ctx, b.writes)
	if err != nil {
		return s.spill(b, err)
	}
	time.Sleep(time.Until(from))
	s.remember(b.writes, begun)
	return nil
}

// writeWithRetry is write with up to four retries, for a broken connection. Writing twice is safe,
// and cheaper than the journal, for which this gateway's leases must expire. It does not retry
// while the circuit breaker is open.
func (s *Store) writeWithRetry(ctx context.Context, w writes) (sent []write, from time.Time, err error) {
	for range 5 {
		sent, from, err = s.write(ctx, w)
		if err == nil || errors.Is(err, store.ErrAway) || ctx.Err() != nil {
			return sent, from, err
		}
		if errors.Is(err, errNotJoined) {
			s.renewAll()
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return sent, from, err
}
