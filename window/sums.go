package window

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// Sum counts the waiting chats of a corp.
type Sum struct {
	Hours [24]int `json:"hours,omitzero"` // by the hour in which they close, from now on
	All   int     `json:"all"`
	First int64   `json:"first"` // last message of the chat that closes first, unix ms; 0: none waits
	// Untold says that it cannot be told of some chats whether they are answered.
	Untold bool `json:"untold,omitempty"`
	// Oldest is the last message of the window that closes first, of all windows, unix ms; 0: none is
	// open, or there is no list of them.
	Oldest int64 `json:"oldest,omitempty"`
}

// Within returns how many chats close within some hours.
func (u *Sum) Within(hours int) (n int) {
	for _, one := range u.Hours[:hours] {
		n += one
	}
	return n
}

// add adds the chats of another corp.
func (u *Sum) add(other Sum) {
	for i, n := range other.Hours {
		u.Hours[i] += n
	}
	u.All += other.All
	if other.First != 0 && (u.First == 0 || other.First < u.First) {
		u.First = other.First
	}
}

// sums are the sums of all corps, as the leader wrote them last.
type sums struct {
	reading sync.Mutex // held by the one that reads them

	mu sync.Mutex
	summary
	at      time.Time        // when Redis was last asked; zero: never, or a corp is missing
	lost    time.Time        // answers of every corp, also of those that are not known here yet; zero: none, or all are marked
	touched map[string]touch // what this gateway has listed since, by corp
}

// summary is what was read of the sums. It is never changed, so that pages share it.
type summary struct {
	corps  map[string]Sum // also corps without a sum yet
	names  []string       // of the corps, in order
	texts  map[string]string
	seen   map[string]time.Time // when the corps were first seen
	summed summed
}

// touch is the oldest message among the chats that were listed, unix ms, and when the last one was.
type touch struct {
	last int64
	at   time.Time
}

// summed is when the leader began the last sum that it finished, and whether that has Sum.Oldest.
type summed struct {
	text string
	at   time.Time
	all  bool
}

func parseSummed(text string) summed {
	at, all, _ := strings.Cut(text, ":")
	ms, _ := strconv.ParseInt(at, 10, 64)
	return summed{text, time.UnixMilli(ms), all == "all"}
}

func (u summed) String() string {
	if u.all {
		return fmt.Sprintf("%d:all", u.at.UnixMilli())
	}
	return strconv.FormatInt(u.at.UnixMilli(), 10)
}

// expect notes changes that the sums may lack. The sums are read again if a corp has none.
func (u *sums) expect(c indexChanges) {
	u.mu.Lock()
	defer u.mu.Unlock()
	look := func(corp string) {
		if _, known := u.corps[corp]; !known {
			u.at = time.Time{}
		}
	}
	now := time.Now()
	for k, one := range c.chats {
		look(k.Corp)
		last := one.last
		if t, again := u.touched[k.Corp]; again {
			last = min(last, t.last)
		}
		put(&u.touched, k.Corp, touch{last, now})
	}
	for of := range c.untold {
		look(of.corp)
	}
}

// summedBy is how long after a change the leader has surely counted it.
const summedBy = 3 * sumEvery

// firsts returns for each corp the oldest message that one of its lists may have: firstUnknown if
// nobody has counted it, firstNone if the list is surely empty. all is for the list of all windows.
func (u *sums) firsts(corps []string, all bool, now time.Time) map[string]int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	counted := now.Sub(u.summed.at).Abs() < summedBy && (u.summed.all || !all)
	firsts := make(map[string]int64, len(corps))
	for _, corp := range corps {
		sum, first := u.corps[corp], firstUnknown
		switch {
		case all && sum.Oldest != 0:
			first = sum.Oldest
		case !all && sum.First != 0:
			first = sum.First
		case counted && !u.seen[corp].IsZero() && u.seen[corp].Before(u.summed.at):
			first = firstNone
		}
		if t, again := u.touched[corp]; again {
			first = min(first, t.last)
		}
		firsts[corp] = first
	}
	return firsts
}

const (
	firstUnknown = int64(0)
	firstNone    = int64(math.MaxInt64)
)

