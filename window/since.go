package window

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Backlog is how far kf/sync_msg reaches back (DOC 94670).
const Backlog = 72 * time.Hour

// Since is when the recording of a corp's messages began, without a gap up to now; "" asks what is so of
// every corp. If Redis has no such time it begins now: it is new, or has lost its state.
//
// A backfill moves it back for its corp, as far as kf/sync_msg reaches, unless something was missed since.
func (s *Store) Since(ctx context.Context, corp string) (time.Time, error) {
	now, asked := s.Now(), time.Now()
	if s.gap.Load() {
		if err := s.noteGap(ctx); err != nil {
			return time.Time{}, err
		}
	}
	p := s.rdb.Pipeline()
	all, filled := p.Get(ctx, s.Prefix+"since"), p.Get(ctx, s.backfillKey(corp))
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return time.Time{}, fmt.Errorf("window: since: %w", err)
	}
	text, err := all.Result()
	if errors.Is(err, redis.Nil) {
		err = s.rdb.SetNX(ctx, s.Prefix+"since", now.UnixMilli(), 0).Err()
		text = strconv.FormatInt(now.UnixMilli(), 10)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("window: since: %w", err)
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil { // it proves nothing
		if s.ofSince.due(now.UnixMilli()) {
			s.Log.Warn("redis holds no time in unix milliseconds where records say since when they are complete, so they count as incomplete: set it, or delete it to begin now",
				zap.String("key", s.Prefix+"since"))
		}
		return now, nil
	}
	s.lastSince.Store(&sinceRead{since: time.UnixMilli(ms), at: asked})
	began, err := strconv.ParseInt(filled.Val(), 10, 64)
	if corp != "" && err == nil && began >= ms {
		ms = min(ms, began-Backlog.Milliseconds())
	}
	return time.UnixMilli(ms), nil
}

// sinceKnown is how long a time since when records are complete, once read, is believed without asking again. A
// gateway that notes a gap waits as long before it lets go what it could not record.
const sinceKnown = 200 * time.Millisecond

// sinceRead is what Redis said last of the time since when everybody's records are complete.
type sinceRead struct {
	since time.Time
	at    time.Time // when it was asked
}

// completeForAll tells, as far as it was read just now, that records of every corp reach back far enough.
func (s *Store) completeForAll() bool {
	r := s.lastSince.Load()
	return r != nil && s.Journal != nil && !s.gap.Load() && time.Since(r.at) < sinceKnown && !s.Now().Before(r.since.Add(s.Length))
}

// backfillKey holds when the last backfill of a corp began that ended well, unix ms.
func (s *Store) backfillKey(corp string) string {
	return s.Prefix + "backfill:" + string(appendID(nil, corp))
}

// Complete tells whether the records of a corp reach back far enough for a missing window to prove
// something, and since when they do.
func (s *Store) Complete(ctx context.Context, corp string) (complete bool, since time.Time, err error) {
	since, err = s.Since(ctx, corp)
	return err == nil && !s.Now().Before(since.Add(s.Length)), since, err
}

// Backfilled notes that everything kf/sync_msg had of a corp was recorded, by a run that began at the
// time given. missed tells that it proves nothing: messages went by unrecorded since.
func (s *Store) Backfilled(ctx context.Context, corp string, began time.Time) (missed bool, err error) {
	since, err := s.Since(ctx, "")
	if err != nil {
		return false, err
	}
	if began.Before(since) {
		return true, nil
	}
	if err := s.rdb.Set(ctx, s.backfillKey(corp), began.UnixMilli(), s.Length).Err(); err != nil {
		return false, fmt.Errorf("window: backfilled: %w", err)
	}
	return false, nil
}

// MarkGap notes that messages were missed: from now on a missing window proves nothing for a while. It returns once no other
// gateway takes records for complete. If Redis does not take the note now, Since tries again before it answers.
func (s *Store) MarkGap(ctx context.Context) error {
	err := s.noteGap(ctx)
	if err == nil && s.Journal != nil {
		time.Sleep(sinceKnown)
	}
	return err
}

func (s *Store) noteGap(ctx context.Context) error {
	s.gap.Store(true)
	err := laterScript.Run(ctx, s.rdb, []string{s.Prefix + "since"}, s.Now().UnixMilli(), 0).Err()
	if err != nil && !errors.Is(err, redis.Nil) { // nil: there was none
		return fmt.Errorf("window: mark gap: %w", err)
	}
	s.gap.Store(false)
	return nil
}
