package window

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// lastExchange is what Redis says about one reply.
type result struct {
	Answer
	err error
}

// reserver asks Redis about a reply to the window of a key.
type reserver interface {
	Do(ctx context.Context, key string) (result, error)
}

// newReserver returns the one that fits: replies of the same moment ask a single Redis together, and
// each node of a Cluster.
func (s *Store) newReserver() reserver {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if ok {
		return &nodeCoalescers{cluster: cluster, reserve: s.reserveNode}
	}
	return store.NewCoalescer(s.reserveAll)
}

// unbatched asks about each reply by itself.
type unbatched func(ctx context.Context, keys []string) ([]result, error)

func (ask unbatched) Do(ctx context.Context, key string) (result, error) {
	a, err := ask(ctx, []string{key})
	if err != nil {
		return result{}, err
	}
	return a[0], nil
}

// nodeCoalescers puts questions together that are for the same node of a Cluster. Those for others do not
// wait for them.
type nodeCoalescers struct {
	cluster    *redis.ClusterClient
	reserve    func(ctx context.Context, node *redis.Client, keys []string) ([]result, error)
	coalescers sync.Map // of *store.Batch[string, asked], by the node's address
}

func (n *nodeCoalescers) Do(ctx context.Context, key string) (result, error) {
	node, err := n.cluster.MasterForKey(ctx, key)
	if err != nil {
		return result{}, fmt.Errorf("window: the node of a key: %w", err)
	}
	return n.coalescer(node.Options().Addr).Do(ctx, key)
}

// coalescer is that of a node. It finds the node anew each time: one that went away and came back has
// another client.
func (n *nodeCoalescers) coalescer(addr string) *store.Coalescer[string, result] {
	b, found := n.coalescers.Load(addr)
	if !found {
		b, _ = n.coalescers.LoadOrStore(addr, store.NewCoalescer(func(ctx context.Context, keys []string) ([]result, error) {
			node, err := n.cluster.MasterForKey(ctx, keys[0])
			if err != nil {
				return nil, fmt.Errorf("window: the node of a key: %w", err)
			}
			return n.reserve(ctx, node, keys)
		}))
	}
	return b.(*store.Coalescer[string, result])
}

// reserveAll asks about a reply to each window, all in one round trip. Where replies are not counted it
// only looks.
func (s *Store) reserveAll(ctx context.Context, keys []string) ([]result, error) {
	now := s.Now().UnixMilli()
	switch {
	case s.Replies == 0:
		return s.readAll(ctx, keys, now), nil
	case len(keys) > 1 && !s.multiKey():
		return s.pipelineEach(ctx, s.rdb, "", keys)
	}
	answers, err := readReserved(reserveScript.Run(ctx, s.rdb, keys, s.reserveArgs(now, s.scriptDeadline(ctx, ""))...), keys...)
	if len(keys) > 1 && store.Classify(err).Has(store.CrossSlot) { // it has become a proxy over shards, and did nothing
		return s.pipelineEach(ctx, s.rdb, "", keys)
	}
	return answers, err
}

// reserveNode is reserveAll for keys of one node of a Cluster. It is sent to the node itself, which sends
// nothing again that broke off and may have been counted.
func (s *Store) reserveNode(ctx context.Context, node *redis.Client, keys []string) ([]result, error) {
	if s.Replies == 0 {
		return s.readAll(ctx, keys, s.Now().UnixMilli()), nil
	}
	return s.pipelineEach(ctx, node, node.Options().Addr, keys)
}

// pipelineEach is reserveAll where no script may have keys of two slots: a pipeline of scripts. What c
// certainly did not do is asked once more, in a Cluster of whichever node it is.
func (s *Store) pipelineEach(ctx context.Context, c redis.Cmdable, node string, keys []string) ([]result, error) {
	now := s.Now().UnixMilli()
	cmds := runEach(ctx, c, reserveScript, keys, s.reserveArgs(now, s.scriptDeadline(ctx, node))...)
	answers := make([]result, len(keys))
	for i, key := range keys {
		if store.Classify(cmds[i].Err()).Has(store.Redirect) {
			cmds[i] = reserveScript.Run(ctx, s.rdb, []string{key}, s.reserveArgs(now, 0)...) // another node has another clock
		}
		if one, err := readReserved(cmds[i], key); err != nil {
			answers[i].err = err
		} else {
			answers[i] = one[0]
		}
	}
	return answers, nil
}

// reserveArgs is what reserve.lua asks for: it counts nothing behind until, by Redis's own clock.
func (s *Store) reserveArgs(now, until int64) []any {
	return []any{now, s.Length.Milliseconds(), s.Replies, until}
}

// scriptDeadline is until when ctx lets somebody wait for an answer of a node, as deadline_guard.lua asks for it.
func (s *Store) scriptDeadline(ctx context.Context, node string) int64 {
	until, ends := ctx.Deadline()
	if !ends {
		return 0
	}
	return s.health.RedisTime(node, until)
}

// readReserved reads what that script says of windows: the state, last, stamp and left of each.
func readReserved(cmd *redis.Cmd, keys ...string) ([]result, error) {
	r, err := cmd.Int64Slice()
	switch {
	case err != nil:
		return nil, fmt.Errorf("window: reserve: %w", err)
	case len(r) != 4*len(keys):
		return nil, fmt.Errorf("window: reserve: an odd answer: %v", r)
	}
	answers := make([]result, len(keys))
	for i := range answers {
		state, last, stamp, left := r[4*i], r[4*i+1], r[4*i+2], r[4*i+3]
		if state == -2 {
			answers[i].err = errNotAWindow(keys[i])
			continue
		}
		a := &answers[i].Answer
		a.State, a.Left, a.stamp = State(max(state, 0)), int(left), stamp
		if last > 0 {
			a.Last = time.UnixMilli(last)
		}
	}
	return answers, nil
}