const (
	sumEvery  = 10 * time.Second
	sumFresh  = time.Second // how long sums are used before Redis is asked for newer ones
	sumChunk  = 100         // corps in one pipeline
	leadTerm  = 15 * time.Second
	maxCounts = 20_000 // chats of a corp that are counted one by one
)

func (s *Store) sumKey() string { return s.Prefix + "waiting-sum" }

func (s *Store) summedKey() string { return s.Prefix + "waiting-summed" }

// Waiting returns how many chats of a corp wait for an answer, from memory. known is false before
// the sums were read once, and without RunWaiting.
func (s *Store) Waiting(corp string) (n int, known bool) {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	return s.sums.corps[corp].All, s.sums.corps != nil
}

// WaitingCorps returns the corps that have lists, from memory.
func (s *Store) WaitingCorps() []string {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	return slices.Clone(s.sums.names)
}

// RunWaiting keeps the lists of waiting chats, their sums in memory, and the lists' sums in Redis
// while it is the leader, until ctx ends.
func (s *Store) RunWaiting(ctx context.Context) {
	s.RequestWalk()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { s.runFlush(ctx) })
	all.Go(func() { store.NewLeader(s.rdb, s.Prefix+"leader:waiting", leadTerm).Run(ctx, s.leadWaiting) })
	s.every(ctx, sumFresh, func() {
		if _, err := s.readSums(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("the sums of waiting chats cannot be read", zap.Error(err))
		}
	})
}

// every calls do at once and then at intervals until ctx ends.
func (s *Store) every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// leadWaiting sums the lists and walks the windows where that is due.
func (s *Store) leadWaiting(ctx context.Context) {
	var walking sync.WaitGroup
	defer walking.Wait()
	walking.Go(func() { s.runWalk(ctx) })
	s.every(ctx, sumEvery, func() { s.sum(ctx) })
}

// sum is Sum for the leader, which tries again.
func (s *Store) sum(ctx context.Context) {
	if err := s.Sum(ctx); err != nil && ctx.Err() == nil {
		s.Log.Warn("the waiting chats cannot be counted", zap.Error(err))
	}
}

// readSums returns the sums of all corps. It asks Redis whether there are others once a second, and
// reads them only then.
func (s *Store) readSums(ctx context.Context) (summary, error) {
	s.sums.reading.Lock()
	defer s.sums.reading.Unlock()
	s.sums.mu.Lock()
	old, at, lost := s.sums.summary, s.sums.at, s.sums.lost
	s.sums.mu.Unlock()
	if !at.IsZero() && lost.IsZero() && time.Since(at) < sumFresh {
		return old, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*s.Timeout)
	defer cancel()
	p := s.rdb.Pipeline()
	known, last := p.SCard(ctx, s.Prefix+waitingCorps), p.Get(ctx, s.summedKey())
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return old, fmt.Errorf("window: sums: %w", err)
	}
	if at.IsZero() || !lost.IsZero() || int(known.Val()) != len(old.corps) || last.Val() != old.summed.text || last.Val() == "" {
		var err error
		if old, err = s.readSummary(ctx, old); err != nil {
			return old, err
		}
	}
	if !lost.IsZero() {
		if err := s.markLost(ctx, old.names, lost); err != nil {
			return old, err
		}
	}
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	s.sums.summary, s.sums.at = old, time.Now()
	maps.DeleteFunc(s.sums.touched, func(_ string, t touch) bool { return time.Since(t.at) > summedBy })
	return old, nil
}

// markLost marks corps whose answers are lost, before a page can be made of their lists.
func (s *Store) markLost(ctx context.Context, corps []string, at time.Time) error {
	for _, corp := range corps {
		s.MarkUntold(corp, AllChannels, at, UntoldGap)
	}
	if err := s.flush(ctx); err != nil {
		return fmt.Errorf("window: sums: %w", err)
	}
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	if s.sums.lost.Equal(at) { // else there was another loss meanwhile
		s.sums.lost = time.Time{}
	}
	return nil
}

