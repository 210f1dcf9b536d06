package window

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// result is the answer of Redis about one reply, or its error.
type result struct {
	Answer
	err error
}

// reserver reserves a reply in the window at a key.
type reserver interface {
	Do(ctx context.Context, key string) (result, error)
}

// newReserver returns a reserver that coalesces requests: for a single Redis all of them, in a
// Cluster those for the same node.
func (s *Store) newReserver() reserver {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if ok {
		return &nodeCoalescers{cluster: cluster, reserve: s.reserveNode}
	}
	return store.NewCoalescer(s.reserveAll)
}

// unbatched sends each request by itself.
type unbatched func(ctx context.Context, keys []string) ([]result, error)

func (ask unbatched) Do(ctx context.Context, key string) (result, error) {
	a, err := ask(ctx, []string{key})
	if err != nil {
		return result{}, err
	}
	return a[0], nil
}

// nodeCoalescers has a coalescer for each node of a Cluster, so that requests do not wait for other
// nodes.
type nodeCoalescers struct {
	cluster    *redis.ClusterClient
	reserve    func(ctx context.Context, node *redis.Client, keys []string) ([]result, error)
	coalescers sync.Map // *store.Coalescer[string, result] by the node's address
}

func (n *nodeCoalescers) Do(ctx context.Context, key string) (result, error) {
	node, err := n.cluster.MasterForKey(ctx, key)
	if err != nil {
		return result{}, fmt.Errorf("window: the node of a key: %w", err)
	}
	return n.coalescer(node.Options().Addr).Do(ctx, key)
}

// coalescer returns the coalescer of a node. It looks up the node's client for every batch, since a
// node that went away and came back has a new one.
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

// reserveAll reserves a reply in each window, in one round trip. If replies are not counted, it
// only reads the windows.
func (s *Store) reserveAll(ctx context.Context, keys []string) ([]result, error) {
	now := s.Now().UnixMilli()
	switch {
	case s.Replies == 0:
		return s.readAll(ctx, keys, now), nil
	case len(keys) > 1 && !s.multiKey():
		return s.pipelineEach(ctx, s.rdb, "", keys)
	}
	answers, err := readReserved(reserveScript.Run(ctx, s.rdb, keys, s.reserveArgs(now, s.scriptDeadline(ctx, ""))...), keys...)
	if len(keys) > 1 && store.Classify(err).Has(store.CrossSlot) { // a sharding proxy has taken its place, and did nothing
		s.oneKeyOnly.Store(true)
		return s.pipelineEach(ctx, s.rdb, "", keys)
	}
	return answers, err
}

// reserveNode is reserveAll for keys of one node of a Cluster. It uses the node's own client, which
// never repeats a command that may have been counted.
func (s *Store) reserveNode(ctx context.Context, node *redis.Client, keys []string) ([]result, error) {
	if s.Replies == 0 {
		return s.readAll(ctx, keys, s.Now().UnixMilli()), nil
	}
	return s.pipelineEach(ctx, node, node.Options().Addr, keys)
}

// pipelineEach is reserveAll with a script per key, for where a script may not have keys of two
// slots. A request that the node redirected, and so did not count, is sent once more to the node
// that has the key now.
func (s *Store) pipelineEach(ctx context.Context, c redis.Cmdable, node string, keys []string) ([]result, error) {
	now := s.Now().UnixMilli()
	cmds := runEach(ctx, c, reserveScript, keys, s.reserveArgs(now, s.scriptDeadline(ctx, node))...)
	answers := make([]result, len(keys))
	for i, key := range keys {
		if store.Classify(cmds[i].Err()).Has(store.Redirect) {
			cmds[i] = reserveScript.Run(ctx, s.rdb, []string{key}, s.reserveArgs(now, neverLate)...) // another node has another clock
		}
		if one, err := readReserved(cmds[i], key); err != nil {
			answers[i].err = err
		} else {
			answers[i] = one[0]
		}
	}
	return answers, nil
}

// reserveArgs are the arguments of reserve.lua. deadline is unix ms by Redis's own clock, 0 for
// none.
func (s *Store) reserveArgs(now, deadline int64) []any {
	return []any{now, s.Length.Milliseconds(), s.Replies, deadline}
}

// neverLate is a deadline that never passes. deadline_guard.lua reads Redis's clock for it.
const neverLate = 1 << 53

// scriptDeadline returns the deadline of ctx for deadline_guard.lua, by the clock of a node.
func (s *Store) scriptDeadline(ctx context.Context, node string) int64 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return s.health.RedisTime(node, deadline)
}

// readReserved parses the reply of reserve.lua: state, last, stamp and left of each window.
func readReserved(cmd *redis.Cmd, keys ...string) ([]result, error) {
	r, err := cmd.Int64Slice()
	switch {
	case err != nil:
		return nil, fmt.Errorf("window: reserve: %w", err)
	case len(r) != 4*len(keys):
		return nil, fmt.Errorf("window: reserve: an unexpected reply: %v", r)
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
