package window

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// partition is the part of the keys that one lease covers: all of them in a single Redis, a 64th of
// the slots in a Cluster or behind a sharding proxy, where one node can lose data alone.
type partition struct {
	tag     string
	wake    chan struct{} // an exchange is due
	lease   *lease
	heldAt  time.Time // when it was held last, by the gateway's clock
	asked   time.Time // when the last exchange began that was answered
	failure error     // of the last exchange
	rewrite rewrite   // the progress of the lease's repair
}

// rewrite is what is left of a repair.
type rewrite struct {
	number int // of the repair
	left   []write
}

// leases are this gateway's leases.
type leases struct {
	began time.Time
	boot  string // names this process

	mu         sync.Mutex // protects what follows, and every lease
	partitions []*partition
	news       chan struct{} // closed when a lease changes
}

// changed wakes those who wait for a change of a lease. The caller must hold the lock.
func (l *leases) changed() {
	close(l.news)
	l.news = make(chan struct{})
}

// heldAt is the time until which the others wait for this gateway in every partition, the zero time
// if there is none. The caller must hold the lock.
func (l *leases) heldAt() (at time.Time) {
	for i, p := range l.partitions {
		if i == 0 || p.heldAt.Before(at) {
			at = p.heldAt
		}
	}
	return at
}

// partitioned returns the partitions. It makes them anew if Redis turns out to be a sharding proxy.
// There are none before Redis has been checked.
func (s *Store) partitioned() []*partition {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	_, cluster := s.rdb.(*redis.ClusterClient)
	if s.embedded() || !cluster && !s.health.Checked() {
		return l.partitions
	}
	tags := []string{"0"}
	if cluster || !s.health.MultiKey() {
		tags = store.PartitionTags[:]
	}
	if len(tags) == len(l.partitions) {
		return l.partitions
	}
	before := s.journal.Stamped()
	l.partitions = make([]*partition, len(tags))
	for i, tag := range tags {
		l.partitions[i] = &partition{tag: tag, wake: make(chan struct{}, 1), lease: newLease(s.gateway, l.boot, l.began)}
		l.partitions[i].heldAt, l.partitions[i].lease.returns = before, !before.IsZero()
	}
	return l.partitions
}

// ofProxy reports whether partitions are those of a sharding proxy, which does not tell on which
// shard a key is.
func (s *Store) ofProxy(parts []*partition) bool {
	_, cluster := s.rdb.(*redis.ClusterClient)
	return !cluster && len(parts) > 1
}

// partitionOf returns the partition that covers a key. In a Cluster its lease is on the key's own
// node: where a partition is split between two nodes, the nearest one there covers the key. It
// returns nil if the node has no lease, as a new one that got only a few slots.
func (s *Store) partitionOf(ctx context.Context, all []*partition, key string) *partition {
	if len(all) == 1 {
		return all[0]
	}
	n := store.Partition(key)
	node := s.nodeOf(ctx, key)
	if node == "" { // a sharding proxy
		return all[n]
	}
	for d := range len(all) {
		for _, i := range [...]int{n + d, n - d} {
			if i >= 0 && i < len(all) && s.nodeOf(ctx, "{"+all[i].tag+"}") == node {
				return all[i]
			}
		}
	}
	s.Log.Warn("a node of the cluster has none of the slots with leases: what is recorded there is kept, and replies without an open window there are unsure; move more slots to it",
		zap.String("node", node))
	return nil
}

// exchange runs lease.lua. The client waits for an answer no longer than the timeout; a connection
// that has to be opened first takes the time of two more. The end of ctx does not cut it off: a
// renewal without an answer would keep this gateway from leaving in order.
func (s *Store) exchange(ctx context.Context, p *partition, e exchange) (leaseAnswer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*s.Timeout)
	defer cancel()
	keys, args := s.leaseArgs(p, e)
	return readLeaseAnswer(leaseScript.Run(ctx, s.rdb, keys, args...), e.ids)
}

func (s *Store) leaseArgs(p *partition, e exchange) (keys []string, args []any) {
	keys = append(make([]string, 0, 1+len(e.ids)), s.Prefix+"members:{"+p.tag+"}")
	args = append(make([]any, 0, 6+len(e.ids)), e.action, leaseTTL.Milliseconds(), e.run, e.value, e.next, e.entry)
	for _, id := range e.ids {
		keys = append(keys, s.Prefix+"lease:{"+p.tag+"}:"+id)
		if slices.Contains(e.remove, id) {
			id = "-" + id
		}
		args = append(args, id)
	}
	return keys, args
}

