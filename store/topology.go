package store

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// ping sends PING to every primary: a Cluster without one of them is incomplete.
func (s *Client) ping(ctx context.Context) error {
	return s.eachPrimary(ctx, func(ctx context.Context, c redis.Cmdable) error { return c.Ping(ctx).Err() })
}

// eachPrimary calls do for every primary, in a Cluster concurrently.
func (s *Client) eachPrimary(ctx context.Context, do func(context.Context, redis.Cmdable) error) error {
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

// checkPrimaries detects a primary that was unknown at the last check.
func (s *Client) checkPrimaries(ctx context.Context) {
	current := s.runIDs(ctx)
	if current == nil {
		return
	}
	before := s.knownRunIDs.Swap(&current)
	if before != nil && slices.ContainsFunc(current, func(id string) bool { return !slices.Contains(*before, id) }) {
		s.onPrimaryChange()
	}
}

// onConnect detects that a new connection leads to an unknown primary, before any reply is read
// from it: a Redis that restarts quickly may not fail a single command.
func (s *Client) onConnect(ctx context.Context, c *redis.Conn) error {
	known := s.knownRunIDs.Load()
	if known == nil {
		return nil
	}
	info, err := c.Info(ctx, "server", "replication").Result()
	if err != nil {
		return nil // INFO may be forbidden; an outage shows with the next command
	}
	if id := infoField(info, "run_id"); infoField(info, "role") == "master" && !slices.Contains(*known, id) {
		more := append(slices.Clone(*known), id)
		s.knownRunIDs.CompareAndSwap(known, &more)
		s.onPrimaryChange()
	}
	return nil
}

// onPrimaryChange handles a primary that may lack recent writes.
func (s *Client) onPrimaryChange() {
	s.log.Info("redis has another master than before, or was restarted: what would be refused is unsure for a moment")
	s.signalRecovered()
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

// runIDs returns the run ids of all primaries, nil if they are unknown. A sharding proxy returns
// the one of any shard, so there they are unknown too.
func (s *Client) runIDs(ctx context.Context) (ids []string) {
	if s.Embedded != nil || !s.MultiKey() {
		return nil
	}
	var mu sync.Mutex
	err := s.eachPrimary(ctx, func(ctx context.Context, c redis.Cmdable) error {
		info, err := c.Info(ctx, "server").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, infoField(info, "run_id"))
		return nil
	})
	if err != nil {
		return nil
	}
	return ids
}
