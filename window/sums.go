package window

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// Sum counts the waiting chats of a corp.
type Sum struct {
	Hours [24]int `json:"hours"` // by the hour in which they close, from now on
	All   int     `json:"all"`
	First int64   `json:"first"` // last message of the chat that closes first, unix ms; 0: none waits
	// Untold says that it cannot be told of some chats whether they are answered.
	Untold bool `json:"untold,omitempty"`
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

	mu    sync.Mutex
	corps map[string]Sum // also corps without a sum yet
	at    time.Time      // zero: not read, or a corp is missing
}

// expect has the sums read again if changes concern a corp that has none.
func (u *sums) expect(c indexChanges) {
	u.mu.Lock()
	defer u.mu.Unlock()
	look := func(corp string) {
		if _, known := u.corps[corp]; !known {
			u.at = time.Time{}
		}
	}
	for k := range c.chats {
		look(k.Corp)
	}
	for of := range c.untold {
		look(of.corp)
	}
}

const (
	sumEvery  = 10 * time.Second
	sumFresh  = time.Second // a page reads them again after that
	sumChunk  = 100         // corps in one pipeline
	leadTerm  = 15 * time.Second
	maxCounts = 20_000 // chats of a corp that are counted one by one
)

func (s *Store) sumKey() string { return s.Prefix + "waiting-sum" }

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
	return corpsOf(s.sums.corps)
}

// RunWaiting keeps the lists of waiting chats, their sums in memory, and the lists' sums in Redis
// while it is the leader, until ctx ends.
func (s *Store) RunWaiting(ctx context.Context) {
	s.RequestWalk()
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { s.runFlush(ctx) })
	all.Go(func() { store.NewLeader(s.rdb, s.Prefix+"leader:waiting", leadTerm).Run(ctx, s.leadWaiting) })
	s.every(ctx, sumEvery, func() {
		if _, err := s.readSums(ctx, sumEvery/2); err != nil && ctx.Err() == nil {
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

// readSums returns the sums of all corps, not older than fresh.
func (s *Store) readSums(ctx context.Context, fresh time.Duration) (map[string]Sum, error) {
	s.sums.reading.Lock()
	defer s.sums.reading.Unlock()
	s.sums.mu.Lock()
	corps, at := s.sums.corps, s.sums.at
	s.sums.mu.Unlock()
	if !at.IsZero() && time.Since(at) < fresh {
		return corps, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*s.Timeout)
	defer cancel()
	p := s.rdb.Pipeline()
	names, texts := p.SMembers(ctx, s.Prefix+waitingCorps), p.HGetAll(ctx, s.sumKey())
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("window: sums: %w", err)
	}
	corps = make(map[string]Sum, len(names.Val()))
	for _, corp := range names.Val() {
		var u Sum
		_ = json.Unmarshal([]byte(texts.Val()[corp]), &u) // the corp has no sum yet
		corps[corp] = u
	}
	s.sums.mu.Lock()
	s.sums.corps, s.sums.at = corps, time.Now()
	s.sums.mu.Unlock()
	return corps, nil
}

// Sum counts the waiting chats of all corps, and removes from the lists what has closed. One
// gateway at a time does it; twice is harmless.
func (s *Store) Sum(ctx context.Context) error {
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
	return nil
}

func (s *Store) sumChunk(ctx context.Context, corps []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*s.Timeout)
	defer cancel()
	tells, err := s.readTold(ctx, corps)
	if err != nil {
		return err
	}
	p := s.rdb.Pipeline()
	closed := "(" + strconv.FormatInt(s.Now().Add(-s.Length).UnixMilli()+1, 10)
	for _, corp := range corps {
		p.ZRemRangeByScore(ctx, s.waitingKey(corp), "-inf", closed)
		p.ZRemRangeByScore(ctx, s.recentKey(corp), "-inf", closed)
		if stale := tells[corp].stale; len(stale) > 0 {
			p.HDel(ctx, s.channelsKey(corp), stale...)
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("window: sums: %w", err)
	}
	counted, err := s.count(ctx, corps, tells, nil)
	if err != nil {
		return err
	}
	p = s.rdb.Pipeline()
	for _, corp := range corps {
		u := counted[corp]
		if u.Untold = !tells[corp].everything(); u.All > 0 || u.Untold {
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
func (s *Store) count(ctx context.Context, corps []string, tells map[string]*told, channel *string) (map[string]Sum, error) {
	sums := make(map[string]Sum, len(corps))
	var whole, apart []string
	for _, corp := range corps {
		if channel == nil && tells[corp].whole() {
			whole = append(whole, corp)
		} else {
			apart = append(apart, corp)
		}
	}
	if err := s.countWhole(ctx, whole, tells, sums); err != nil {
		return nil, err
	}
	for _, corp := range apart {
		u, err := s.countApart(ctx, corp, tells[corp], channel)
		if err != nil {
			return nil, err
		}
		sums[corp] = u
	}
	return sums, nil
}

// countWhole counts chats by their scores alone.
func (s *Store) countWhole(ctx context.Context, corps []string, tells map[string]*told, sums map[string]Sum) error {
	if len(corps) == 0 {
		return nil
	}
	now := s.Now()
	p := s.rdb.Pipeline()
	all, first := make([]*redis.IntCmd, len(corps)), make([]*redis.ZSliceCmd, len(corps))
	from := make([]int64, len(corps))
	for i, corp := range corps {
		from[i] = max(tells[corp].all.at, now.Add(-s.Length).UnixMilli()+1)
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
func (s *Store) countApart(ctx context.Context, corp string, t *told, channel *string) (u Sum, err error) {
	now := s.Now()
	from := max(t.all.at, now.Add(-s.Length).UnixMilli()+1)
	for offset := 0; offset < maxCounts; offset += 2000 {
		some, err := s.rdb.ZRangeByScoreWithScores(ctx, s.waitingKey(corp), &redis.ZRangeBy{
			Min: strconv.FormatInt(from, 10), Max: "+inf", Offset: int64(offset), Count: 2000,
		}).Result()
		if err != nil {
			return u, fmt.Errorf("window: count: %w", err)
		}
		for _, z := range some {
			k, ok := parseMember(corp, z.Member.(string))
			last := int64(z.Score)
			if !ok || !t.tells(k, last) || channel != nil && k.Channel != *channel {
				continue
			}
			one := Sum{All: 1, First: last}
			if h := s.hourOf(last, now); h < len(one.Hours) {
				one.Hours[h] = 1
			}
			u.add(one)
		}
		if len(some) < 2000 {
			break
		}
	}
	return u, nil
}

// corpsOf returns the corps that have lists, in order.
func corpsOf(sums map[string]Sum) []string { return slices.Sorted(maps.Keys(sums)) }
