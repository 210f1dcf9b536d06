package window

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
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
	since time.Time
	err   error // Redis did not answer; since is unknown
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
	h := s.histories(ctx, sc)[0]
	return s.proves(h), h.since, h.err
}

// newHistory returns the function that reads the history of one scope. Concurrent requests to a
// single Redis share a round trip. In a Cluster each has its own, or all would wait for the slowest
// node.
func (s *Store) newHistory() func(context.Context, scope) history {
	if _, cluster := s.rdb.(*redis.ClusterClient); cluster {
		return func(ctx context.Context, sc scope) history { return s.histories(ctx, sc)[0] }
	}
	batch := store.NewCoalescer(func(ctx context.Context, scopes []scope) ([]history, error) { return s.histories(ctx, scopes...), nil })
	return func(ctx context.Context, sc scope) history {
		h, err := batch.Do(ctx, sc)
		if err != nil {
			return history{err: err}
		}
		return h
	}
}

// histories returns the histories of scopes. Gaps that are not in Redis yet are written first. If
// Redis has no rg:since, history begins now: Redis is new, or has lost its state. Nothing is
// cached, so a gap that another gateway has marked counts at once.
func (s *Store) histories(ctx context.Context, scopes ...scope) []history {
	if err := s.catchUp(ctx); err != nil {
		return failed(len(scopes), err)
	}
	now := s.Now().UnixMilli()
	read := s.readScopes(ctx, scopes)
	if errors.Is(read.since.Err(), redis.Nil) {
		if err := s.beginHistory(ctx, now); err != nil {
			return failed(len(scopes), err)
		}
	}
	all := make([]history, len(scopes))
	for i, r := range read.scopes {
		all[i] = r.history(read.since, now)
	}
	s.warnBrokenTimes(read, now)
	return all
}

// beginHistory writes rg:since, and the account list, which is lost like everything else.
func (s *Store) beginHistory(ctx context.Context, now int64) error {
	if err := s.rdb.SetNX(ctx, s.Prefix+"since", now, 0).Err(); err != nil {
		return fmt.Errorf("window: since: %w", err)
	}
	s.rewriteAccountList()
	return nil
}

func failed(n int, err error) []history {
	all := make([]history, n)
	for i := range all {
		all[i].err = err
	}
	return all
}

// scopesRead are the replies of Redis about scopes.
type scopesRead struct {
	since  *redis.StringCmd
	scopes []scopeRead
}

// scopeRead are the replies about one scope; nil where it has no such key.
type scopeRead struct {
	gaps     [2]*redis.StringCmd
	backfill *redis.StringCmd
}

// readScopes reads the keys of scopes, each once, in one round trip. It changes nothing.
func (s *Store) readScopes(ctx context.Context, scopes []scope) scopesRead {
	p := s.rdb.Pipeline()
	read := map[string]*redis.StringCmd{"": nil}
	get := func(key string) *redis.StringCmd {
		if _, there := read[key]; !there {
			read[key] = p.Get(ctx, key)
		}
		return read[key]
	}
	r := scopesRead{since: get(s.Prefix + "since"), scopes: make([]scopeRead, len(scopes))}
	for i, sc := range scopes {
		r.scopes[i] = scopeRead{gaps: [2]*redis.StringCmd{get(sc.gaps[0]), get(sc.gaps[1])}, backfill: get(sc.backfill)}
	}
	_, _ = p.Exec(ctx) // each command has its own error
	return r
}

// history returns the history of one scope. It begins at the newest of rg:since and the gaps, or
// earlier if a backfill began after all of those.
func (r scopeRead) history(since *redis.StringCmd, now int64) (h history) {
	newest := int64(0)
	for _, cmd := range []*redis.StringCmd{since, r.gaps[0], r.gaps[1]} {
		at, err := readTime(cmd, now)
		newest, h.err = max(newest, at), errors.Join(h.err, err)
	}
	if since.Err() != nil && h.err == nil { // it has just begun
		newest = max(newest, now)
	}
	if r.backfill != nil {
		if f, found := readBackfill(r.backfill.Val()); found && f.began >= newest {
			newest = min(newest, f.since)
		}
	}
	h.since = time.UnixMilli(newest)
	return h
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

// warnBrokenTimes tells the operator of a key that should hold a time and does not.
func (s *Store) warnBrokenTimes(r scopesRead, now int64) {
	cmds := []*redis.StringCmd{r.since}
	for _, sc := range r.scopes {
		cmds = append(cmds, sc.gaps[:]...)
	}
	s.warnBrokenTime(now, cmds...)
}

func (s *Store) warnBrokenTime(now int64, cmds ...*redis.StringCmd) {
	for _, cmd := range cmds {
		if cmd != nil && holdsNoTime(cmd) && s.brokenHistory.due(now) {
			s.Log.Warn("redis holds no time in unix milliseconds where records say since when they are complete, so they count as incomplete: set it, or delete it to begin now",
				zap.Any("key", cmd.Args()[1]))
		}
	}
}

// backfillKey is the key of a finished backfill of a channel, or of all channels of a corp that its
// secret can see.
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
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	p := s.rdb.Pipeline()
	get := func(key string) *redis.StringCmd { return p.Get(ctx, key) }
	since, gap, items := get(s.Prefix+"since"), get(s.gapKey(corp)), get(s.gapKey(corp)+unreadableItems)
	gaps, unreadable := make([]*redis.StringCmd, len(channels)), make([]*redis.StringCmd, len(channels))
	for i, c := range channels {
		gaps[i], unreadable[i] = get(s.gapKey(c)), get(s.gapKey(c)+unreadableItems)
	}
	_, _ = p.Exec(ctx)
	now := s.Now().UnixMilli()
	read := func(cmd *redis.StringCmd) int64 {
		at, failed := readTime(cmd, now)
		err = errors.Join(err, failed)
		s.warnBrokenTime(now, cmd)
		return at
	}
	start, ofItems := began.UnixMilli(), read(items)
	lost := func(gap, items int64) bool { return gap > start && gap > items }
	all := read(since) > start || lost(read(gap), ofItems)
	whole := backfilled{start, max(start-Backlog.Milliseconds(), ofItems)}
	ended := map[string]backfilled{}
	for i, c := range channels {
		newest := read(unreadable[i])
		if all || lost(read(gaps[i]), newest) {
			missed = append(missed, c)
			continue
		}
		ended[c] = backfilled{start, max(start-Backlog.Milliseconds(), ofItems, newest)}
		whole.since = max(whole.since, newest)
	}
	if err != nil {
		return nil, err
	}
	if !all && len(missed) == 0 {
		ended[corp] = whole
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