// readLeaseAnswer parses the reply of lease.lua.
func readLeaseAnswer(cmd *redis.Cmd, ids []string) (a leaseAnswer, err error) {
	parts, err := cmd.Slice()
	if err != nil {
		return a, fmt.Errorf("window: lease: %w", err)
	}
	if len(parts) != 5 {
		return a, fmt.Errorf("window: lease: an unexpected reply: %v", parts)
	}
	members, _ := parts[3].([]any)
	leases, _ := parts[4].([]any)
	a.run, _ = parts[0].(string)
	a.done, a.evicts = parts[1] == int64(1), parts[2] == int64(1)
	a.members, a.leases = make(map[string]member, len(members)/2), make(map[string]string, len(ids))
	for i := 0; i+1 < len(members); i += 2 {
		id, _ := members[i].(string)
		entry, _ := members[i+1].(string)
		a.members[id] = readMember(entry)
	}
	for i, id := range ids {
		if i < len(leases) && leases[i] != nil {
			a.leases[id], _ = leases[i].(string)
		}
	}
	return a, nil
}

// Acquire tries to hold all leases. It returns at the first failure; Run goes on trying.
func (s *Store) Acquire(ctx context.Context) error {
	for range 2 { // all are joined before any is held
		for _, p := range s.partitioned() {
			if s.step(ctx, p); p.failure != nil {
				return p.failure
			}
		}
	}
	return nil
}

// keepLease renews the lease of a partition until ctx ends, and then leaves.
func (s *Store) keepLease(ctx context.Context, p *partition) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		for range 3 {
			if again := s.step(ctx, p); !again || ctx.Err() != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			s.end(p)
			return
		case <-tick.C:
		case <-p.wake:
		}
	}
}

// step makes one exchange and does some of the repair that is due. again reports that the next step
// need not wait.
func (s *Store) step(ctx context.Context, p *partition) (again bool) {
	now := time.Now()
	s.removeExpired(ctx, p, now)
	l := &s.leases
	l.mu.Lock() // what is journaled after this finds the lease's new expiry
	clean := s.clean()
	e := p.lease.next(now, clean)
	l.mu.Unlock()
	a, err := s.exchange(ctx, p, e)
	l.mu.Lock()
	if p.failure = err; err == nil {
		p.lease.answered(time.Now(), e, a)
		p.asked = now
		if p.lease.peerRepairMissing(time.Now()) {
			s.untoldAll()
		}
		l.detectEmptyNode()
		l.changed()
	}
	held, repair := err == nil && p.lease.held, p.lease.repair
	if held && ctx.Err() == nil && !now.Before(p.lease.settled) { // once this gateway leaves, its stamp stays
		if p.heldAt = s.Now(); !l.heldAt().IsZero() {
			s.journal.Stamp(l.heldAt())
		}
	}
	unread := p.lease.unread
	l.mu.Unlock()
	if !held {
		s.forgetKnown()
	}
	switch {
	case err != nil:
		return false
	case held:
		return unread
	case repair.number > 0:
		return s.repair(ctx, p, repair)
	}
	return clean && e.action != watchLeases || unread
}

// detectEmptyNode finds a node that has lost everything before this process began: a partition
// without members, while another one has some that held leases. The caller must hold the lock.
func (l *leases) detectEmptyNode() {
	if !slices.ContainsFunc(l.partitions, func(p *partition) bool { return p.lease.sawHolder }) {
		return
	}
	for _, p := range l.partitions {
		if p.lease.joinedEmpty {
			p.lease.joinedEmpty = false
			p.lease.lose(time.Now(), repair{gap: gapForgotten})
		}
	}
}

// leaveGrace is for how long a gateway that ends tries to hold its lease again, to leave in order.
const leaveGrace = 2 * time.Second

// end leaves. If the lease has just expired, because this process or Redis stalled, it is renewed
// first: the others would else be unsure for memberTimeout. Without an answer it gives up.
func (s *Store) end(p *partition) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveGrace)
	defer cancel()
	for !s.leave(p) {
		s.step(ctx, p)
		if p.failure != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(renewEvery / 10):
		}
	}
}

