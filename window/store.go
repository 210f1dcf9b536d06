package window

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/record"
	"replygate/store"
)

// Settings are the rules of the reply window, and how Redis is asked.
type Settings struct {
	// Prefix begins every key in Redis.
	Prefix string

	// Length is how long a window stays open after the customer's last message.
	Length time.Duration

	// Replies is how many replies a message allows. Zero means that replies are not counted.
	Replies int

	// Timeout bounds one command. Pipelines of many commands may take longer.
	Timeout time.Duration

	// CorpOf returns the corp of an access token, by its hash, else the one that owns channels, ""
	// if none is known. It fails if Redis cannot be asked. A Store with a journal requires it.
	CorpOf func(ctx context.Context, tokenHash string, channels []string) (corp string, err error)

	// IndexAll keeps a list of all windows, besides that of the waiting chats.
	IndexAll bool

	// Now is the gateway's clock. It is required.
	Now func() time.Time

	// Log receives what the operator should know. If nil, nothing is logged.
	Log *record.RateLimited
}

// Health is what the client of a Redis knows about it. *store.Client implements it. Its methods
// must not block.
type Health interface {
	// RedisTime converts t to the clock of a Redis, unix ms, 0 if that clock is not known. node is
	// the address of a Cluster's node, "" for any other Redis.
	RedisTime(node string, t time.Time) int64

	// Checked reports whether Redis has answered, so that MultiKey is known.
	Checked() bool

	// MultiKey reports whether one script may have several keys. It does not count in a Cluster.
	MultiKey() bool
}

// Store keeps windows in Redis, in the layout of docs/redis.md.
type Store struct {
	rdb redis.UniversalClient
	Settings
	health  Health
	journal *store.Journal // nil for an embedded Redis
	gateway string         // the journal's id, which tells this gateway from others on the same Redis
	cache   *openCache
	known   known
	recent  recentWrites
	leases  leases
	gaps    gaps
	chunk   chunk
	counts  counters
	index   index
	sums    sums
	wake    chan struct{} // the journal has something

	reported  time.Time // when report last looked; of Run alone
	lastCause string

	oneKeyOnly atomic.Bool // Redis refused a script with several keys
	deadlines  deadlines
	unanswered unanswered
	reserver   reserver
	prover     func(context.Context, question) proof // answers one question
}

// NewEmbedded keeps windows in a Redis that belongs to this process alone. Its store journals every
// change by itself, so there is nothing to write again after a failure, and no other gateway to
// agree with.
func NewEmbedded(rdb redis.UniversalClient, h Health, s Settings) *Store {
	w := newStore(rdb, h, s)
	w.reserver = w.reserveOne
	return w
}

// NewShared keeps windows in a Redis that other gateways may use too. What it does not take is kept
// in the journal until Run writes it. Without Run nothing is refused because a message is missing.
func NewShared(rdb redis.UniversalClient, h Health, j *store.Journal, s Settings) *Store {
	w := newStore(rdb, h, s)
	w.journal, w.gateway = j, j.ID()
	w.reserver = w.newReserver()
	return w
}

func newStore(rdb redis.UniversalClient, h Health, s Settings) *Store {
	if s.Log == nil {
		s.Log = record.RateLimit(zap.NewNop(), time.Now)
	}
	now := time.Now()
	w := &Store{
		rdb: rdb, Settings: s, health: h, cache: newOpenCache(), wake: make(chan struct{}, 1),
		leases: leases{began: now, boot: rand.Text(), news: make(chan struct{})}, deadlines: deadlines{timeout: s.Timeout},
	}
	w.known.writes = newOpenCache()
	w.prover = w.newProver()
	w.index.wake = make(chan struct{}, 1)
	w.recent.dropped = now.UnixMilli() // what an earlier process recorded is unknown
	return w
}

// embedded reports whether Redis belongs to this process alone.
func (s *Store) embedded() bool { return s.journal == nil }

// multiKey reports whether a script may have several keys.
func (s *Store) multiKey() bool {
	return s.embedded() || s.health.MultiKey() && !s.oneKeyOnly.Load()
}
