package window

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// asked is what Redis says about one reply.
type asked struct {
	Answer
	err error
}

// asker asks Redis about a reply to the window of a key.
type asker interface {
	Do(ctx context.Context, key string) (asked, error)
}

// newAsker returns the one that fits: replies of the same moment ask a single Redis together, and
// each node of a Cluster.
func (s *Store) newAsker() asker {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	switch {
	case s.Together == nil:
		return alone(s.askAll)
	case ok:
		return &nodes{cluster: cluster, ask: s.askNode}
	}
	return store.NewBatch(s.askAll)
}

// alone asks about each reply by itself.
type alone func(ctx context.Context, keys []string) ([]asked, error)

func (ask alone) Do(ctx context.Context, key string) (asked, error) {
	a, err := ask(ctx, []string{key})
	if err != nil {
		return asked{}, err
	}
	return a[0], nil
}

// nodes puts questions together that are for the same node of a Cluster. Those for others do not
// wait for them.
type nodes struct {
	cluster *redis.ClusterClient
	ask     func(ctx context.Context, node *redis.Client, keys []string) ([]asked, error)
	batches sync.Map // of *store.Batch[string, asked], by the node's address
}

func (n *nodes) Do(ctx context.Context, key string) (asked, error) {
	node, err := n.cluster.MasterForKey(ctx, key)
	if err != nil {
		return asked{}, fmt.Errorf("window: the node of a key: %w", err)
	}
	return n.batch(node.Options().Addr).Do(ctx, key)
}

// batch is that of a node. It finds the node anew each time: one that went away and came back has
// another client.
func (n *nodes) batch(addr string) *store.Batch[string, asked] {
	b, found := n.batches.Load(addr)
	if !found {
		b, _ = n.batches.LoadOrStore(addr, store.NewBatch(func(ctx context.Context, keys []string) ([]asked, error) {
			node, err := n.cluster.MasterForKey(ctx, keys[0])
			if err != nil {
				return nil, fmt.Errorf("window: the node of a key: %w", err)
			}
			return n.ask(ctx, node, keys)
		}))
	}
	return b.(*store.Batch[string, asked])
}

// askAll asks about a reply to each window, all in one round trip. Where replies are not counted it
// only looks.
func (s *Store) askAll(ctx context.Context, keys []string) ([]asked, error) {
	now := s.Now().UnixMilli()
	switch {
	case s.Replies == 0:
		return s.look(ctx, keys, now), nil
	case len(keys) > 1 && !s.together():
		return s.askEach(ctx, s.rdb, "", keys)
	}
	answers, err := readReserved(reserveScript.Run(ctx, s.rdb, keys, s.reserving(now, s.awaited(ctx, ""))...), keys...)
	if len(keys) > 1 && ofSeveralSlots(err) { // it has become a proxy over shards, and did nothing
		return s.askEach(ctx, s.rdb, "", keys)
	}
	return answers, err
}

// askNode is askAll for keys of one node of a Cluster. It is sent to the node itself, which sends
// nothing again that broke off and may have been counted.
func (s *Store) askNode(ctx context.Context, node *redis.Client, keys []string) ([]asked, error) {
	if s.Replies == 0 {
		return s.look(ctx, keys, s.Now().UnixMilli()), nil
	}
	return s.askEach(ctx, node, node.Options().Addr, keys)
}

// together tells whether a script may have several keys.
func (s *Store) together() bool { return s.Together == nil || s.Together() }

// askEach is askAll where no script may have keys of two slots: a pipeline of scripts. What c
// certainly did not do is asked once more, in a Cluster of whichever node it is.
func (s *Store) askEach(ctx context.Context, c redis.Cmdable, node string, keys []string) ([]asked, error) {
	now := s.Now().UnixMilli()
	cmds := runEach(ctx, c, reserveScript, keys, s.reserving(now, s.awaited(ctx, node))...)
	answers := make([]asked, len(keys))
	for i, key := range keys {
		if elsewhere(cmds[i].Err()) {
			cmds[i] = reserveScript.Run(ctx, s.rdb, []string{key}, s.reserving(now, 0)...) // another node has another clock
		}
		if one, err := readReserved(cmds[i], key); err != nil {
			answers[i].err = err
		} else {
			answers[i] = one[0]
		}
	}
	return answers, nil
}

// ofSeveralSlots tells whether a script was refused for its keys: by a node of a Cluster, or by a
// proxy in words of its own.
func ofSeveralSlots(err error) bool {
	var refusal redis.Error
	return errors.As(err, &refusal) && strings.Contains(strings.ToLower(refusal.Error()), "slot")
}

// elsewhere tells whether a node did nothing because it is not, or no longer, the key's.
func elsewhere(err error) bool {
	for _, word := range []string{"MOVED", "ASK", "READONLY"} {
		if redis.HasErrorPrefix(err, word) {
			return true
		}
	}
	return errors.Is(err, redis.ErrClosed)
}

// reserving is what reserve.lua asks for: it counts nothing behind until, by Redis's own clock.
func (s *Store) reserving(now, until int64) []any {
	return []any{now, s.Length.Milliseconds(), s.Replies, until}
}

// awaited is until when ctx lets somebody wait for an answer of a node, as awaited.lua asks for it.
func (s *Store) awaited(ctx context.Context, node string) int64 {
	until, ends := ctx.Deadline()
	if !ends || s.ByRedis == nil {
		return 0
	}
	return s.ByRedis(node, until)
}

// readReserved reads what that script says of windows: the state, last, stamp and left of each.
func readReserved(cmd *redis.Cmd, keys ...string) ([]asked, error) {
	r, err := cmd.Int64Slice()
	switch {
	case err != nil:
		return nil, fmt.Errorf("window: reserve: %w", err)
	case len(r) != 4*len(keys):
		return nil, fmt.Errorf("window: reserve: an odd answer: %v", r)
	}
	answers := make([]asked, len(keys))
	for i := range answers {
		state, last, stamp, left := r[4*i], r[4*i+1], r[4*i+2], r[4*i+3]
		if state == -2 {
			answers[i].err = noWindow(keys[i])
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
