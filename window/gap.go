package window

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Loss says that messages or codes passed without being recorded, or may have. It marks a gap, an
// instant before which the history proves nothing: the channel's if that is known, else the corp's.
// If not even the corp is known, every account gets one that had no page of its own within the
// length of a window.
type Loss struct {
	Corp     string   // "" if it is not known
	Channel  string   // open_kfid, likewise
	Among    []string // the corps of all accounts, where Corp is not known
	Messages bool     // customers' messages may be lost
	Codes    bool     // one-time codes may be lost
	Item     *Item    // an unreadable item; nil for a loss that a backfill can make good

	noted int64 // unix ms
}

// Item is an item of kf/sync_msg that cannot be read. Bots pull it again for three days, which must
// not move its gap: the gap has the item's own time, or else is marked only once.
type Item struct {
	At time.Time // send_time, zero if it cannot be read
	ID string    // msgid; without one an item that has no time marks a gap each time
}

const (
	anyChannel      = ":any"         // suffix of a corp's gap: the newest of it and its channels
	unreadableItems = ":items"       // suffix of a gap: the newest of unreadable items
	itemKept        = 96 * time.Hour // longer than kf/sync_msg reaches back
	maxUnwritten    = 1000
	pageEvery       = time.Hour // how often an account's newest page is written to Redis
)

// gapKey is the key of the gap of a corp or a channel. It holds unix ms.
func (s *Store) gapKey(id string) string { return s.Prefix + "gap:" + string(appendEncoded(nil, id)) }

// gaps are the gaps that Redis does not have yet, and when each account had its newest page.
type gaps struct {
	pending atomic.Bool   // something is unwritten, or being written
	writing chan struct{} // of one: who writes it

	mu        sync.Mutex
	unwritten unwritten
	listed    []string // the corps of all accounts

	pages sync.Map // corp to unix ms, as Redis has it
}

// unwritten is what is to be written to Redis.
type unwritten struct {
	all      bool // rg:since is to be raised
	losses   map[lossKey]Loss
	accounts *accounts
}

// take takes out what is unwritten. It stays pending until putBack.
func (g *gaps) take() unwritten {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.unwritten
	g.unwritten = unwritten{}
	return w
}

// putBack puts back what could not be written, beside what has come meanwhile.
func (g *gaps) putBack(w unwritten) {
	g.keep(slices.Collect(maps.Values(w.losses)), time.Time{})
	g.mu.Lock()
	defer g.mu.Unlock()
	u := &g.unwritten
	u.all = u.all || w.all
	switch {
	case w.accounts == nil:
	case u.accounts == nil:
		u.accounts = w.accounts
	default:
		u.accounts.before = w.accounts.before
	}
	g.pending.Store(u.all || len(u.losses) > 0 || u.accounts != nil)
}

// writeUnwritten writes to Redis, and takes out of w what Redis has.
func (s *Store) writeUnwritten(ctx context.Context, w *unwritten) error {
	if w.all {
		if err := s.writeGap(ctx); err != nil {
			return err
		}
		w.all = false
	}
	if len(w.losses) > 0 {
		if _, err := s.writeGaps(ctx, slices.Collect(maps.Values(w.losses))); err != nil {
			return err
		}
		w.losses = nil
	}
	if w.accounts != nil {
		if err := s.writeAccounts(ctx, w.accounts); err != nil {
			return err
		}
		w.accounts = nil
	}
	return nil
}

// lossKey tells losses apart that mark different gaps.
type lossKey struct {
	corp, channel          string
	messages, codes, items bool
}

// RecordGaps marks the gaps of losses. Once it returns, no gateway refuses for want of a record that
// may be among them. news tells whether a gap is new or moved. What Redis does not take is kept and
// written later; until then this gateway refuses nothing for want of a record.
func (s *Store) RecordGaps(ctx context.Context, losses ...Loss) (news bool, err error) {
	losses = slices.Clone(losses)
	for i := range losses {
		losses[i].noted = s.Now().UnixMilli()
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(losses))*time.Millisecond)
	defer cancel()
	if news, err = s.writeGaps(ctx, losses); err == nil {
		return news, nil
	}
	s.gaps.keep(losses, s.Now())
	return true, err
}

