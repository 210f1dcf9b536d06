package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/store"
)

// write is one command that adds to Redis.
type write struct {
	keys    []string      // one, but for replies
	script  *redis.Script // nil: SET key args[0] NX, kept for args[1]
	args    []any
	of      Key         // the window at the key that a message is in
	replies []answer    // to the customers of the keys
	cmd     redis.Cmder // once it was sent
}

// repliesTogether is how many windows one script records replies in. That costs Redis a third less
// than a script for each.
const repliesTogether = 16

// writesOf returns the commands of writes.
func (s *Store) writesOf(w writes) []write {
	all := make([]write, 0, w.len())
	for k, at := range w.facts {
		all = append(all, write{keys: []string{k.redisKey(s.Prefix)}, of: k, script: recordScript, args: []any{strconv.FormatInt(at, 10), strconv.FormatInt(at+s.Length.Milliseconds(), 10)}})
	}
	all = append(all, s.writesOfReplies(w.answers)...) // after the messages: a reply creates no window
	for _, c := range w.codes {
		all = append(all, write{keys: []string{s.codeKey(c.Text)}, args: []any{c.encode(), keepCode}})
	}
	for k, last := range w.shut { // after the messages too
		all = append(all, write{keys: []string{k.redisKey(s.Prefix)}, script: closeScript, args: []any{last}})
	}
	now := s.Now().UnixMilli()
	for key, at := range w.marks {
		switch kept := at + s.Length.Milliseconds() - now; {
		case key == s.sinceKey():
			all = append(all, write{keys: []string{key}, script: raiseScript, args: []any{at, 0}})
		case kept > 0: // all others expire once they are older than a window
			all = append(all, write{keys: []string{key}, script: raiseScript, args: []any{at, kept}})
		}
	}
	return all
}

// writesOfReplies returns the commands that record replies to customers.
func (s *Store) writesOfReplies(answers []answer) (all []write) {
	if len(answers) == 0 {
		return nil
	}
	together := 1
	if _, cluster := s.rdb.(*redis.ClusterClient); !cluster && s.multiKey() {
		together = repliesTogether
	}
	oldest := s.Now().UnixMilli() - s.Length.Milliseconds()
	for some := range slices.Chunk(answers, together) {
		keys, args := make([]string, len(some)), make([]any, len(some)+1)
		args[0] = oldest
		for i, a := range some {
			keys[i], args[i+1] = a.of.redisKey(s.Prefix), a.entries
		}
		all = append(all, write{script: answerScript, keys: keys, args: args, replies: some})
	}
	return all
}

func (w *write) send(ctx context.Context, p redis.Pipeliner, eval bool) {
	if w.script == nil {
		w.cmd = p.SetNX(ctx, w.keys[0], w.args[0], w.args[1].(time.Duration))
		return
	}
	w.cmd = send(ctx, p, w.script, eval, w.keys, w.args...)
}

// send queues a script, with its text if eval.
func send(ctx context.Context, p redis.Pipeliner, s *redis.Script, eval bool, keys []string, args ...any) *redis.Cmd {
	if eval {
		return s.Eval(ctx, p, keys, args...)
	}
	return s.EvalSha(ctx, p, keys, args...)
}

// errNotJoined means that a write is in a process of Redis that this gateway has not joined: it may
// be gone soon, or another gateway may not wait for it.
var errNotJoined = errors.New("window: redis was restarted, or has another primary")

// write writes to Redis in chunks. Once it returns nil, w is in the processes of Redis that this
// gateway has joined, and may be acknowledged from the time on that it returns. It fails while this
// gateway is not settled.
func (s *Store) write(ctx context.Context, w writes) (sent []write, from time.Time, err error) {
	begun := time.Now()
	sent = s.writesOf(w)
	runs := map[*partition]string{}
	size := maxChunk
	if s.embedded() {
		size /= 8 // its scripts are interpreted in this process
	}
	for left := sent; len(left) > 0; {
		n := fit(left, size)
		if err := s.apply(ctx, left[:n], runs); err != nil {
			return nil, from, err
		}
		left = left[n:]
	}
	if s.embedded() {
		return sent, from, nil
	}
	from, err = s.accept(w, runs, begun)
	return sent, from, err
}

// fit returns how many of the first writes have so many keys together, at least one.
func fit(all []write, keys int) int {
	for i := range all {
		if keys -= len(all[i].keys); keys < 0 {
			return max(i, 1)
		}
	}
	return len(all)
}

// waitSettled waits until a new member is settled, and has renewed its lease since: from then on
// its entries are surely kept, so that the others wait for it.
func (s *Store) waitSettled() {
	s.leases.mu.Lock()
	var settled time.Time
	for _, p := range s.leases.partitions {
		if p.lease.settled.After(settled) {
			settled = p.lease.settled
		}
	}
	s.leases.mu.Unlock()
	if settled.IsZero() {
		return
	}
	time.Sleep(time.Until(settled))
	for end := settled.Add(renewEvery + 2*s.Timeout); !s.member() && time.Now().Before(end); {
		time.Sleep(renewEvery / 25)
	}
}

// accept keeps a write among the recent ones, unless Redis has been replaced since, or this gateway
// was not settled when it was sent.
func (s *Store) accept(w writes, runs map[*partition]string, begun time.Time) (from time.Time, err error) {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, run := range runs {
		if !p.lease.registered || p.lease.run != run || w.len() > 0 && begun.Before(p.lease.settled) {
			return from, errNotJoined
		}
		if p.lease.ackAfter.After(from) {
			from = p.lease.ackAfter
		}
	}
	s.recent.add(stamp(l.began, time.Now()), w)
	return from, nil
}

