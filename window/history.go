package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// Backlog is how far kf/sync_msg reaches back (WeCom document 94670).
const Backlog = 72 * time.Hour

// scope is the part of the records that must be complete before a missing record proves anything.
// It lists the keys that count besides rg:since; "" is no key.
type scope struct {
	gaps     [2]string
	backfill string // the backfill that may end those gaps
}

// ofMessages is the scope of a window. No backfill counts for a window without a channel, since
// kf/sync_msg has no messages of it.
func (s *Store) ofMessages(k Key) scope {
	sc := scope{gaps: [2]string{s.gapKey(k.Corp)}}
	if k.Channel != "" {
		sc.gaps[1], sc.backfill = s.gapKey(k.Channel), s.backfillKey(k.Channel)
	}
	return sc
}

// ofCodes is the scope of a corp's one-time codes. An unknown code may come from any channel, and
// some codes are in no page, so no backfill counts.
func (s *Store) ofCodes(corp string) scope {
	return scope{gaps: [2]string{s.gapKey(corp) + anyChannel}}
}

// ofCorp is the scope of all channels of a corp. Without a corp it is rg:since alone.
func (s *Store) ofCorp(corp string) scope {
	if corp == "" {
		return scope{}
	}
	return scope{gaps: [2]string{s.gapKey(corp) + anyChannel}, backfill: s.backfillKey(corp)}
}

// history is the time since when a scope has been recorded without a gap.
type history struct {
	since      time.Time
	backfilled bool  // a backfill began after the newest gap
	err        error // Redis did not answer; since is unknown
}

// proves reports whether a history spans the length of a window, so that a missing record means
// that there was none.
func (s *Store) proves(h history) bool {
	return h.err == nil && !s.Now().Before(h.since.Add(s.Length))
}