// keep keeps losses that Redis did not take: the latest of those that mark the same gap.
func (g *gaps) keep(losses []Loss, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := &g.unwritten
	for _, l := range losses {
		if u.losses == nil {
			u.losses = map[lossKey]Loss{}
		}
		k := lossKey{l.Corp, l.Channel, l.Messages, l.Codes, l.Item != nil}
		at, _ := l.at(now)
		if l.noted = max(at, u.losses[k].noted); l.Item != nil {
			l.Item = &Item{}
		}
		u.losses[k] = l
	}
	if len(u.losses) > maxUnwritten {
		u.losses, u.all = nil, true
	}
	g.pending.Store(true)
}

// RecordGap raises rg:since, for a loss whose extent is not known: from now on no corp's history
// proves anything for a while.
func (s *Store) RecordGap(ctx context.Context) error {
	if err := s.writeGap(ctx); err != nil {
		s.gaps.mu.Lock()
		defer s.gaps.mu.Unlock()
		s.gaps.unwritten.all = true
		s.gaps.pending.Store(true)
		return err
	}
	return nil
}

func (s *Store) writeGap(ctx context.Context) error {
	_, err := s.raise(ctx, map[string]int64{s.Prefix + "since": s.Now().UnixMilli()})
	return err
}

// catchUp writes what Redis did not take before. Whoever comes meanwhile waits for it, as long as
// its own context lets it: what is pending must be in Redis before a history is read.
func (s *Store) catchUp(ctx context.Context) error {
	g := &s.gaps
	if !g.pending.Load() {
		return nil
	}
	select {
	case g.writing <- struct{}{}:
		defer func() { <-g.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	w := g.take()
	err := s.writeUnwritten(ctx, &w)
	g.putBack(w)
	return err
}

// writePending is catchUp with a deadline of its own.
func (s *Store) writePending(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	return s.catchUp(ctx)
}

// writeGaps writes the gaps of losses. An item without a time is remembered after its gap is
// marked, never before.
func (s *Store) writeGaps(ctx context.Context, losses []Loss) (news bool, err error) {
	known, err := s.knownItems(ctx, losses)
	if err != nil {
		return false, err
	}
	silent, err := s.accountsWithoutPage(ctx, losses)
	if err != nil {
		return false, err
	}
	marks := map[string]int64{}
	var first []string
	for _, l := range losses {
		at, item := l.at(s.Now())
		if item != "" && known[item] {
			continue
		}
		if item != "" {
			first = append(first, s.itemKey(item))
		}
		s.addMarks(marks, &l, at, silent)
	}
	if news, err = s.raise(ctx, marks); err != nil || len(first) == 0 {
		return news, err
	}
	p := s.rdb.Pipeline()
	for _, key := range first {
		p.Set(ctx, key, s.Now().UnixMilli(), itemKept)
	}
	if _, err := p.Exec(ctx); err != nil {
		return news, fmt.Errorf("window: mark gaps: %w", err)
	}
	return news, nil
}

// at returns the instant of a loss's gap. For an item without a usable time that is when it is
// first seen; item is then the name by which it is remembered.
func (l *Loss) at(now time.Time) (at int64, item string) {
	switch {
	case l.Item == nil:
		return l.noted, ""
	case !l.Item.At.IsZero() && !l.Item.At.After(now.Add(ahead)):
		return l.Item.At.UnixMilli(), ""
	case l.Item.ID == "":
		return l.noted, ""
	}
	h := sha256.Sum256([]byte(l.Corp + "\x00" + l.Channel + "\x00" + l.Item.ID))
	return l.noted, hex.EncodeToString(h[:])
}

func (s *Store) itemKey(item string) string { return s.Prefix + "item:" + item }

// addMarks adds the keys that a loss raises. silent are the corps that a loss without a corp may
// concern.
func (s *Store) addMarks(marks map[string]int64, l *Loss, at int64, silent []string) {
	raise := func(key string) { marks[key] = max(marks[key], at) }
	corps := []string{l.Corp}
	if l.Corp == "" {
		corps = silent
	}
	ids := corps
	if l.Channel != "" {
		ids = []string{l.Channel}
	}
	if l.Messages {
		for _, id := range ids {
			raise(s.gapKey(id))
			if l.Item != nil {
				raise(s.gapKey(id) + unreadableItems)
			}
		}
	}
	if l.Codes || l.Corp != "" {
		for _, corp := range corps {
			raise(s.gapKey(corp) + anyChannel)
		}
	}
}

// raise moves times in Redis forward, never back, and tells whether one moved. All but rg:since
// expire once they are older than a window.
func (s *Store) raise(ctx context.Context, marks map[string]int64) (moved bool, err error) {
	now := s.Now().UnixMilli()
	keys := make([]string, 0, len(marks))
	for key, at := range marks {
		if at+s.Length.Milliseconds() > now {
			keys = append(keys, key)
		}
	}
	cmds := runEachWith(ctx, s.rdb, raiseScript, keys, func(key string) []any {
		if key == s.Prefix+"since" {
			return []any{marks[key], 0}
		}
		return []any{marks[key], marks[key] + s.Length.Milliseconds() - now}
	})
	for i, cmd := range cmds {
		text, failed := cmd.Text()
		if failed != nil && !errors.Is(failed, redis.Nil) { // nil: there was none
			err = errors.Join(err, fmt.Errorf("window: mark gaps: %w", failed))
			continue
		}
		was, _ := strconv.ParseInt(text, 10, 64)
		moved = moved || was < marks[keys[i]]
	}
	return moved, err
}

// knownItems returns which items without a time have marked their gap before.
func (s *Store) knownItems(ctx context.Context, losses []Loss) (map[string]bool, error) {
	p := s.rdb.Pipeline()
	found := map[string]*redis.IntCmd{}
	for _, l := range losses {
		if _, item := l.at(s.Now()); item != "" {
			found[item] = p.Exists(ctx, s.itemKey(item))
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("window: mark gaps: %w", err)
	}
	known := make(map[string]bool, len(found))
	for item, cmd := range found {
		known[item] = cmd.Val() == 1
	}
	return known, nil
}

// leaseExpiry returns the corps that losses without a corp may concern: accounts that had no page of
// their own within the length of a window, through this gateway or another.
func (s *Store) accountsWithoutPage(ctx context.Context, losses []Loss) (corps []string, err error) {
	now := s.Now()
	passed := func(ms int64) bool { return now.Before(time.UnixMilli(ms).Add(s.Length)) }
	asked := map[string]*redis.StringCmd{}
	p := s.rdb.Pipeline()
	for _, l := range losses {
		if l.Corp != "" || l.Channel != "" && !l.Codes {
			continue
		}
		for _, corp := range l.Among {
			if last, known := s.gaps.pages.Load(corp); asked[corp] == nil && !(known && passed(last.(int64))) {
				asked[corp] = p.Get(ctx, s.pageKey(corp))
			}
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for corp, cmd := range asked {
		last, failed := cmd.Int64()
		switch {
		case failed == nil && passed(last):
			s.gaps.pages.Store(corp, last)
			continue
		case failed != nil && !errors.Is(failed, redis.Nil) && !errors.Is(failed, strconv.ErrSyntax):
			err = errors.Join(err, fmt.Errorf("window: mark gaps: %w", failed))
		}
		corps = append(corps, corp)
	}
	return corps, err
}

func (s *Store) pageKey(corp string) string {
	return s.Prefix + "page:" + string(appendEncoded(nil, corp))
}

// PagePassed notes that an account's own page of kf/sync_msg passed. Pages that cannot be
// attributed then mark no gap of that account. The other gateways learn of it through Redis, which
// is written once an hour.
func (s *Store) PagePassed(ctx context.Context, corp string) {
	now := s.Now()
	if last, known := s.gaps.pages.Load(corp); known && now.Sub(time.UnixMilli(last.(int64))).Abs() < pageEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	// After an error the next page tries again.
	if s.rdb.Set(ctx, s.pageKey(corp), now.UnixMilli(), s.Length).Err() == nil {
		s.gaps.pages.Store(corp, now.UnixMilli())
	}
}
