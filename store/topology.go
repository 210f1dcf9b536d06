package store

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ping sends PING to every primary, and returns how long the slowest answer took. It fails without
// one of them: the Cluster is incomplete then.
func (s *Client) ping(ctx context.Context) (slowest time.Duration, err error) {
	var mu sync.Mutex
	err = s.eachPrimary(ctx, func(ctx context.Context, c redis.UniversalClient) error {
		began := time.Now()
		if err := c.Ping(ctx).Err(); err != nil {
			return err
		}
		took := time.Since(began)
		mu.Lock()
		slowest = max(slowest, took)
		mu.Unlock()
		s.warm(ctx, c, took)
		return nil
	})
	return slowest, err
}

// eachPrimary calls do for every primary, in a Cluster concurrently.
func (s *Client) eachPrimary(ctx context.Context, do func(context.Context, redis.UniversalClient) error) error {
	if c, ok := s.UniversalClient.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return do(ctx, c) })
	}
	return do(ctx, s.UniversalClient)
}

// primary returns one primary. The client of a Cluster would send a command without a key to any
// node, also to one that is down.
func (s *Client) primary(ctx context.Context) (redis.Cmdable, error) {
	c, ok := s.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return s.UniversalClient, nil
	}
	node, err := c.MasterForKey(ctx, s.Prefix)
	if err != nil {
		return nil, err
	}
	return node, nil
}

// infoField returns a field of a reply to INFO, "" if there is none.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
