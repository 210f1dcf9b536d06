package window

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Loss describes messages or codes that passed unrecorded, or may have. It marks a gap, an instant
// before which the history proves nothing: of the channel if that is known, else of the corp. If
// neither is known, it marks one for every account without a page within the length of a window.
type Loss struct {
	Corp     string // "" if unknown
	Channel  string // open_kfid, "" if unknown
	All      bool   // anything may be lost: rg:since is raised, and the other fields do not matter
	Messages bool   // customers' messages may be lost
	Codes    bool   // one-time codes may be lost
	Item     *Item  // the unreadable item; nil for a loss that a backfill can repair
	Reason   string // what was lost, for replygate_gaps_total

	Noted int64 // when it was reported, unix ms; RecordGaps sets it
}

// Item is an item of kf/sync_msg that cannot be read. Bots pull it again for three days, and that
// must not move its gap. So the gap has the item's own time; an item without one marks its gap
// once.
type Item struct {
	At time.Time // send_time, zero if unreadable
	ID string    // msgid; without ID and At, each pull marks a gap anew
}

const (
	anyChannel      = ":any"         // suffix of a corp's key: the newest gap of it and its channels
	unreadableItems = ":items"       // suffix of a gap's key: the newest gap of an unreadable item
	itemKept        = 96 * time.Hour // longer than kf/sync_msg reaches back
	maxUnwritten    = 1000
	pageEvery       = time.Hour // how often an account's newest page is written to Redis
)

// gapKey is the key of the gap of a corp or a channel. It holds unix ms.
func (s *Store) gapKey(id string) string { return s.Prefix + "gap:" + string(appendEncoded(nil, id)) }

// gaps holds what neither Redis nor the journal took, and the time of each account's newest page.
type gaps struct {
	pending atomic.Bool // something is not in Redis yet
	writing sync.Mutex  // held by the one that writes it

	mu sync.Mutex
	unwritten
	listed []string // the corps of all accounts

	pages sync.Map // :: corp -> unix ms, as stored in Redis
}

// unwritten is what has to be written to Redis.
type unwritten struct {
	losses   []Loss
	accounts *accounts
}

// keep stores losses until writePending succeeds. Too many become one of unknown extent. The caller
// must hold mu.
func (g *gaps) keep(losses []Loss) {
	if g.losses = append(g.losses, losses...); len(g.losses) > maxUnwritten {
		g.losses = []Loss{{All: true, Reason: gapUnsaved, Noted: losses[len(losses)-1].Noted}}
	}
	g.pending.Store(true)
}

// keepLosses keeps losses, and notes in the journal that there are some: so the next process knows
// it if this one ends before they are written.
func (s *Store) keepLosses(losses []Loss) error {
	s.gaps.mu.Lock()
	defer s.gaps.mu.Unlock()
	s.gaps.keep(losses)
	if s.embedded() { // its store notes what its journal does not take
		return nil
	}
	return s.journal.MarkIncomplete()
}

// RecordGaps marks the gaps of losses. Once it returns nil, no gateway refuses a reply because of a
// record that is among them. moved reports that a gap is new or later than before. On an error the
// losses are kept and written later; until then this gateway refuses nothing because a record is
// missing.
func (s *Store) RecordGaps(ctx context.Context, losses ...Loss) (moved bool, err error) {
	losses = slices.Clone(losses)
	for i := range losses {
		losses[i].Noted = s.Now().UnixMilli()
	}
	s.untoldBy(losses)
	s.waitSettled()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout+time.Duration(len(losses)+s.concerned(losses))*time.Millisecond)
	defer cancel()
	if moved, err = s.writeGaps(ctx, losses); err == nil {
		return moved, nil
	}
	b := newBacklog()
	b.losses = losses
	if err = s.spill(b, err); err != nil && !errors.Is(err, ErrNotMember) {
		err = errors.Join(err, s.keepLosses(losses))
	}
	return true, err
}

// concerned is how many accounts losses without a corp may concern.
func (s *Store) concerned(losses []Loss) int {
	if !slices.ContainsFunc(losses, concernsAccounts) {
		return 0
	}
	s.gaps.mu.Lock()
	defer s.gaps.mu.Unlock()
	return len(s.gaps.listed)
}

// concernsAccounts reports whether a loss may be of any account.
func concernsAccounts(l Loss) bool {
	return !l.All && l.Corp == "" && (l.Channel == "" || l.Codes)
}

// raiseSince raises rg:since, for a loss of unknown extent: history of every corp is incomplete
// for the length of a window.
func (s *Store) raiseSince(ctx context.Context, at time.Time, reason string) error {
	moved, err := s.mark(ctx, map[string]int64{s.sinceKey(): at.UnixMilli()})
	if moved {
		s.counts.gap(reason)
	}
	if err == nil {
		s.untoldAll()
		s.RequestWalk()
	}
	return err
}

// mark moves times in Redis forward, never back. moved reports whether one changed.
func (s *Store) mark(ctx context.Context, marks map[string]int64) (moved bool, err error) {
	sent, from, err := s.write(ctx, writes{marks: marks})
	if err != nil {
		return false, err
	}
	for _, w := range sent {
		was, _ := w.cmd.(*redis.Cmd).Int64()
		moved = moved || was < marks[w.keys[0]]
	}
	if moved {
		s.forgetKnown()
	}
	time.Sleep(time.Until(from))
	return moved, nil
}

