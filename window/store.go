package window

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

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

	// Now is the gateway's clock. It is required.
	Now func() time.Time

	// Log receives what the operator should know. If nil, nothing is logged.
	Log *zap.Logger
}

// Health is what the client of a Redis knows about it. *store.Client implements it. Its methods
// must not block.
type Health interface {
	// Degraded reports whether Redis may lack acknowledged writes just now.
	Degraded() bool

	// Recovered receives a value each time Redis is back, or has another primary.
	Recovered() <-chan struct{}

	// RedisTime converts t to the clock of a Redis, unix ms, 0 if that clock is not known. node is
	// the address of a Cluster's node, "" for any other Redis.
	RedisTime(node string, t time.Time) int64

	// MultiKey reports whether one script may have several keys. It does not count in a Cluster.
	MultiKey() bool
}

// Store keeps windows in Redis, in the layout of docs/redis.md.
type Store struct {
	rdb redis.UniversalClient
	Settings
	health      Health
	journal     *store.Journal // nil for an embedded Redis
	cache       *openCache
	recent      recentWrites
	checkpoints checkpoints
	members     members
	wake        chan struct{} // the journal has something
	gaps        gaps
	gateway     string // the journal's id, which tells this gateway from others on the same Redis

	brokenWindows, brokenHistory, clockAhead rateLimitedLog

	deadlines deadlines
	reserver  reserver
	history   func(context.Context, scope) history // reads one scope
}

// NewEmbedded keeps windows in a Redis that belongs to this process alone. Its store journals every
// change by itself, so there is nothing to write again after a failure, and no other gateway to
// agree with.
func NewEmbedded(rdb redis.UniversalClient, h Health, s Settings) *Store {
	w := newStore(rdb, h, s)
	w.reserver = unbatched(w.reserveAll)
	return w
}

// NewShared keeps windows in a Redis that other gateways may use too. What it does not take is kept
// in the journal until Run writes it. RunHeartbeat and Run must run meanwhile: without them another
// gateway may refuse too much.
func NewShared(rdb redis.UniversalClient, h Health, j *store.Journal, s Settings) *Store {
	w := newStore(rdb, h, s)
	w.journal, w.gateway = j, j.ID()
	w.reserver = w.newReserver()
	return w
}

func newStore(rdb redis.UniversalClient, h Health, s Settings) *Store {
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	w := &Store{
		rdb: rdb, Settings: s, health: h, cache: newOpenCache(), wake: make(chan struct{}, 1),
		gaps: gaps{writing: make(chan struct{}, 1)}, deadlines: deadlines{timeout: s.Timeout},
	}
	w.history = w.newHistory()
	w.recent.dropped = s.Now() // what an earlier gateway recorded is unknown
	return w
}

// embedded reports whether Redis belongs to this process alone.
func (s *Store) embedded() bool { return s.journal == nil }

// multiKey reports whether a script may have several keys.
func (s *Store) multiKey() bool { return s.embedded() || s.health.MultiKey() }
