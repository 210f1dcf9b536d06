package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// The walk over all windows restores what the lists lack. It is slow, so that Redis does not notice
// it: two million windows in seven minutes.
const (
	walkCount = 500
	walkPause = 100 * time.Millisecond
)

// walkKey is the key of the time at which a gateway last asked for a walk.
func (s *Store) walkKey() string { return s.Prefix + "waiting-walk" }

// RequestWalk asks the leader to walk the windows: after a start, which may have lost the changes
// of an earlier process, and after Redis has lost something.
func (s *Store) RequestWalk() {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	s.index.lost = true
	signal(s.index.wake)
}

// runWalk walks the windows at once, and whenever a gateway asks for it, until ctx ends.
func (s *Store) runWalk(ctx context.Context) {
	done := "never"
	s.every(ctx, sumEvery, func() {
		asked, err := s.rdb.Get(ctx, s.walkKey()).Result()
		if err != nil && !errors.Is(err, redis.Nil) || asked == done {
			return
		}
		if err := s.Walk(ctx, walkPause); err != nil {
			if ctx.Err() == nil {
				s.Log.Warn("the list of waiting chats cannot be completed yet", zap.Error(err))
			}
			return
		}
		done = asked
		s.sum(ctx)
	})
}

// Walk looks at all windows, adds to the lists what they lack, and removes what does not wait.
func (s *Store) Walk(ctx context.Context, pause time.Duration) error {
	nodes, err := s.primaries(ctx)
	if err != nil {
		return fmt.Errorf("window: walk: %w", err)
	}
	for _, node := range nodes {
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			if !first {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(pause):
				}
			}
			entries, next, err := s.scanStep(ctx, node, "", cursor)
			if err == nil {
				err = s.relist(ctx, entries)
			}
			if err == nil {
				err = s.unlist(ctx, answered(entries))
			}
			if err != nil {
				return fmt.Errorf("window: walk: %w", err)
			}
			cursor = next
		}
	}
	return nil
}

// answered returns the windows whose customers do not wait.
func answered(entries []Entry) (chats []Key) {
	for _, e := range entries {
		if !e.Broken && !e.waits(false) {
			chats = append(chats, e.Key)
		}
	}
	return chats
}

// primaries returns the clients of all primaries, in the order of their addresses.
func (s *Store) primaries(ctx context.Context) ([]*redis.Client, error) {
	switch c := s.rdb.(type) {
	case *redis.Client:
		return []*redis.Client{c}, nil
	case *redis.ClusterClient:
		all := make(chan *redis.Client, 1000)
		err := c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			all <- node
			return nil
		})
		close(all)
		var nodes []*redis.Client
		for node := range all {
			nodes = append(nodes, node)
		}
		slices.SortFunc(nodes, func(a, b *redis.Client) int {
			if a.Options().Addr < b.Options().Addr {
				return -1
			}
			return 1
		})
		return nodes, err
	}
	return nil, fmt.Errorf("cannot scan a %T", s.rdb)
}

// scanStep makes one step of a scan, and reads the windows it finds.
func (s *Store) scanStep(ctx context.Context, node *redis.Client, corp string, cursor uint64) (entries []Entry, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*s.Timeout)
	defer cancel()
	pattern := s.Prefix + "window:{*"
	if corp != "" {
		pattern = s.Prefix + "window:{" + string(appendEncoded(nil, corp)) + ":*"
	}
	names, next, err := node.Scan(ctx, cursor, pattern, walkCount).Result()
	if err != nil {
		return nil, 0, err
	}
	var keys []Key
	for _, name := range names {
		if k, ok := parseKey(s.Prefix, name); ok {
			keys = append(keys, k)
		}
	}
	all, err := s.readWindows(ctx, keys)
	if err != nil {
		return nil, 0, err
	}
	return slices.DeleteFunc(all, func(e Entry) bool { return !e.Broken && e.Window.Last == 0 }), next, nil
}

// relist adds windows to the lists that they belong to.
func (s *Store) relist(ctx context.Context, entries []Entry) error {
	p := s.rdb.Pipeline()
	for _, e := range entries {
		if e.Broken || e.State == Closed {
			continue
		}
		z := redis.Z{Score: float64(e.Window.Last), Member: e.Key.member()}
		if e.waits(false) {
			p.ZAddGT(ctx, s.waitingKey(e.Key.Corp), z)
			p.SAdd(ctx, s.Prefix+waitingCorps, e.Key.Corp)
		}
		if s.IndexAll {
			p.ZAddGT(ctx, s.recentKey(e.Key.Corp), z)
			p.SAdd(ctx, s.Prefix+waitingCorps, e.Key.Corp)
		}
	}
	if p.Len() == 0 {
		return nil
	}
	_, err := p.Exec(ctx)
	return err
}
