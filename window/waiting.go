package window

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Position is a place in a list of windows by the time at which they close.
type Position struct {
	Last   int64 // the customer's last message, unix ms
	Corp   string
	Member string // channel:customer, as in the list
}

func (p Position) compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Last, o.Last), cmp.Compare(p.Corp, o.Corp), cmp.Compare(p.Member, o.Member))
}

// Query asks for windows in the order in which they close.
type Query struct {
	Corps      []string          // nil: all
	Channel    *string           // nil: all
	Within     time.Duration     // they close within this time; 0: at any time
	States     []State           // nil: all
	Waiting    bool              // the customer waits for an answer
	ByServicer bool              // then: for that of a servicer
	Unobserved func(string) bool // nothing can be told about a corp; nil: about every one
	After      *Position         // where the page begins; nil: at the beginning
	Limit      int
}

// Page is one page of windows.
type Page struct {
	Entries []Entry
	Next    *Position // nil at the end
}

// Untold names channels of which it cannot be told whether their chats are answered.
type Untold struct {
	Corp     string
	Channels []string // nil: all
	Why      string
}

const (
	maxRounds = 20 // of reading candidates for one page
	pageCorps = 64 // corps in one pipeline
)

// ListAll reports whether List knows all windows, and not only the waiting ones.
func (s *Store) ListAll() bool { return s.IndexAll }

// ListByClose returns a page of windows in the order in which they close. It reads the lists, looks
// at each window, and removes from the list what does not wait. While Redis may lack replies that
// gateways write again, as after a failover, it waits.
func (s *Store) ListByClose(ctx context.Context, q Query) (Page, error) {
	end := time.Now().Add(maxRepair)
	joins, err := s.awaitRepair(ctx, time.Time{}, end)
	for err == nil {
		page, err := s.listByClose(ctx, q)
		if err != nil || len(page.Entries) == 0 {
			return page, err
		}
		before := joins
		if joins, err = s.awaitRepair(ctx, time.Now(), end); err != nil || joins == before {
			return page, err
		}
	}
	return Page{}, err
}

// ErrRepaired means that Redis lost what was recorded last, and has it again: look anew.
var ErrRepaired = errors.New("window: list: redis lost what was recorded last while it was read")

// walkBatch is how many members of each corp's list VisitByClose reads at once.
const walkBatch = 500

// VisitByClose calls visit with all windows of a query, in no order, whatever its limit. Each
// member of the lists is read once, so that many cost less than their pages. A window may be
// visited twice if its customer writes meanwhile.
func (s *Store) VisitByClose(ctx context.Context, q Query, visit func([]Entry) error) error {
	end := time.Now().Add(maxRepair)
	joins, err := s.awaitRepair(ctx, time.Time{}, end)
	if err != nil {
		return err
	}
	scan, err := s.scanByClose(ctx, q)
	if err != nil {
		return err
	}
	return scan.all(ctx, func(some []Entry) error {
		switch now, err := s.awaitRepair(ctx, time.Now(), time.Now().Add(maxRepair)); {
		case err != nil:
			return err
		case now != joins:
			return ErrRepaired
		}
		return visit(some)
	})
}

// maxRepair is how long a page waits for a repair.
const maxRepair = 2 * time.Second

