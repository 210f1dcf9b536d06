package window

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// A refusal because a message is missing must be proven, since other gateways may have acknowledged
// messages that Redis lacks. A proof reads the window, rg:since and the gaps, and after them the
// leases, on one connection to each node. It holds if all members held their leases from before the
// first read until after the last (docs/consistency.md).

// read is one key that a proof reads.
type read struct {
	key    string
	window bool
	fields *redis.SliceCmd  // of a window
	value  *redis.StringCmd // of any other key
	cause  string           // why a missing value proves nothing; "" if it does
	err    error            // of the leases; fields and value have their own
}

func (r *read) send(ctx context.Context, p redis.Pipeliner) redis.Cmder {
	if r.window {
		r.fields = p.HMGet(ctx, r.key, "last", "sent", "shut")
		return r.fields
	}
	r.value = p.Get(ctx, r.key)
	return r.value
}

// reads are keys to be read, each once.
type reads struct {
	all   []*read
	byKey map[string]*read
}

func (r *reads) add(key string, window bool) *read {
	if key == "" {
		return nil
	}
	if one := r.byKey[key]; one != nil {
		return one
	}
	if r.byKey == nil {
		r.byKey = map[string]*read{}
	}
	one := &read{key: key, window: window}
	r.byKey[key], r.all = one, append(r.all, one)
	return one
}

func (r *reads) get(key string) *read { return r.add(key, false) }

func (r *reads) scope(sc scope) scopeRead {
	return scopeRead{gaps: [2]*read{r.get(sc.gaps[0]), r.get(sc.gaps[1])}, backfill: r.get(sc.backfill)}
}

// question asks whether a window or a code is really missing.
type question struct {
	window string // its key, "" for a code
	code   string // its key, "" for a window
	scope  scope
}

// proof is the answer to a question.
type proof struct {
	history
	window Window
	code   string // the code's record, "" if there is none
	cause  string // why what is missing may have been acknowledged all the same; "": it cannot
}

// newProver returns the function that answers one question, within a timeout of its own. Concurrent
// questions to a single Redis share a round trip. In a Cluster each has its own, or all would wait
// for the slowest node.
func (s *Store) newProver() func(context.Context, question) proof {
	if _, cluster := s.rdb.(*redis.ClusterClient); cluster {
		return func(ctx context.Context, q question) proof {
			ctx, cancel := s.deadlines.within(ctx)
			defer cancel()
			return s.prove(ctx, q)[0]
		}
	}
	batch := store.NewCoalescer(func(ctx context.Context, all []question) ([]proof, error) { return s.prove(ctx, all...), nil })
	return func(ctx context.Context, q question) proof {
		ctx, cancel := s.deadlines.within(ctx)
		defer cancel()
		p, err := batch.Do(ctx, q)
		if err != nil {
			p.err = err
		}
		return p
	}
}

// prove answers questions. Nothing is cached, so a gap that another gateway has marked counts at
// once.
func (s *Store) prove(ctx context.Context, all ...question) []proof {
	_ = s.writePending(ctx) // else there is no proof, for that cause
	now := s.Now().UnixMilli()
	var keys reads
	since := keys.get(s.sinceKey())
	targets, scopes := make([]*read, len(all)), make([]scopeRead, len(all))
	for i, q := range all {
		targets[i] = keys.add(q.window+q.code, q.window != "")
		scopes[i] = keys.scope(q.scope)
	}
	proofs := make([]proof, len(all))
	if err := s.readProven(ctx, keys.all); err != nil {
		for i := range proofs {
			proofs[i].err = err
		}
		return proofs
	}
	for i := range all {
		p := &proofs[i]
		p.history = scopes[i].history(since, now)
		p.readTarget(targets[i])
		for _, r := range []*read{targets[i], since, scopes[i].gaps[0], scopes[i].gaps[1]} {
			if r != nil {
				p.cause, p.err = cmp.Or(p.cause, r.cause), cmp.Or(p.err, r.err)
			}
		}
	}
	s.checkTimes(ctx, keys.all, since, now)
	return proofs
}

// readTarget takes the window or the code of a question.
func (p *proof) readTarget(r *read) {
	var err error
	switch {
	case r == nil:
	case r.window:
		h, failure := r.fields.Result()
		p.window, err = parseWindow(r.key, h, failure)
	default:
		if p.code, err = r.value.Result(); redis.HasErrorPrefix(err, "WRONGTYPE") || errors.Is(err, redis.Nil) {
			err = nil
		}
	}
	p.err = cmp.Or(p.err, err)
}

// Causes of a missing proof, as replygate_degraded names them.
const (
	CauseRedis    = "redis"    // Redis does not answer
	CauseLease    = "lease"    // this gateway holds no lease
	CauseMember   = "member"   // another gateway holds no lease
	CauseJournal  = "journal"  // the journal holds what Redis lacks
	CauseRewrite  = "rewrite"  // Redis has lost writes that are being repeated
	CauseGap      = "gap"      // a gap is neither in Redis nor in the journal
	CauseEviction = "eviction" // Redis may drop keys when memory is short
)

