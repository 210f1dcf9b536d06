package window

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// Redis may come back without what it acknowledged: from an older snapshot, empty, or as a replica
// that lagged. What is missing then looks like a customer who never wrote. So each gateway leaves a
// word in Redis twice a second, the time, and looks for its last one: an older one tells how far
// back Redis has gone. If it is no more than what every gateway remembers of what it recorded, they
// record that again; otherwise records are incomplete.
const (
	checkpointEvery = 500 * time.Millisecond
	checkpointKept  = 72 * time.Hour
)

// checkpoints is the last word in each of its keys. In a Cluster, or behind a proxy, a node can go back
// by itself, so there is a key for every 256 slots.
type checkpoints struct {
	keys      []string
	confirmed []int64 // unix ms; 0: nothing yet
}

func newCheckpoints(prefix, gateway string, nodes bool) checkpoints {
	w := checkpoints{keys: []string{prefix + "witness:" + gateway}}
	if nodes {
		w.keys = nil
		for tag := range store.PartitionTags {
			w.keys = append(w.keys, prefix+"witness:"+gateway+":{"+store.PartitionTags[tag]+"}")
		}
	}
	w.confirmed = make([]int64, len(w.keys))
	return w
}

// exchange leaves a word in Redis. back tells that Redis had an older word than the last one, and to is
// the oldest of those, zero if one is gone. A Redis that is away tells nothing.
func (w *checkpoints) exchange(ctx context.Context, rdb redis.UniversalClient, now time.Time) (to, last time.Time, back bool) {
	words := runEach(ctx, rdb, raiseScript, w.keys, now.UnixMilli(), checkpointKept.Milliseconds())
	oldest, latest := now.UnixMilli(), int64(0)
	for i, cmd := range words {
		text, err := cmd.Text()
		if err != nil && !errors.Is(err, redis.Nil) {
			continue
		}
		word, _ := strconv.ParseInt(text, 10, 64) // what is no word is none
		if word < w.confirmed[i] {
			back, oldest, latest = true, min(oldest, word), max(latest, w.confirmed[i])
		}
		w.confirmed[i] = now.UnixMilli()
	}
	if oldest > 0 {
		to = time.UnixMilli(oldest)
	}
	return to, time.UnixMilli(latest), back
}

// detectRollback tells whether what was recorded lately has to be recorded again, since Redis has gone
// back.
func (s *Store) detectRollback(ctx context.Context) (rewrite bool) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	_, cluster := s.rdb.(*redis.ClusterClient)
	if nodes := cluster || !s.multiKey(); s.checkpoints.keys == nil || nodes && len(s.checkpoints.keys) == 1 { // a Redis that was away shows late what it is
		s.checkpoints = newCheckpoints(s.Prefix, s.gateway, nodes)
	}
	to, last, back := s.checkpoints.exchange(ctx, s.rdb, s.Now())
	if !back {
		return false
	}
	wentTo := zap.Time("rolled_back_to", to)
	if to.IsZero() {
		wentTo = zap.String("rolled_back_to", "nothing")
	}
	if last.Sub(to) < keepRecent && s.recent.covers(to) {
		s.Log.Warn("redis has come back without what it acknowledged last: it is written again", wentTo)
		return true
	}
	s.Log.Error("redis has come back without what it acknowledged: records are incomplete from now on. Let it write every change to the disk (appendonly yes)", wentTo)
	if err := s.RecordGap(ctx); err != nil { // the others see for themselves
		s.Log.Warn("the gap is noted in this gateway alone: redis did not take it", zap.Error(err))
	}
	return true
}
