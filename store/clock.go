package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// reading is what a Redis's clock showed, and when it was read by ours.
type reading struct{ theirs, ours time.Time }

// staleClock is how old a reading may be.
const staleClock = 5 * time.Minute

// RedisTime is a time by Redis's own clock, unix ms; rather a few milliseconds early. node is the
// address of a Cluster's node, else "". It is 0 if that clock was not read lately.
func (s *Client) RedisTime(node string, t time.Time) int64 {
	read, found := s.clocks.Load(node)
	if !found {
		return 0
	}
	r := read.(reading)
	if time.Since(r.ours) > staleClock {
		return 0
	}
	return r.theirs.Add(t.Sub(r.ours)).UnixMilli()
}

// readClocks reads the clocks of all masters, and returns by how much the one that differs most is
// ahead.
func (s *Client) readClocks(ctx context.Context) (ahead time.Duration, err error) {
	var mu sync.Mutex
	err = s.eachPrimary(ctx, func(ctx context.Context, c redis.Cmdable) error {
		before := s.now()
		theirs, err := c.Time(ctx).Result()
		if err != nil {
			return err
		}
		skew := theirs.Sub(before.Add(s.now().Sub(before) / 2))
		s.clocks.Store(s.nodeName(c), reading{theirs, time.Now()})
		mu.Lock()
		defer mu.Unlock()
		if skew.Abs() > ahead.Abs() {
			ahead = skew
		}
		return nil
	})
	return ahead, err
}

// nodeName is the address of a Cluster's node, "" elsewhere.
func (s *Client) nodeName(c redis.Cmdable) string {
	node, ok := c.(*redis.Client)
	if _, cluster := s.UniversalClient.(*redis.ClusterClient); !ok || !cluster {
		return ""
	}
	return node.Options().Addr
}