// awaitRepair waits until every lease has been exchanged since an instant, and no repair is under
// way. It returns how often leases were joined: as long as that stays the same, Redis lost nothing.
func (s *Store) awaitRepair(ctx context.Context, since, end time.Time) (joins int, err error) {
	if !since.IsZero() {
		s.renewAll()
	}
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	for {
		joins, due := 0, false
		s.leases.mu.Lock()
		for _, p := range s.leases.partitions {
			due = due || p.lease.registered && p.asked.Before(since) || p.lease.repairing()
			joins += p.lease.grants
		}
		news := s.leases.news
		s.leases.mu.Unlock()
		if !due {
			return joins, nil
		}
		select {
		case <-news:
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		return 0, errors.New("window: list: redis may lack what was recorded last")
	}
}

func (s *Store) listByClose(ctx context.Context, q Query) (Page, error) {
	scan, err := s.scanByClose(ctx, q)
	if err != nil {
		return Page{}, err
	}
	return scan.page(ctx)
}

// scanByClose begins to read the lists of a query's corps.
func (s *Store) scanByClose(ctx context.Context, q Query) (*listScan, error) {
	if err := s.flush(ctx); err != nil { // what this gateway has recorded is on the page
		return nil, fmt.Errorf("window: list: %w", err)
	}
	sums, err := s.readSums(ctx)
	if err != nil {
		return nil, err
	}
	corps := q.corps(sums)
	scan := &listScan{s: s, q: q, key: s.waitingKey, coverage: map[string]*coverage{}}
	all := s.IndexAll && (!q.Waiting || q.ByServicer)
	if all {
		scan.key = s.recentKey
	}
	scan.first = s.sums.firsts(corps, all, s.Now())
	if scan.many = len(corps) > pageCorps; scan.many {
		corps = slices.DeleteFunc(corps, func(corp string) bool { return scan.first[corp] == firstNone })
	}
	slices.SortStableFunc(corps, func(a, b string) int { return cmp.Compare(scan.first[a], scan.first[b]) })
	scan.corps = corps
	return scan, nil
}

// corps returns the corps of a query that have lists.
func (q *Query) corps(sums summary) []string {
	if q.Corps == nil {
		return slices.Clone(sums.names)
	}
	if len(q.Corps) == 1 { // its list may be newer than the sums
		return slices.Clone(q.Corps)
	}
	var found []string
	for _, corp := range q.Corps {
		if _, listed := sums.corps[corp]; listed {
			found = append(found, corp)
		}
	}
	return found
}

// listScan reads one page of the lists of corps.
type listScan struct {
	s        *Store
	q        Query
	key      func(corp string) string
	corps    []string             // in the order of first
	first    map[string]int64     // where the lists begin at the earliest, by corp
	many     bool                 // so many corps that only those are read that must be
	coverage map[string]*coverage // what was read of corps, if the query asks who waits
}

// candidate is a member of a list.
type candidate struct {
	Position
	key Key
}

func (l *listScan) page(ctx context.Context) (Page, error) {
	var page Page
	at := l.q.After
	for range maxRounds {
		want := l.q.Limit + 1 - len(page.Entries)
		found, err := l.candidates(ctx, at, want)
		if err != nil {
			return Page{}, err
		}
		kept, err := l.look(ctx, found)
		if err != nil {
			return Page{}, err
		}
		page.Entries = append(page.Entries, kept...)
		if len(page.Entries) > l.q.Limit {
			page.Entries = page.Entries[:l.q.Limit]
			next := positionOf(page.Entries[l.q.Limit-1])
			page.Next = &next
			return page, nil
		}
		if len(found) < want {
			return page, nil
		}
		at = &found[len(found)-1].Position
	}
	page.Next = at // maxRounds was reached: the next page continues here
	return page, nil
}

// all calls visit with all windows that the query asks for, corp by corp.
func (l *listScan) all(ctx context.Context, visit func([]Entry) error) error {
	high := l.highest()
	for some := range slices.Chunk(l.corps, pageCorps) {
		if l.many && l.first[some[0]] > high { // all that follow are later
			return nil
		}
		at := map[string]*Position{}
		for len(some) > 0 {
			found, err := l.readFrom(ctx, some, at, high, walkBatch)
			if err != nil {
				return err
			}
			n := map[string]int{}
			for _, c := range found {
				n[c.Corp]++
				if p := at[c.Corp]; p == nil || p.compare(c.Position) < 0 {
					at[c.Corp] = &c.Position
				}
			}
			for batch := range slices.Chunk(found, walkBatch) {
				kept, err := l.look(ctx, batch)
				if err != nil {
					return err
				}
				if len(kept) == 0 {
					continue
				}
				if err := visit(kept); err != nil {
					return err
				}
			}
			some = slices.DeleteFunc(slices.Clone(some), func(corp string) bool { return n[corp] < walkBatch })
		}
	}
	return nil
}

func positionOf(e Entry) Position { return Position{e.Window.Last, e.Key.Corp, e.Key.member()} }

// candidates returns the first n members of all lists after a position.
func (l *listScan) candidates(ctx context.Context, after *Position, n int) (best []candidate, err error) {
	high := l.highest()
	for some := range slices.Chunk(l.corps, pageCorps) {
		if len(best) == n {
			high = min(high, best[n-1].Last)
		}
		if (len(best) == n || l.many) && l.first[some[0]] > high { // all that follow are later
			break
		}
		found, err := l.read(ctx, some, after, high, n)
		if err != nil {
			return nil, err
		}
		best = append(best, found...)
		slices.SortFunc(best, func(a, b candidate) int { return a.compare(b.Position) })
		best = best[:min(len(best), n)]
	}
	return best, nil
}

// highest returns the last message of the windows that close at the end of the query's time.
func (l *listScan) highest() int64 {
	if l.q.Within > 0 {
		return l.s.Now().Add(l.q.Within - l.s.Length).UnixMilli()
	}
	return math.MaxInt64
}

// read returns up to n members of each corp's list after a position.
func (l *listScan) read(ctx context.Context, corps []string, after *Position, high int64, n int) (found []candidate, err error) {
	at := map[string]*Position{}
	for _, corp := range corps {
		at[corp] = after
	}
	return l.readFrom(ctx, corps, at, high, n)
}

// readFrom is read with a position for each corp; without one it is the query's.
func (l *listScan) readFrom(ctx context.Context, corps []string, at map[string]*Position, high int64, n int) (found []candidate, err error) {
	oldest := l.s.Now().Add(-l.s.Length).UnixMilli() + 1
	after := func(corp string) *Position { return cmp.Or(at[corp], l.q.After) }
	if l.q.Waiting {
		missing := slices.DeleteFunc(slices.Clone(corps), func(corp string) bool { return l.coverage[corp] != nil })
		covered, err := l.s.readCoverage(ctx, missing)
		if err != nil {
			return nil, err
		}
		maps.Copy(l.coverage, covered)
	}
	taken := map[string]int{} // members of each corp
	for offset, left := int64(0), corps; len(left) > 0; offset += int64(n) {
		p := l.s.rdb.Pipeline()
		cmds := make([]*redis.ZSliceCmd, len(left))
		for i, corp := range left {
			from := oldest
			if a := after(corp); a != nil {
				from = max(from, a.Last)
			}
			if l.q.Waiting {
				from = max(from, l.coverage[corp].all.at)
			}
			cmds[i] = p.ZRangeByScoreWithScores(ctx, l.key(corp), &redis.ZRangeBy{
				Min: strconv.FormatInt(from, 10), Max: strconv.FormatInt(high, 10), Offset: offset, Count: int64(n),
			})
		}
		if _, err := p.Exec(ctx); err != nil {
			return nil, fmt.Errorf("window: list: %w", err)
		}
		var more []string
		for i, corp := range left {
			for _, z := range cmds[i].Val() {
				if c, ok := l.candidate(corp, z, after(corp)); ok {
					found = append(found, c)
					taken[corp]++
				}
			}
			if len(cmds[i].Val()) == n && taken[corp] < n && offset < maxCounts { // the page before had some
				more = append(more, corp)
			}
		}
		left = more
	}
	return found, nil
}

// candidate reads a member, unless it is not after a position, or not of the channel.
func (l *listScan) candidate(corp string, z redis.Z, after *Position) (c candidate, ok bool) {
	c.Position = Position{int64(z.Score), corp, z.Member.(string)}
	if after != nil && c.compare(*after) <= 0 {
		return c, false
	}
	c.key, ok = parseMember(corp, c.Member)
	return c, ok
}

// look reads the windows of candidates, and returns those that the query asks for.
func (l *listScan) look(ctx context.Context, found []candidate) (kept []Entry, err error) {
	keys := make([]Key, len(found))
	for i, c := range found {
		keys[i] = c.key
	}
	entries, err := l.s.readWindows(ctx, keys)
	if err != nil {
		return nil, err
	}
	var gone []Key
	var moved []Entry
	for i, e := range entries {
		switch last := e.Window.Last; {
		case !e.Broken && (last == 0 || e.State == Closed || !e.Window.Waiting(false)):
			gone = append(gone, e.Key)
		case !e.Broken && last > found[i].Last: // its place is later
			moved = append(moved, e)
			continue
		}
		if e.Broken { // only the list has its place
			e.Window.Last = found[i].Last
		}
		if l.matches(e) {
			kept = append(kept, e)
		}
	}
	if err := l.s.unlist(ctx, gone); err != nil {
		return nil, fmt.Errorf("window: list: %w", err)
	}
	return kept, l.s.relist(ctx, moved)
}

// matches reports whether the query asks for an entry.
func (l *listScan) matches(e Entry) bool {
	q := &l.q
	if q.Channel != nil && e.Key.Channel != *q.Channel || !e.Broken && (e.Window.Last == 0 || e.State == Closed && q.Waiting) {
		return false
	}
	if q.States != nil && (e.Broken || !slices.Contains(q.States, e.State)) {
		return false
	}
	if !q.Waiting {
		return true
	}
	return e.waits(q.ByServicer) && l.coverage[e.Key.Corp].covers(e.Key, e.Window.Last) && (q.Unobserved == nil || !q.Unobserved(e.Key.Corp))
}

// liveCorps is for how many corps chats are counted as of now. For more, the sums count.
const liveCorps = 16

// CountWaiting counts the waiting chats of a query.
func (s *Store) CountWaiting(ctx context.Context, q Query) (total Sum, err error) {
	if err := s.flush(ctx); err != nil {
		return total, fmt.Errorf("window: count waiting chats: %w", err)
	}
	sums, err := s.readSums(ctx)
	if err != nil {
		return total, err
	}
	corps := slices.DeleteFunc(q.corps(sums), func(corp string) bool { return q.Unobserved != nil && q.Unobserved(corp) })
	counts := sums.corps
	if len(corps) <= liveCorps {
		covered, err := s.readCoverage(ctx, corps)
		if err != nil {
			return total, err
		}
		if counts, err = s.count(ctx, corps, covered, q.Channel); err != nil {
			return total, err
		}
	}
	for _, corp := range corps {
		total.add(counts[corp])
	}
	return total, nil
}

// maxUntold bounds the corps of which Untold reads what cannot be told.
const maxUntold = 10_000

// Untold returns what cannot be told about the chats of a query's corps.
func (s *Store) Untold(ctx context.Context, q Query) (all []Untold, err error) {
	if err := s.flush(ctx); err != nil {
		return nil, fmt.Errorf("window: what can be told: %w", err)
	}
	sums, err := s.readSums(ctx)
	if err != nil {
		return nil, err
	}
	corps := q.corps(sums)
	if len(corps) > liveCorps { // the sums name those that have something to tell
		corps = slices.DeleteFunc(corps, func(corp string) bool {
			return !sums.corps[corp].Untold && (q.Unobserved == nil || !q.Unobserved(corp))
		})
	}
	slices.Sort(corps)
	for some := range slices.Chunk(corps[:min(len(corps), maxUntold)], sumChunk) {
		covered, err := s.readCoverage(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, corp := range some {
			if q.Unobserved != nil && q.Unobserved(corp) {
				all = append(all, Untold{Corp: corp, Why: UntoldNotObserved})
				continue
			}
			all = append(all, covered[corp].untold(corp)...)
		}
	}
	return all, nil
}

// untold lists the marks, those of one reason together.
func (t *coverage) untold(corp string) (all []Untold) {
	if t.all.at != 0 {
		all = append(all, Untold{Corp: corp, Why: t.all.why})
	}
	byReason := map[string][]string{}
	for channel, m := range t.channels {
		byReason[m.why] = append(byReason[m.why], channel)
	}
	for why, channels := range byReason {
		slices.Sort(channels)
		all = append(all, Untold{Corp: corp, Channels: channels, Why: why})
	}
	slices.SortFunc(all, func(a, b Untold) int { return cmp.Compare(a.Why, b.Why) })
	return all
}

// maxChannelsOf bounds the channels on which a customer is looked for.
const maxChannelsOf = 200

// FindCustomer returns the windows of a customer on all channels of a corp that are known: those of
// the last week, and others that the caller names.
func (s *Store) FindCustomer(ctx context.Context, corp, customer string, others ...string) (found []Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*s.Timeout)
	defer cancel()
	covered, err := s.readCoverage(ctx, []string{corp})
	if err != nil {
		return nil, err
	}
	channels := append([]string{""}, covered[corp].known...)
	channels = append(channels, others...)
	slices.Sort(channels)
	channels = slices.Compact(channels)
	keys := make([]Key, 0, len(channels))
	for _, channel := range channels[:min(len(channels), maxChannelsOf)] {
		keys = append(keys, Key{Corp: corp, Channel: channel, Customer: customer})
	}
	entries, err := s.readWindows(ctx, keys)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e Entry) bool { return !e.Broken && e.Window.Last == 0 }), nil
}