// readSummary reads the sums, and parses those that differ from the old ones.
func (s *Store) readSummary(ctx context.Context, old summary) (summary, error) {
	p := s.rdb.Pipeline()
	last, names, texts := p.Get(ctx, s.summedKey()), p.SMembers(ctx, s.Prefix+waitingCorps), p.HGetAll(ctx, s.sumKey())
	_, _ = p.Exec(ctx) // each has its own error
	if err := cmp.Or(names.Err(), texts.Err()); err != nil {
		return old, fmt.Errorf("window: sums: %w", err)
	}
	fresh := summary{
		corps: make(map[string]Sum, len(names.Val())), names: names.Val(), texts: texts.Val(),
		seen: make(map[string]time.Time, len(names.Val())), summed: parseSummed(last.Val()),
	}
	now := s.Now()
	for _, corp := range fresh.names {
		seen, again := old.seen[corp]
		if fresh.seen[corp] = seen; !again {
			fresh.seen[corp] = now
		}
		text := fresh.texts[corp]
		if text != "" && text == old.texts[corp] {
			fresh.corps[corp] = old.corps[corp]
			continue
		}
		var u Sum
		_ = json.Unmarshal([]byte(text), &u) // the corp has no sum yet
		fresh.corps[corp] = u
	}
	slices.Sort(fresh.names)
	return fresh, nil
}

// Sum counts the waiting chats of all corps, and removes from the lists what has closed. One
// gateway at a time does it; twice is harmless.
func (s *Store) Sum(ctx context.Context) error {
	began := s.Now()
	corps, err := s.rdb.SMembers(ctx, s.Prefix+waitingCorps).Result()
	if err != nil {
		return fmt.Errorf("window: sums: %w", err)
	}
	slices.Sort(corps)
	for some := range slices.Chunk(corps, sumChunk) {
		if err := s.sumChunk(ctx, some); err != nil {
			return err
		}
	}
	if err := s.rdb.Set(ctx, s.summedKey(), summed{at: began, all: s.IndexAll}.String(), s.Length).Err(); err != nil {
		return fmt.Errorf("window: sums: %w", err)
	}
	return nil
}