// applyNow is apply for writes that are among the recent ones already.
func (s *Store) applyNow(ctx context.Context, all []write) error {
	runs := map[*partition]string{}
	if err := s.apply(ctx, all, runs); err != nil {
		return err
	}
	_, err := s.accept(writes{}, runs, time.Time{})
	return err
}

// apply sends one chunk of writes, and adds the processes of Redis that took them to runs.
func (s *Store) apply(ctx context.Context, all []write, runs map[*partition]string) error {
	begun := s.stampNow()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	routes, err := s.routes(ctx, len(all), func(i int) string { return all[i].keys[0] })
	if err != nil {
		return err
	}
	err = each(routes, func(r *route) error {
		return s.pipelined(ctx, r, func(p redis.Pipeliner, eval bool) (cmds []redis.Cmder) {
			for _, i := range r.keys {
				all[i].send(ctx, p, eval)
				cmds = append(cmds, all[i].cmd)
			}
			return cmds
		})
	})
	if err != nil {
		return err
	}
	s.followASK(ctx, all)
	for _, r := range routes {
		for i, p := range r.partitions {
			if run, there := runs[p]; there && run != r.answers[i].run {
				return errNotJoined
			}
			runs[p] = r.answers[i].run
		}
		for _, i := range r.keys {
			if store.Classify(all[i].cmd.Err()).Has(store.CrossSlot) { // a sharding proxy has taken the place of a single Redis
				s.oneKeyOnly.Store(true)
			}
			if failed(all[i].cmd) { // redis.Nil, from raise, means that there was no time before
				return fmt.Errorf("window: write: %w", all[i].cmd.Err())
			}
		}
	}
	s.index.note(all, s.Now())
	s.rememberAnswers(all, begun)
	return nil
}

// followASK sends writes once more whose slot is being moved, and whose key is on the new node
// alone. Only the client of the whole Cluster goes there.
func (s *Store) followASK(ctx context.Context, all []write) {
	var p redis.Pipeliner
	for i := range all {
		if !redis.HasErrorPrefix(all[i].cmd.Err(), "ASK") {
			continue
		}
		if p == nil {
			p = s.rdb.Pipeline()
		}
		all[i].send(ctx, p, true)
	}
	if p != nil {
		_, _ = p.Exec(ctx) // each command has its own error
	}
}

// route is a node of Redis with the keys on it, and the partitions that cover them.
type route struct {
	client     redis.Cmdable
	keys       []int // by number
	partitions []*partition
	answers    []leaseAnswer // one for each partition, once it was asked
	uncovered  bool          // the node has no lease, so that its answers prove nothing
}

// routes groups n keys by node.
func (s *Store) routes(ctx context.Context, n int, key func(int) string) ([]*route, error) {
	all := s.partitioned()
	if len(all) == 0 && !s.embedded() {
		return nil, errNotJoined
	}
	cluster, _ := s.rdb.(*redis.ClusterClient)
	var routes []*route
	for i := range n {
		client := redis.Cmdable(s.rdb)
		if cluster != nil {
			node, err := cluster.MasterForKey(ctx, key(i))
			if err != nil {
				return nil, fmt.Errorf("window: the node of a key: %w", err)
			}
			client = node
		}
		at := slices.IndexFunc(routes, func(r *route) bool { return r.client == client })
		if at < 0 {
			at, routes = len(routes), append(routes, &route{client: client, keys: make([]int, 0, n)})
		}
		r := routes[at]
		r.keys = append(r.keys, i)
		if s.embedded() {
			continue
		}
		p := s.partitionOf(ctx, all, key(i))
		if p == nil {
			r.uncovered = true
			continue
		}
		if !slices.Contains(r.partitions, p) {
			r.partitions = append(r.partitions, p)
		}
	}
	return routes, nil
}

// each calls do for every route, concurrently if there are several.
func each(routes []*route, do func(*route) error) error {
	if len(routes) == 1 {
		return do(routes[0])
	}
	errs := make([]error, len(routes))
	var all sync.WaitGroup
	for i, r := range routes {
		all.Go(func() { errs[i] = do(r) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// pipelined sends commands in one pipeline, and after them reads of the leases, so that one process
// of Redis answers both. It sends them again with the scripts' texts if Redis does not have those.
// Each command has its own error; the one returned belongs to the leases.
func (s *Store) pipelined(ctx context.Context, r *route, queue func(p redis.Pipeliner, eval bool) []redis.Cmder) (err error) {
	for _, eval := range []bool{false, true} {
		p := r.client.Pipeline()
		cmds := queue(p, eval)
		leases, ids := make([]*redis.Cmd, len(r.partitions)), make([][]string, len(r.partitions))
		for i, part := range r.partitions {
			s.leases.mu.Lock()
			ids[i] = part.lease.ids()
			s.leases.mu.Unlock()
			keys, args := s.leaseArgs(part, exchange{action: readLeases, ids: ids[i]})
			leases[i] = send(ctx, p, leaseScript, eval, keys, args...)
			cmds = append(cmds, leases[i])
		}
		_, _ = p.Exec(ctx)
		if !eval && slices.ContainsFunc(cmds, noScript) {
			continue
		}
		if c, cluster := s.rdb.(*redis.ClusterClient); cluster && slices.ContainsFunc(cmds, failed) {
			c.ReloadState(ctx) // the client of one node does not follow redirects
		}
		r.answers = make([]leaseAnswer, len(leases))
		for i, cmd := range leases {
			var bad error
			r.answers[i], bad = readLeaseAnswer(cmd, ids[i])
			err = errors.Join(err, bad)
		}
		break
	}
	return err
}

func failed(cmd redis.Cmder) bool { return cmd.Err() != nil && !errors.Is(cmd.Err(), redis.Nil) }

func noScript(cmd redis.Cmder) bool {
	return failed(cmd) && redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT")
}
