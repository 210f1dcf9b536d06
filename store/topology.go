package store

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// ping asks every master: a Cluster without one of them is not whole.
func (s *Client) ping(ctx context.Context) error {
	return s.eachPrimary(ctx, func(ctx context.Context, c redis.Cmdable) error { return c.Ping(ctx).Err() })
}

func (s *Client) eachPrimary(ctx context.Context, ask func(context.Context, redis.Cmdable) error) error {
	if c, ok := s.UniversalClient.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return ask(ctx, c) })
	}
	return ask(ctx, s.UniversalClient)
}

// primary is one of them: a Cluster would send what has no key to any node, also to one that is dead
// and has no slots.
func (s *Client) primary(ctx context.Context) (redis.Cmdable, error) {
	c, ok := s.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return s.UniversalClient, nil
	}
	master, err := c.MasterForKey(ctx, s.Prefix)
	if err != nil {
		return nil, err
	}
	return master, nil
}

// checkPrimaries notices that one serves that was not known at the last look.
func (s *Client) checkPrimaries(ctx context.Context) {
	now := s.runIDs(ctx)
	if now == nil {
		return
	}
	before := s.knownRunIDs.Swap(&now)
	if before != nil && slices.ContainsFunc(now, func(id string) bool { return !slices.Contains(*before, id) }) {
		s.onPrimaryChange()
	}
}

// greet notices on a new connection that it leads to a master that is not known, before any answer
// comes through it: one that was restarted in a moment is met without a single command that fails.
func (s *Client) onConnect(ctx context.Context, c *redis.Conn) error {
	known := s.knownRunIDs.Load()
	if known == nil {
		return nil
	}
	info, err := c.Info(ctx, "server", "replication").Result()
	if err != nil {
		return nil // it may be forbidden; an outage shows with the next command
	}
	if id := infoField(info, "run_id"); infoField(info, "role") == "master" && !slices.Contains(*known, id) {
		more := append(slices.Clone(*known), id)
		s.knownRunIDs.CompareAndSwap(known, &more)
		s.onPrimaryChange()
	}
	return nil
}

func (s *Client) onPrimaryChange() {
	s.log.Info("redis has another master than before, or was restarted: what would be refused is unsure for a moment")
	s.signalRecovered()
}

// infoField is a field of an answer to INFO, "" if it has none.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// runIDs are the run ids of the processes that serve as masters, nil if Redis does not say. A
// proxy over shards says that of any.
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