// Complete reports whether the history of all channels of a corp, or of one channel, is complete,
// so that a missing window means that the customer did not write; since is the end of its last gap.
// Without a corp it reports what holds for every corp.
func (s *Store) Complete(ctx context.Context, corp, channel string) (complete bool, since time.Time, err error) {
	sc := s.ofCorp(corp)
	if channel != "" {
		sc = s.ofMessages(Key{Corp: corp, Channel: channel})
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	h := s.prove(ctx, question{scope: sc})[0].history
	return s.proves(h), h.since, h.err
}

// HistorySince is Complete without a proof: it only reads times, for lists. Redis may lack messages
// that other gateways hold.
func (s *Store) HistorySince(ctx context.Context, corp, channel string) (complete bool, since time.Time, err error) {
	sc := s.ofCorp(corp)
	if channel != "" {
		sc = s.ofMessages(Key{Corp: corp, Channel: channel})
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	h := s.readHistories(ctx, sc)[0]
	return s.proves(h), h.since, h.err
}

// History is since when the records of a corp are complete.
type History struct {
	Complete bool // a missing window means that the customer did not write
	Since    time.Time
}

// historiesAtOnce is how many histories HistoriesSince reads in a round trip.
const historiesAtOnce = 500

// HistoriesSince is HistorySince for many corps, in their order. It fails if it cannot read one.
func (s *Store) HistoriesSince(ctx context.Context, corps []string) (all []History, err error) {
	for some := range slices.Chunk(corps, historiesAtOnce) {
		if all, err = s.appendHistories(ctx, all, some); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// appendHistories appends the histories of a few corps, read in one round trip.
func (s *Store) appendHistories(ctx context.Context, all []History, corps []string) ([]History, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	scopes := make([]scope, len(corps))
	for i, corp := range corps {
		scopes[i] = s.ofCorp(corp)
	}
	for _, h := range s.readHistories(ctx, scopes...) {
		if h.err != nil {
			return nil, h.err
		}
		all = append(all, History{s.proves(h), h.since})
	}
	return all, nil
}

// readHistories reads the histories of scopes, without a proof.
func (s *Store) readHistories(ctx context.Context, scopes ...scope) []history {
	var keys reads
	begin, found := keys.get(s.sinceKey()), make([]scopeRead, len(scopes))
	for i, sc := range scopes {
		found[i] = keys.scope(sc)
	}
	p := s.rdb.Pipeline()
	for _, r := range keys.all {
		r.send(ctx, p)
	}
	_, _ = p.Exec(ctx) // each read has its own error
	all := make([]history, len(scopes))
	for i, f := range found {
		all[i] = f.history(begin, s.Now().UnixMilli())
	}
	return all
}

func (s *Store) sinceKey() string { return s.Prefix + "since" }

// scopeRead is what was read about one scope; nil where it has no such key.
type scopeRead struct {
	gaps     [2]*read
	backfill *read
}

// history returns the history of one scope. It begins at the newest of rg:since and the gaps, or
// earlier if a backfill began after all of those.
func (r scopeRead) history(since *read, now int64) (h history) {
	newest := int64(0)
	for _, one := range []*read{since, r.gaps[0], r.gaps[1]} {
		if one != nil {
			at, err := readTime(one.value, now)
			newest, h.err = max(newest, at), errors.Join(h.err, err)
		}
	}
	if since.value.Err() != nil && h.err == nil { // Redis is new, or has lost its state
		newest = max(newest, now)
	}
	if r.backfill != nil {
		if f, found := readBackfill(r.backfill.value.Val()); found && f.began >= newest {
			newest, h.backfilled = min(newest, f.since), true
		}
	}
	h.since = time.UnixMilli(newest)
	return h
}

// checkTimes begins the history if Redis has no rg:since, and tells the operator of keys that hold
// no time.
func (s *Store) checkTimes(ctx context.Context, all []*read, since *read, now int64) {
	if errors.Is(since.value.Err(), redis.Nil) {
		s.beginHistory(ctx, now)
	}
	for _, r := range all {
		if !r.window && !strings.HasPrefix(r.key, s.Prefix+"code:") && !strings.HasPrefix(r.key, s.Prefix+"backfill:") {
			s.warnBrokenTime(r.value)
		}
	}
}

// beginHistory writes rg:since, and the account list, which is lost like everything else.
func (s *Store) beginHistory(ctx context.Context, now int64) {
	began, err := s.rdb.SetNX(ctx, s.sinceKey(), now, 0).Result()
	if began {
		s.forgetKnown()
	}
	if err == nil {
		s.rewriteAccountList()
	}
}

// readTime returns the unix ms in a reply: 0 if the key is absent, now if it holds no time, since
// that proves nothing.
func readTime(cmd *redis.StringCmd, now int64) (int64, error) {
	if cmd == nil || errors.Is(cmd.Err(), redis.Nil) {
		return 0, nil
	}
	if holdsNoTime(cmd) {
		return now, nil
	}
	if err := cmd.Err(); err != nil {
		return 0, fmt.Errorf("window: since: %w", err)
	}
	return strconv.ParseInt(cmd.Val(), 10, 64)
}

// holdsNoTime reports whether a key exists and holds anything but unix ms.
func holdsNoTime(cmd *redis.StringCmd) bool {
	if err := cmd.Err(); err != nil {
		return redis.HasErrorPrefix(err, "WRONGTYPE")
	}
	_, err := strconv.ParseInt(cmd.Val(), 10, 64)
	return err != nil
}

// warnBrokenTime tells the operator of a key that should hold a time and does not.
func (s *Store) warnBrokenTime(cmds ...*redis.StringCmd) {
	for _, cmd := range cmds {
		if cmd != nil && holdsNoTime(cmd) {
			s.Log.Warn("redis holds no time in unix milliseconds where records say since when they are complete, so they count as incomplete: set it, or delete it to begin now",
				zap.Any("key", cmd.Args()[1]))
		}
	}
}

// backfillKey is the key of a finished backfill of a channel, or of all known channels of a corp.
func (s *Store) backfillKey(id string) string {
	return s.Prefix + "backfill:" + string(appendEncoded(nil, id))
}

// backfilled is a finished backfill: when it began, and the time since when it makes history
// complete, both unix ms.
type backfilled struct{ began, since int64 }

// String encodes a backfill for Redis, without the second time if that is Backlog before the first.
func (b backfilled) String() string {
	if b.since == b.began-Backlog.Milliseconds() {
		return strconv.FormatInt(b.began, 10)
	}
	return fmt.Sprintf("%d:%d", b.began, b.since)
}

// readBackfill is the inverse of String.
func readBackfill(text string) (b backfilled, ok bool) {
	began, since, more := strings.Cut(text, ":")
	var err, bad error
	b.began, err = strconv.ParseInt(began, 10, 64)
	if b.since = b.began - Backlog.Milliseconds(); more {
		b.since, bad = strconv.ParseInt(since, 10, 64)
	}
	return b, err == nil && bad == nil
}

// Backfilled stores that a run which began at the given time has pulled everything that kf/sync_msg
// has of some channels. missed are the channels that had a loss since then: their gaps stay. An
// unreadable item is no loss here; the channel's history is then complete since the newest such
// item.
func (s *Store) Backfilled(ctx context.Context, corp string, channels []string, began time.Time) (missed []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(channels))*time.Millisecond)
	defer cancel()
	if !s.embedded() && !s.clean() || s.gaps.pending.Load() {
		return nil, errors.New("window: backfilled: gaps are not in redis yet")
	}
	p := s.rdb.Pipeline()
	get := func(key string) *redis.StringCmd { return p.Get(ctx, key) }
	since, gap, items := get(s.sinceKey()), get(s.gapKey(corp)), get(s.gapKey(corp)+unreadableItems)
	gaps, unreadable := make([]*redis.StringCmd, len(channels)), make([]*redis.StringCmd, len(channels))
	for i, c := range channels {
		gaps[i], unreadable[i] = get(s.gapKey(c)), get(s.gapKey(c)+unreadableItems)
	}
	_, _ = p.Exec(ctx)
	now := s.Now().UnixMilli()
	read := func(cmd *redis.StringCmd) int64 {
		at, failed := readTime(cmd, now)
		err = errors.Join(err, failed)
		s.warnBrokenTime(cmd)
		return at
	}
	start, ofItems := began.UnixMilli(), read(items)
	lost := func(gap, items int64) bool { return gap > start && gap > items }
	all := read(since) > start || lost(read(gap), ofItems)
	ended := map[string]backfilled{}
	for i, c := range channels {
		newest := read(unreadable[i])
		if all || lost(read(gaps[i]), newest) {
			missed = append(missed, c)
			continue
		}
		ended[c] = backfilled{start, max(start-Backlog.Milliseconds(), ofItems, newest)}
	}
	if err != nil {
		return nil, err
	}
	return missed, s.endGaps(ctx, ended)
}

// endGaps writes finished backfills, by the id of a channel or corp.
func (s *Store) endGaps(ctx context.Context, ended map[string]backfilled) error {
	if len(ended) == 0 {
		return nil
	}
	p := s.rdb.Pipeline()
	for id, b := range ended {
		p.Set(ctx, s.backfillKey(id), b.String(), s.Length)
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: backfilled: %w", err)
	}
	return nil
}
