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

// Redis may lose acknowledged writes: it comes back from an older snapshot, empty, or as a replica
// that lagged. The lost messages then look like customers who never wrote. So each gateway stores a
// checkpoint in Redis twice a second, the time, and compares it with the one before. An older
// checkpoint tells how far Redis rolled back. If every gateway still has its writes since then,
// they write them again; otherwise history is incomplete from now on.
const (
	checkpointEvery = 500 * time.Millisecond
	checkpointKept  = 72 * time.Hour
)

// checkpoints are the keys of a gateway's checkpoints and their last confirmed values. A single
// Redis has one key. In a Cluster, or after a sharding proxy, one node can roll back alone, so each
// of the 64 partitions has a key.
type checkpoints struct {
	keys      []string
	confirmed []int64 // unix ms; 0: none yet
}

func newCheckpoints(prefix, gateway string, partitioned bool) checkpoints {
	c := checkpoints{keys: []string{prefix + "witness:" + gateway}}
	if partitioned {
		c.keys = nil
		for _, tag := range store.PartitionTags {
			c.keys = append(c.keys, prefix+"witness:"+gateway+":{"+tag+"}")
		}
	}
	c.confirmed = make([]int64, len(c.keys))
	return c
}

// exchange writes now to every checkpoint and reads what was there. rolledBack reports that some
// were older than confirmed; to is the oldest of those, zero if one is missing, and last the newest
// confirmed value among them. Keys that Redis does not answer for are skipped.
func (c *checkpoints) exchange(ctx context.Context, rdb redis.UniversalClient, now time.Time) (to, last time.Time, rolledBack bool) {
	replies := runEach(ctx, rdb, raiseScript, c.keys, now.UnixMilli(), checkpointKept.Milliseconds())
	oldest, newest := now.UnixMilli(), int64(0)
	for i, reply := range replies {
		text, err := reply.Text()
		if err != nil && !errors.Is(err, redis.Nil) {
			continue
		}
		found, _ := strconv.ParseInt(text, 10, 64) // a value that is no time counts as missing
		if found < c.confirmed[i] {
			rolledBack, oldest, newest = true, min(oldest, found), max(newest, c.confirmed[i])
		}
		c.confirmed[i] = now.UnixMilli()
	}
	if oldest > 0 {
		to = time.UnixMilli(oldest)
	}
	return to, time.UnixMilli(newest), rolledBack
}

// detectRollback reports whether Redis lost recent writes, so that they must be written again. If
// this process no longer has all of them, it also records a gap.
func (s *Store) detectRollback(ctx context.Context) (rewrite bool) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	_, cluster := s.rdb.(*redis.ClusterClient)
	// Whether Redis is a sharding proxy is known only once it has answered.
	if partitioned := cluster || !s.multiKey(); s.checkpoints.keys == nil || partitioned && len(s.checkpoints.keys) == 1 {
		s.checkpoints = newCheckpoints(s.Prefix, s.gateway, partitioned)
	}
	to, last, rolledBack := s.checkpoints.exchange(ctx, s.rdb, s.Now())
	if !rolledBack {
		return false
	}
	rolledBackTo := zap.Time("rolled_back_to", to)
	if to.IsZero() {
		rolledBackTo = zap.String("rolled_back_to", "nothing")
	}
	if last.Sub(to) < keepRecent && s.recent.covers(to) {
		s.Log.Warn("redis has lost its most recent writes: they are written again", rolledBackTo)
		return true
	}
	s.Log.Error("redis has lost acknowledged writes: records are incomplete from now on. Let it write every change to the disk (appendonly yes)", rolledBackTo)
	if err := s.RecordGap(ctx); err != nil { // the other gateways detect it by themselves
		s.Log.Warn("the gap is recorded in this gateway alone, since redis did not take it", zap.Error(err))
	}
	return true
}