// Causes returns the causes.
func Causes() []string {
	return []string{CauseRedis, CauseLease, CauseMember, CauseJournal, CauseRewrite, CauseGap, CauseEviction}
}

// readProven reads keys, and sets the cause of those that prove nothing.
func (s *Store) readProven(ctx context.Context, all []*read) error {
	routes, err := s.routes(ctx, len(all), func(i int) string { return all[i].key })
	if err != nil {
		return err
	}
	if parts := s.partitioned(); !s.embedded() && s.ofProxy(parts) { // any shard may have a key
		for _, r := range routes {
			r.partitions = parts
		}
	}
	return each(routes, func(r *route) error {
		before := s.views(r.partitions)
		err := s.pipelined(ctx, r, func(p redis.Pipeliner, _ bool) (cmds []redis.Cmder) {
			for _, i := range r.keys {
				cmds = append(cmds, all[i].send(ctx, p))
			}
			return cmds
		})
		cause := ""
		if err == nil {
			cause = s.unproven(r, before)
		}
		for _, i := range r.keys {
			all[i].cause, all[i].err = cause, err
		}
		return nil
	})
}

// views returns the last views of partitions, empty ones where this gateway holds no lease.
func (s *Store) views(partitions []*partition) []view {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	all := make([]view, len(partitions))
	for i, p := range partitions {
		if p.lease.held {
			all[i] = p.lease.view
		}
	}
	return all
}

// unproven returns why the answers of a route prove nothing, "" if they do.
func (s *Store) unproven(r *route, before []view) string {
	if s.gaps.pending.Load() {
		return CauseGap
	}
	if r.uncovered {
		return CauseLease
	}
	for i, p := range r.partitions {
		if !before[i].unbroken(r.answers[i].view(), s.gateway) {
			signal(p.wake) // a member may just have joined
			return s.causeOf(p)
		}
	}
	return ""
}

// causeOf returns why a lease proves nothing at the moment.
func (s *Store) causeOf(p *partition) string {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.failure != nil:
		return CauseRedis
	case p.lease.evicts:
		return CauseEviction
	case p.lease.repair.number > 0:
		return CauseRewrite
	case !s.journal.Empty():
		return CauseJournal
	case s.gaps.pending.Load():
		return CauseGap
	case !p.lease.holds(time.Now()):
		return CauseLease
	}
	return CauseMember
}

var sentences = map[string]string{
	CauseRedis:    "redis does not answer within redis.timeout",
	CauseLease:    "this gateway does not hold its lease in redis",
	CauseMember:   "another gateway does not hold its lease: it may have messages that redis lacks, and is removed after five minutes",
	CauseJournal:  "the journal holds messages that redis lacks",
	CauseRewrite:  "redis has lost writes, which are being repeated",
	CauseGap:      "a gap in the records is neither in redis nor in the journal",
	CauseEviction: "maxmemory-policy of redis is not noeviction, so it may drop windows: set it to noeviction",
}

// Status is what the leases say about refusals because a message is missing.
type Status struct {
	Causes  []string // why such refusals are unsure; none if they are possible
	Held    bool     // this gateway holds its lease in every partition
	Members int      // gateways on this Redis
}

// Sentence says a cause in words.
func Sentence(cause string) string {
	return sentences[cause] + "; meanwhile a reply without an open window is unsure, not refused"
}

// Status returns what the leases say now.
func (s *Store) Status() (st Status) {
	if s.embedded() {
		if s.gaps.pending.Load() {
			st.Causes = []string{CauseGap}
		}
		return Status{Causes: st.Causes, Held: true, Members: 1}
	}
	all, found := s.partitioned(), map[string]bool{}
	st.Held = len(all) > 0
	for _, p := range all {
		s.leases.mu.Lock()
		held, missing := p.lease.holds(time.Now()) && p.failure == nil, len(p.lease.missing)
		st.Members = max(st.Members, len(p.lease.view.grants))
		s.leases.mu.Unlock()
		st.Held = st.Held && held
		if !held || missing > 0 {
			found[s.causeOf(p)] = true
		}
	}
	if len(all) == 0 {
		found[CauseRedis] = true
	}
	for _, cause := range Causes() {
		if found[cause] {
			st.Causes = append(st.Causes, cause)
		}
	}
	return st
}

// report logs each change between refusals that are possible and those that are unsure, at most
// once a second.
func (s *Store) report() {
	now := time.Now()
	if now.Sub(s.reported) < time.Second {
		return
	}
	s.reported = now
	st := s.Status()
	cause := ""
	if len(st.Causes) > 0 {
		cause = st.Causes[0]
	}
	if cause == s.lastCause {
		return
	}
	if s.lastCause = cause; cause == "" {
		s.Log.Unlimited.Info("refusals are possible again", zap.Int("members", st.Members))
		return
	}
	s.Log.Unlimited.Warn("refusals because a message is missing are unsure", zap.String("cause", cause), zap.String("why", sentences[cause]))
}
