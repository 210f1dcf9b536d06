// Package calls counts the calls that bots make, by account, day, path and client, so that a
// rehearsal can tell what would stop at a lapse. The counts are shared through Redis.
//
// It keeps no id of a customer and no token, does not judge calls, and never makes a call wait:
// counts collect in memory and are written every ten seconds.
package calls

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Call names a kind of call. Its parts come from closed lists: the accounts, the catalogue and the
// configured clients.
type Call struct {
	Corp   string // Unknown if it cannot be told
	Path   string // of the catalogue, or one of wecom.Uncatalogueds
	Client string // a name of clients, or unknown
}

const (
	// Unknown is the corp of calls that could not be attributed without a round trip to Redis.
	Unknown = "unknown"

	// Other is the path and the client of calls that came when MaxNames were in memory.
	Other = "other"

	// MaxNames bounds the kinds of calls in memory, with a day each. Beyond it the calls of an
	// account count as Other, of which there are as many again at most.
	MaxNames = 100_000
)

// Outcome is what is counted of a call beside the call itself, as a set of bits.
type Outcome uint8

// The outcomes. None of them is known of most calls.
const (
	Refused   Outcome = 1 << iota // the gateway did not send it
	Ambiguous                     // its body was read, and has more than one reading, or none
	Inside                        // a reply to a customer whose window was open
	Outside                       // a reply that no open window allowed
)

// kinds are the outcomes by their place in Counts, which begins with the calls.
var kinds = [...]struct {
	outcome Outcome
	field   string // its ending in Redis
}{{Refused, "refused"}, {Ambiguous, "ambiguous"}, {Inside, "inside"}, {Outside, "outside"}}

// Counts are the numbers of one kind of call: of all calls, and of each outcome.
type Counts struct {
	Calls, Refused, Ambiguous, Inside, Outside int64
}

// number returns the i-th number: 0 for Calls, i+1 for kinds[i].
func (c *Counts) number(i int) *int64 {
	return [...]*int64{&c.Calls, &c.Refused, &c.Ambiguous, &c.Inside, &c.Outside}[i]
}

func (c *Counts) add(o Outcome, n int64) {
	for i, k := range kinds {
		if o&k.outcome != 0 {
			*c.number(i + 1) += n
		}
	}
}

// Plus returns the sums of two Counts.
func (c Counts) Plus(other Counts) Counts {
	for i := range len(kinds) + 1 {
		*c.number(i) += *other.number(i)
	}
	return c
}

// name is one kind of call on one day.
type name struct {
	Call
	day int // since 1970, in zone
}

// Counters counts calls in memory and in Redis. It is safe for concurrent use. docs/redis.md has
// the keys.
type Counters struct {
	rdb     redis.UniversalClient
	prefix  string
	timeout time.Duration // of each exchange with Redis
	now     func() time.Time

	shards [shardCount]shard
	names  atomic.Int64 // in the shards, without those of Other
	others atomic.Int64 // of Other
	full   atomic.Int64 // calls that found no place
	lost   atomic.Int64 // calls that Redis may not have counted

	flushing sync.Mutex
	sums     map[name]Counts // of a corp and a day, still to be written; under flushing
	activity activity
}

// shardCount spreads the counters, so that concurrent calls seldom wait for each other.
const shardCount = 16

type shard struct {
	mu     sync.Mutex
	counts map[name]*Counts
	_      [48]byte // a cache line of its own
}

// New returns Counters with keys prefix+"calls:…" in rdb.
func New(rdb redis.UniversalClient, prefix string, timeout time.Duration, now func() time.Time) *Counters {
	c := &Counters{rdb: rdb, prefix: prefix, timeout: timeout, now: now, sums: map[name]Counts{}}
	for i := range c.shards {
		c.shards[i].counts = map[name]*Counts{}
	}
	c.activity.days = map[int]map[string]Counts{}
	return c
}

// Count counts a call. It does not allocate for a kind of call that was counted since the last
// write.
func (c *Counters) Count(at time.Time, call Call, o Outcome) { c.add(at, call, 1, o) }

// Note counts outcomes of a call that was counted already, as they become known after its answer.
func (c *Counters) Note(at time.Time, call Call, o Outcome) { c.add(at, call, 0, o) }

func (c *Counters) add(at time.Time, call Call, calls int64, o Outcome) {
	n := name{call, dayOf(at)}
	s := c.shardOf(n)
	s.mu.Lock()
	counts := s.counts[n]
	if counts == nil {
		s.mu.Unlock()
		var one Counts
		one.Calls = calls
		one.add(o, 1)
		c.put(n, one)
		return
	}
	counts.Calls += calls
	if o != 0 {
		counts.add(o, 1)
	}
	s.mu.Unlock()
}

// put adds counts of a name that may be new, within the bound of names.
func (c *Counters) put(n name, counts Counts) {
	if c.putWithin(n, counts, &c.names) {
		return
	}
	n.Path, n.Client = Other, Other
	if !c.putWithin(n, counts, &c.others) {
		c.full.Add(max(counts.Calls, 1))
	}
}

// putWithin adds counts of a name, unless it is new and there are MaxNames of its kind.
func (c *Counters) putWithin(n name, counts Counts, names *atomic.Int64) bool {
	s := c.shardOf(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.counts[n]
	if sum == nil {
		if names.Add(1) > MaxNames {
			names.Add(-1)
			return false
		}
		sum = &Counts{}
		s.counts[n] = sum
	}
	*sum = sum.Plus(counts)
	return true
}

var seed = maphash.MakeSeed()

func (c *Counters) shardOf(n name) *shard {
	return &c.shards[(maphash.String(seed, n.Corp)+maphash.String(seed, n.Path))%shardCount]
}

// take empties the shards.
func (c *Counters) take() map[name]*Counts {
	all := map[name]*Counts{}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for n, counts := range s.counts {
			all[n] = counts
			if n.isOther() {
				c.others.Add(-1)
			} else {
				c.names.Add(-1)
			}
		}
		s.counts = make(map[name]*Counts, len(s.counts))
		s.mu.Unlock()
	}
	return all
}

func (n name) isOther() bool { return n.Path == Other }

// Uncounted returns how many calls are missing from the counts: full had no place in memory while
// Redis was away, lost were being written when Redis broke off, and may be counted all the same.
func (c *Counters) Uncounted() (full, lost int64) { return c.full.Load(), c.lost.Load() }

// zone is that of the days: WeCom's.
var zone = time.FixedZone("UTC+8", zoneSeconds)

const (
	zoneSeconds = 8 * 3600
	daySeconds  = 24 * 3600
)

// dayOf returns the day of an instant.
func dayOf(at time.Time) int { return int((at.Unix() + zoneSeconds) / daySeconds) }

// start returns the first instant of a day.
func start(day int) time.Time { return time.Unix(int64(day)*daySeconds-zoneSeconds, 0).In(zone) }