// writePending writes what neither Redis nor the journal took. It does nothing if another goroutine
// is at it.
func (s *Store) writePending(ctx context.Context) error {
	g := &s.gaps
	if !g.pending.Load() || !g.writing.TryLock() {
		return nil
	}
	defer g.writing.Unlock()
	w := g.take()
	err := s.writeTaken(ctx, &w)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.losses = append(w.losses, g.losses...)
	if g.accounts == nil {
		g.accounts = w.accounts
	} else if w.accounts != nil {
		g.accounts.before = w.accounts.before
	}
	g.pending.Store(len(g.losses) > 0 || g.accounts != nil)
	if len(g.losses) == 0 && !s.embedded() {
		s.journal.MarkComplete()
	}
	return err
}

// take removes and returns what is not in Redis yet. pending stays set meanwhile.
func (g *gaps) take() unwritten {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.unwritten
	g.unwritten = unwritten{}
	return w
}

// writeTaken writes w to Redis, and clears those parts of it that succeeded.
func (s *Store) writeTaken(ctx context.Context, w *unwritten) error {
	if _, err := s.writeGaps(ctx, w.losses); err != nil {
		return err
	}
	w.losses = nil
	if w.accounts != nil {
		if err := s.writeAccounts(ctx, w.accounts); err != nil {
			return err
		}
		w.accounts = nil
	}
	return nil
}

// writeGaps writes the gaps of losses. An item without a time is stored after its gap, never
// before: a crash in between marks the gap again.
func (s *Store) writeGaps(ctx context.Context, losses []Loss) (moved bool, err error) {
	if len(losses) == 0 {
		return false, nil
	}
	known, err := s.knownItems(ctx, losses)
	if err != nil {
		return false, err
	}
	withoutPage, err := s.accountsWithoutPage(ctx, losses)
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
		s.addMarks(marks, &l, at, withoutPage)
	}
	if moved, err = s.mark(ctx, marks); err != nil {
		return moved, err
	}
	if moved {
		for _, l := range losses {
			s.counts.gap(l.Reason)
		}
	}
	if slices.ContainsFunc(losses, func(l Loss) bool { return l.All }) {
		s.untoldAll()
		s.RequestWalk()
	}
	if len(first) == 0 {
		return moved, nil
	}
	p := s.rdb.Pipeline()
	for _, key := range first {
		p.Set(ctx, key, s.Now().UnixMilli(), itemKept)
	}
	if _, err := p.Exec(ctx); err != nil {
		return moved, fmt.Errorf("window: mark gaps: %w", err)
	}
	return moved, nil
}

// at returns the instant of a loss's gap, unix ms. For an item without a usable time that is the
// time of its first report; item is then its id in Redis, else "".
func (l *Loss) at(now time.Time) (at int64, item string) {
	switch {
	case l.Item == nil:
		return l.Noted, ""
	case !l.Item.At.IsZero() && !l.Item.At.After(now.Add(maxAhead)):
		return l.Item.At.UnixMilli(), ""
	case l.Item.ID == "":
		return l.Noted, ""
	}
	h := sha256.Sum256([]byte(l.Corp + "\x00" + l.Channel + "\x00" + l.Item.ID))
	return l.Noted, hex.EncodeToString(h[:])
}

func (s *Store) itemKey(item string) string { return s.Prefix + "item:" + item }

// addMarks adds the keys that a loss raises to marks. withoutPage are the corps that a loss without
// a corp may concern.
func (s *Store) addMarks(marks map[string]int64, l *Loss, at int64, withoutPage []string) {
	raise := func(key string) { marks[key] = max(marks[key], at) }
	if l.All {
		raise(s.sinceKey())
		return
	}
	corps := []string{l.Corp}
	if l.Corp == "" {
		corps = withoutPage
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

// knownItems returns the items without a time whose gap is marked already.
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

// accountsWithoutPage returns the corps that losses without a corp may concern: accounts that had
// no page of their own within the length of a window, through any gateway.
func (s *Store) accountsWithoutPage(ctx context.Context, losses []Loss) (corps []string, err error) {
	if !slices.ContainsFunc(losses, concernsAccounts) {
		return nil, nil
	}
	s.gaps.mu.Lock()
	listed := s.gaps.listed
	s.gaps.mu.Unlock()
	now := s.Now()
	recent := func(ms int64) bool { return now.Before(time.UnixMilli(ms).Add(s.Length)) }
	gets := map[string]*redis.StringCmd{}
	p := s.rdb.Pipeline()
	for _, corp := range listed {
		if last, known := s.gaps.pages.Load(corp); !known || !recent(last.(int64)) {
			gets[corp] = p.Get(ctx, s.pageKey(corp))
		}
	}
	if len(gets) == 0 {
		return nil, nil
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for corp, cmd := range gets {
		last, failed := cmd.Int64()
		switch {
		case failed == nil && recent(last):
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

// PagePassed stores that a page of kf/sync_msg of the account itself passed. Pages without a known
// account then mark no gap of this one. Redis, from which the other gateways read it, is written at
// most once an hour.
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
