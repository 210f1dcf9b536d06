package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// reading is the time of a Redis, and our time when it was read.
type reading struct{ redis, local time.Time }

// staleClock is the age from which a reading does not count.
const staleClock = 5 * time.Minute

// RedisTime converts t to Redis's own clock, unix ms. The result may be a few milliseconds early,
// by half the round trip of the reading. node is the address of a Cluster's node, else "". It is 0
// if that clock was not read within staleClock.
func (s *Client) RedisTime(node string, t time.Time) int64 {
	read, found := s.clocks.Load(node)
	if !found {
		return 0
	}
	r := read.(reading)
	if time.Since(r.local) > staleClock {
		return 0
	}
	return r.redis.Add(t.Sub(r.local)).UnixMilli()
}

// readClocks reads the clocks of all primaries. ahead is the largest difference to ours, negative
// if that clock is behind ours.
func (s *Client) readClocks(ctx context.Context) (ahead time.Duration, err error) {
	var mu sync.Mutex
	err = s.eachPrimary(ctx, func(ctx context.Context, c redis.UniversalClient) error {
		before := s.now()
		redisNow, err := c.Time(ctx).Result()
		if err != nil {
			return err
		}
		skew := redisNow.Sub(before.Add(s.now().Sub(before) / 2))
		s.clocks.Store(s.nodeName(c), reading{redisNow, time.Now()})
		mu.Lock()
		defer mu.Unlock()
		if skew.Abs() > ahead.Abs() {
			ahead = skew
		}
		return nil
	})
	return ahead, err
}

// nodeName returns the address of a Cluster's node, "" for any other Redis.
func (s *Client) nodeName(c redis.Cmdable) string {
	node, ok := c.(*redis.Client)
	if _, cluster := s.UniversalClient.(*redis.ClusterClient); !ok || !cluster {
		return ""
	}
	return node.Options().Addr
}