func (s *Store) sumChunk(ctx context.Context, corps []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*s.Timeout)
	defer cancel()
	covered, err := s.readCoverage(ctx, corps)
	if err != nil {
		return err
	}
	p := s.rdb.Pipeline()
	closed := "(" + strconv.FormatInt(s.Now().Add(-s.Length).UnixMilli()+1, 10)
	for _, corp := range corps {
		p.ZRemRangeByScore(ctx, s.waitingKey(corp), "-inf", closed)
		p.ZRemRangeByScore(ctx, s.recentKey(corp), "-inf", closed)
		if stale := covered[corp].stale; len(stale) > 0 {
			p.HDel(ctx, s.channelsKey(corp), stale...)
		}
	}
	oldest := make([]*redis.ZSliceCmd, len(corps))
	for i, corp := range corps {
		if s.IndexAll {
			oldest[i] = p.ZRangeWithScores(ctx, s.recentKey(corp), 0, 0)
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: sums: %w", err)
	}
	counted, err := s.count(ctx, corps, covered, nil)
	if err != nil {
		return err
	}
	p = s.rdb.Pipeline()
	for i, corp := range corps {
		u := counted[corp]
		if oldest[i] != nil && len(oldest[i].Val()) > 0 {
			u.Oldest = int64(oldest[i].Val()[0].Score)
		}
		if u.Untold = !covered[corp].complete(); u.All > 0 || u.Untold || u.Oldest > 0 {
			text, _ := json.Marshal(u)
			p.HSet(ctx, s.sumKey(), corp, text)
		} else {
			p.HDel(ctx, s.sumKey(), corp)
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: sums: %w", err)
	}
	return nil
}

// count counts the waiting chats of corps that can be told, of one channel if it is not nil.
func (s *Store) count(ctx context.Context, corps []string, covered map[string]*coverage, channel *string) (map[string]Sum, error) {
	sums := make(map[string]Sum, len(corps))
	var whole, apart []string
	for _, corp := range corps {
		if channel == nil && covered[corp].uniform() {
			whole = append(whole, corp)
		} else {
			apart = append(apart, corp)
		}
	}
	if err := s.countWhole(ctx, whole, covered, sums); err != nil {
		return nil, err
	}
	for _, corp := range apart {
		u, err := s.countApart(ctx, corp, covered[corp], channel)
		if err != nil {
			return nil, err
		}
		sums[corp] = u
	}
	return sums, nil
}

// countWhole counts chats by their scores alone.
func (s *Store) countWhole(ctx context.Context, corps []string, covered map[string]*coverage, sums map[string]Sum) error {
	if len(corps) == 0 {
		return nil
	}
	now := s.Now()
	p := s.rdb.Pipeline()
	all, first := make([]*redis.IntCmd, len(corps)), make([]*redis.ZSliceCmd, len(corps))
	from := make([]int64, len(corps))
	for i, corp := range corps {
		from[i] = max(covered[corp].all.at, now.Add(-s.Length).UnixMilli()+1)
		all[i] = p.ZCount(ctx, s.waitingKey(corp), strconv.FormatInt(from[i], 10), "+inf")
		first[i] = p.ZRangeByScoreWithScores(ctx, s.waitingKey(corp), &redis.ZRangeBy{Min: strconv.FormatInt(from[i], 10), Max: "+inf", Count: 1})
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: count: %w", err)
	}
	p = s.rdb.Pipeline()
	hours := map[string][]*redis.IntCmd{}
	for i, corp := range corps {
		u := Sum{All: int(all[i].Val())}
		if one := first[i].Val(); len(one) > 0 {
			u.First = int64(one[0].Score)
			if s.hourOf(u.First, now) < len(u.Hours) {
				hours[corp] = s.countHours(ctx, p, corp, from[i], now)
			}
		}
		sums[corp] = u
	}
	if len(hours) == 0 {
		return nil
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: count: %w", err)
	}
	for corp, counts := range hours {
		u := sums[corp]
		for i, n := range counts {
			u.Hours[i] = int(n.Val())
		}
		sums[corp] = u
	}
	return nil
}

// countHours queues the counts of the hours in which chats close.
func (s *Store) countHours(ctx context.Context, p redis.Pipeliner, corp string, from int64, now time.Time) (counts []*redis.IntCmd) {
	begin := now.Add(-s.Length).UnixMilli()
	for i := range int64(len(Sum{}.Hours)) {
		low, high := begin+i*time.Hour.Milliseconds()+1, begin+(i+1)*time.Hour.Milliseconds()
		counts = append(counts, p.ZCount(ctx, s.waitingKey(corp), strconv.FormatInt(max(low, from), 10), strconv.FormatInt(high, 10)))
	}
	return counts
}

// hourOf returns the hour from now in which the window of a message closes.
func (s *Store) hourOf(last int64, now time.Time) int {
	left := last - now.Add(-s.Length).UnixMilli()
	return int((left - 1) / time.Hour.Milliseconds())
}

// countApart counts chats one by one, for a corp with marks of its channels, or for one channel.
func (s *Store) countApart(ctx context.Context, corp string, t *coverage, channel *string) (u Sum, err error) {
	now := s.Now()
	err = s.eachWaiting(ctx, corp, t, now, func(k Key, last int64) {
		if channel != nil && k.Channel != *channel {
			return
		}
		one := Sum{All: 1, First: last}
		if h := s.hourOf(last, now); h < len(one.Hours) {
			one.Hours[h] = 1
		}
		u.add(one)
	})
	return u, err
}

// eachWaiting calls do for the waiting chats of a corp of which it can be told, maxCounts at most.
func (s *Store) eachWaiting(ctx context.Context, corp string, t *coverage, now time.Time, do func(k Key, last int64)) error {
	from := max(t.all.at, now.Add(-s.Length).UnixMilli()+1)
	for offset := 0; offset < maxCounts; offset += 2000 {
		some, err := s.rdb.ZRangeByScoreWithScores(ctx, s.waitingKey(corp), &redis.ZRangeBy{
			Min: strconv.FormatInt(from, 10), Max: "+inf", Offset: int64(offset), Count: 2000,
		}).Result()
		if err != nil {
			return fmt.Errorf("window: count: %w", err)
		}
		for _, z := range some {
			if k, ok := parseMember(corp, z.Member.(string)); ok && t.covers(k, int64(z.Score)) {
				do(k, int64(z.Score))
			}
		}
		if len(some) < 2000 {
			break
		}
	}
	return nil
}
