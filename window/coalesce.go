package window

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// reservation asks for one reply in the window at a key. Its caller waits no longer than until.
type reservation struct {
	key   string
	until time.Time
}

// result is the answer of Redis about one reply, or its error.
type result struct {
	Answer
	err error
}

// reserver answers one reservation.
type reserver func(ctx context.Context, r reservation) (result, error)

// newReserver returns a reserver that coalesces requests: for a single Redis all of them, in a
// Cluster those for the same node.
func (s *Store) newReserver() reserver {
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		return (&nodeCoalescers{cluster: cluster, reserve: s.reserveNode}).do
	}
	return store.NewCoalescer(s.reserveAll).Do
}

// reserveOne is a reserver that sends each request by itself.
func (s *Store) reserveOne(ctx context.Context, r reservation) (result, error) {
	a, err := s.reserveAll(ctx, []reservation{r})
	if err != nil {
		return result{}, err
	}
	return a[0], nil
}

// nodeCoalescers has a coalescer for each node of a Cluster, so that requests do not wait for other
// nodes.
type nodeCoalescers struct {
	cluster    *redis.ClusterClient
	reserve    func(ctx context.Context, node *redis.Client, all []reservation) ([]result, error)
	coalescers sync.Map // *store.Coalescer[reservation, result] by the node's address
}

func (n *nodeCoalescers) do(ctx context.Context, r reservation) (result, error) {
	node, err := n.nodeOf(ctx, r)
	if err != nil {
		return result{}, err
	}
	return n.coalescer(node.Options().Addr).Do(ctx, r)
}

func (n *nodeCoalescers) nodeOf(ctx context.Context, r reservation) (*redis.Client, error) {
	node, err := n.cluster.MasterForKey(ctx, r.key)
	if err != nil {
		return nil, fmt.Errorf("window: the node of a key: %w", err)
	}
	return node, nil
}

// coalescer returns the coalescer of a node. It looks up the node's client for every batch, since a
// node that went away and came back has a new one.
func (n *nodeCoalescers) coalescer(addr string) *store.Coalescer[reservation, result] {
	b, found := n.coalescers.Load(addr)
	if !found {
		b, _ = n.coalescers.LoadOrStore(addr, store.NewCoalescer(func(ctx context.Context, all []reservation) ([]result, error) {
			node, err := n.nodeOf(ctx, all[0])
			if err != nil {
				return nil, err
			}
			return n.reserve(ctx, node, all)
		}))
	}
	return b.(*store.Coalescer[reservation, result])
}

// reserveAll reserves a reply in each window, in one round trip. If replies are not counted, it
// only reads the windows.
func (s *Store) reserveAll(ctx context.Context, all []reservation) ([]result, error) {
	now, keys := s.Now().UnixMilli(), keysOf(all)
	switch {
	case s.Replies == 0:
		return s.readAll(ctx, keys, now), nil
	case len(all) > 1 && !s.multiKey():
		return s.reserveEach(ctx, s.rdb, "", all)
	}
	answers, err := readReserved(reserveScript.Run(ctx, s.rdb, keys, s.reserveArgs(now, s.scriptDeadlines("", all)...)...), keys...)
	if len(all) > 1 && store.Classify(err).Has(store.CrossSlot) { // a sharding proxy has taken its place, and did nothing
		s.oneKeyOnly.Store(true)
		return s.reserveEach(ctx, s.rdb, "", all)
	}
	return answers, err
}

func keysOf(all []reservation) []string {
	keys := make([]string, len(all))
	for i, r := range all {
		keys[i] = r.key
	}
	return keys
}

// reserveNode is reserveAll for keys of one node of a Cluster. It uses the node's own client, which
// never repeats a command that may have been counted.
func (s *Store) reserveNode(ctx context.Context, node *redis.Client, all []reservation) ([]result, error) {
	if s.Replies == 0 {
		return s.readAll(ctx, keysOf(all), s.Now().UnixMilli()), nil
	}
	return s.reserveEach(ctx, node, node.Options().Addr, all)
}

// reserveEach is reserveAll with a script per key, for where a script may not have keys of two
// slots. A request that the node redirected, and so did not count, is sent once more to the node
// that has the key now.
func (s *Store) reserveEach(ctx context.Context, c redis.Cmdable, node string, all []reservation) ([]result, error) {
	now := s.Now().UnixMilli()
	cmds := runEach(ctx, c, reserveScript, keysOf(all), func(i int) []any {
		return s.reserveArgs(now, s.health.RedisTime(node, all[i].until))
	})
	answers := make([]result, len(all))
	for i, r := range all {
		if store.Classify(cmds[i].Err()).Has(store.Redirect) {
			if !time.Now().Before(r.until) {
				answers[i].err = errLate
				continue
			}
			cmds[i] = reserveScript.Run(ctx, s.rdb, []string{r.key}, s.reserveArgs(now, neverLate)...) // another node has another clock
		}
		if one, err := readReserved(cmds[i], r.key); err != nil {
			answers[i].err = err
		} else {
			answers[i] = one[0]
		}
	}
	return answers, nil
}

// reserveArgs are the arguments of reserve.lua.
func (s *Store) reserveArgs(now int64, deadlines ...int64) []any {
	args := make([]any, 0, 3+len(deadlines))
	args = append(args, now, s.Length.Milliseconds(), s.Replies)
	for _, d := range deadlines {
		args = append(args, d)
	}
	return args
}

// neverLate is a deadline that never passes. deadline_guard.lua reads Redis's clock for it.
const neverLate = 1 << 53

// scriptDeadlines returns the deadlines of reserve.lua by the clock of a node, unix ms, 0 if that
// is not known: the latest, after one for each reservation if they differ.
func (s *Store) scriptDeadlines(node string, all []reservation) (deadlines []int64) {
	latest, differ := all[0].until, false
	for _, r := range all[1:] {
		differ = differ || !r.until.Equal(latest)
		if r.until.After(latest) {
			latest = r.until
		}
	}
	if differ {
		for _, r := range all {
			deadlines = append(deadlines, s.health.RedisTime(node, r.until))
		}
	}
	return append(deadlines, s.health.RedisTime(node, latest))
}

// scriptDeadline returns the deadline of ctx for deadline_guard.lua, by the clock of a node.
func (s *Store) scriptDeadline(ctx context.Context, node string) int64 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return s.health.RedisTime(node, deadline)
}

// errLate means that Redis came to a reservation when its caller had given up.
var errLate = errors.New("window: reserve: the deadline has passed, so nothing was done")

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
		switch state {
		case -2:
			answers[i].err = errNotAWindow(keys[i])
			continue
		case -3:
			answers[i].err = errLate
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
