package window

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/store"
)

// Settings are what the reply window is.
type Settings struct {
	Prefix  string
	Length  time.Duration
	Replies int // per customer message; 0: not counted
	Timeout time.Duration
	Now     func() time.Time

	MultiKey  func() bool     // a script may have several keys, so that replies of the same moment ask together; nil: they never do
	Journal   *store.Journal  // for what Redis does not take; nil where the store keeps one itself
	Degraded  func() bool     // Redis was away within the last seconds; nil: never
	Recovered <-chan struct{} // Redis has another master, or is back
	Log       *zap.Logger     // nil: nothing is said

	// RedisTime is a time by the clock of a node of a Cluster, or of another Redis for "", unix ms;
	// 0: that clock is not known. nil: none is.
	RedisTime func(node string, t time.Time) int64
}

// Store keeps windows in Redis, in the layout of docs/redis.md.
type Store struct {
	rdb redis.UniversalClient
	Settings
	cache       *openCache
	recent      recentWrites
	checkpoints checkpoints
	members     members
	wake        chan struct{} // the journal has something
	gaps        gaps
	gateway     string // what names this one among those on the same Redis: its journal's name

	brokenWindows, brokenHistory, clockAhead rateLimitedLog

	deadlines deadlines
	reserver  reserver
	history   func(context.Context, scope) history // reads that of one scope
}

// NewStore keeps windows in rdb.
func NewStore(rdb redis.UniversalClient, s Settings) *Store {
	if s.Log == nil {
		s.Log = zap.NewNop()
	}
	kept := &Store{rdb: rdb, Settings: s, cache: newOpenCache(), wake: make(chan struct{}, 1), gaps: gaps{writing: make(chan struct{}, 1)}, deadlines: deadlines{timeout: s.Timeout}}
	kept.reserver, kept.history = kept.newReserver(), kept.newHistory()
	kept.recent.dropped = s.Now() // what a gateway before this one recorded
	if s.Journal != nil {
		kept.gateway = s.Journal.ID()
	}
	return kept
}