// leave gives a lease up in order. It returns false if the lease is not held. While the journal
// holds what Redis lacks, or Redis is away, the next process of this gateway stays a member.
func (s *Store) leave(p *partition) (done bool) {
	l := &s.leases
	l.mu.Lock()
	e, held := p.lease.leave(time.Now()), p.lease.holds(time.Now())
	p.heldAt = time.Time{} // nobody waits for a gateway that has left
	l.mu.Unlock()
	if !s.clean() {
		return true
	}
	if !held {
		return false
	}
	if _, err := s.exchange(context.Background(), p, exchange{action: readLeases, ids: e.ids}); err != nil {
		return true
	}
	if s.journal.StampLeft() != nil {
		return true
	}
	a, err := s.exchange(context.Background(), p, e) // on an error the others wait for memberTimeout
	return err != nil || a.done
}

// removeExpired marks a gap and then drops members that have held no lease for memberTimeout. One
// that is cut off may go on acknowledging into its journal, so no backfill ends the gap before.
func (s *Store) removeExpired(ctx context.Context, p *partition, now time.Time) {
	l := &s.leases
	l.mu.Lock()
	ids, since := p.lease.expired(now)
	l.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	if err := s.raiseSince(ctx, s.Now().Add(since.Sub(now)+s.absence()), gapRemoved); err != nil {
		return
	}
	s.Log.Error("a gateway has held no lease for five minutes and is removed: its journal may hold messages, so records are incomplete from then on; start it again if you can",
		zap.Strings("gateways", ids), zap.Time("since", s.Now().Add(since.Sub(now))))
	l.mu.Lock()
	p.lease.stale = append(p.lease.stale, ids...)
	l.mu.Unlock()
}

// repair marks the gap of a repair and writes again what Redis lacks, a part of it at a time, so
// that another loss is noticed meanwhile. more reports that there is more to do, and nothing
// failed.
func (s *Store) repair(ctx context.Context, p *partition, r repair) (more bool) {
	if p.rewrite.number != r.number {
		if p.rewrite.left, more = s.beginRepair(ctx, p, r); !more {
			return false
		}
		p.rewrite.number = r.number
	}
	for until := time.Now().Add(renewEvery); len(p.rewrite.left) > 0; {
		n := fit(p.rewrite.left, s.chunk.size())
		if err := s.chunk.done(s.applyNow(ctx, p.rewrite.left[:n])); err != nil {
			s.Log.Warn("writes that redis has lost cannot be repeated yet", zap.Error(err))
			return false
		}
		if p.rewrite.left = p.rewrite.left[n:]; time.Now().After(until) {
			return true
		}
	}
	s.RequestWalk() // the lists are written without a proof
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	p.lease.finish(r)
	s.leases.changed()
	return true
}

// beginRepair marks the gap of a repair and returns the writes to repeat.
func (s *Store) beginRepair(ctx context.Context, p *partition, r repair) (left []write, ok bool) {
	if r.gap == "" && !s.recent.covers(r.since) {
		r.gap = gapRolledBack
	}
	if r.gap != "" {
		s.leases.mu.Lock()
		late, decided := p.lease.gapExtends(time.Now())
		s.leases.mu.Unlock()
		at := s.Now()
		if !decided {
			return nil, false
		} else if late {
			at = at.Add(s.absence())
		}
		if err := s.raiseSince(ctx, at, r.gap); err != nil {
			return nil, false
		}
		s.rewriteAccountList()
	} else if s.recent.lacks(r.since) {
		s.untoldAll()
	}
	_, cluster := s.rdb.(*redis.ClusterClient)
	for _, w := range s.writesOf(s.recent.all()) {
		of := p // behind a proxy the shard of a key is unknown: all are written
		if cluster {
			of = s.partitionOf(ctx, s.partitioned(), w.keys[0])
		}
		if of == p || of == nil {
			left = append(left, w)
		}
	}
	s.logRepair(r, len(left))
	return left, true
}

// logRepair tells what Redis has lost, and what follows.
func (s *Store) logRepair(r repair, left int) {
	if r.gap == "" {
		s.Log.Warn("redis has lost its most recent writes: they are written again", zap.Time("rolled_back_to", time.UnixMilli(r.since)), zap.Int("writes", left))
		return
	}
	s.Log.Error("redis has lost acknowledged writes: records are incomplete from now on. Let it write every change to the disk (appendonly yes)",
		zap.String("reason", r.gap), zap.Int("writes", left))
}
