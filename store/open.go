// Package store is the client of Redis: it opens Redis in each mode, the embedded one included,
// checks at the start what would fail later, and watches whether Redis answers. It also has the
// journal and the coalescer of requests.
//
// It does not know windows, tokens or accounts: packages window and account define the keys.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"replygate/config"
)

// Layout is the version of the key layout that this build writes (docs/redis.md).
const Layout = 1

// Client is an opened Redis.
type Client struct {
	redis.UniversalClient
	Embedded      *Embedded // nil for a real Redis
	Journal       *Journal
	Prefix        string
	Timeout       time.Duration // for one command; longer for the embedded Redis, which can only be slow
	up            atomic.Bool
	unanswered    atomic.Bool  // the last command failed
	pingTime      atomic.Int64 // of the last probe, ns
	changed       atomic.Int64 // when up changed, unix ms; 0: never
	skew          atomic.Int64 // how far its clock is ahead of ours, ms
	clocks        sync.Map     // :: node -> reading
	breakers      sync.Map     // :: address of a node -> breaker
	singleKeyOnly atomic.Bool  // a script may have only one key
	checked       atomic.Bool  // Redis has passed check
	sound         bool         // it has since the last outage; of watch alone
	unusable      string       // why it has not, as it was logged last
	state         atomic.Pointer[State]
	mode          string // redis.mode
	now           func() time.Time
	log           *zap.Logger
	stop          context.CancelFunc
	done          chan struct{}
}

// Open connects to Redis and checks it. If Redis is unreachable, Open succeeds and the gateway
// starts as in an outage; it fails if Redis is unusable (ErrUnusable) or a file cannot be opened.
// The caller must call Close.
func Open(ctx context.Context, c config.Redis, jc config.Journal, now func() time.Time, log *zap.Logger) (_ *Client, err error) {
	s := &Client{Prefix: c.Prefix, Timeout: c.Timeout, mode: c.Mode, log: log, now: now, done: make(chan struct{})}
	redis.SetLogger(discardLogger{})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	j, fresh, corrupt, err := OpenJournal(jc.Path, int64(jc.MaxBytes))
	if err != nil {
		return nil, err
	}
	s.Journal = j
	if corrupt > 0 {
		log.Error("the journal is damaged: the records from the damage on are lost, so history is incomplete from now on", zap.String("path", jc.Path), zap.Int64("bytes", corrupt))
	}
	if c.Mode == config.RedisEmbedded {
		if s.Embedded, err = openEmbedded(c, j, !fresh && corrupt == 0 && !j.Incomplete(), now, log); err != nil {
			return nil, err
		}
		s.Timeout = 5 * time.Second
	}
	options, err := s.options(c)
	if err != nil {
		return nil, err
	}
	s.UniversalClient = newClient(options)
	switch c := s.UniversalClient.(type) {
	case *redis.ClusterClient:
		c.OnNewNode(func(node *redis.Client) {
			s.guard(node)
		})
	default:
		if s.Embedded == nil {
			s.guard(c)
		} else {
			c.AddHook(journaling{s.Embedded})
		}
	}
	if err := s.check(ctx); errors.Is(err, ErrUnusable) {
		return nil, err
	} else if err != nil {
		log.Warn("redis is away; starting without it", zap.Error(err))
	} else {
		s.sound = true
		s.up.Store(true)
		s.probe(ctx)
		s.measureSkew(ctx)
		s.readState(ctx)
		s.warnIfNotDurable(ctx)
	}
	watch, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.watch(watch)
	return s, nil
}

// guard puts a circuit breaker before a Redis or a node of a Cluster.
func (s *Client) guard(c redis.UniversalClient) {
	b := newBreaker(s.commandFailed, s.commandAnswered)
	c.AddHook(b)
	s.breakers.Store(s.nodeName(c), b)
}

// newClient returns a client of a Cluster, or of a single Redis or its sentinels. A Cluster's
// client routes commands by their keys alone: with routing policies go-redis sends COMMAND first,
// while all requests wait, and again with every command if the user may not run it.
func newClient(o *redis.UniversalOptions) redis.UniversalClient {
	if !o.IsClusterMode {
		return redis.NewUniversalClient(o)
	}
	c := o.Cluster()
	c.DisableRoutingPolicies = true
	return redis.NewClusterClient(c)
}

// options returns the client's options: one attempt per command, deadlines from the context, and no
// commands that Redis 7.0 lacks.
func (s *Client) options(c config.Redis) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs:                 c.Addrs,
		MasterName:            c.MasterName,
		IsClusterMode:         c.Mode == config.RedisCluster,
		Username:              c.Username,
		Password:              c.Password.Reveal(),
		SentinelUsername:      c.SentinelUsername,
		SentinelPassword:      c.SentinelPassword.Reveal(),
		DB:                    c.DB,
		Protocol:              2, // RESP3 checks for push messages before every reply, and none are used
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           3 * s.Timeout, // round trips of TCP, TLS and the question to a sentinel; callers wait for their own timeout
		ReadTimeout:           s.Timeout,
		WriteTimeout:          s.Timeout,
		PoolTimeout:           s.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              64,
		ReadBufferSize:        8 << 10, // each connection keeps both
		WriteBufferSize:       8 << 10,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if c.Mode != config.RedisSentinel {
		o.MasterName = ""
	}
	if s.Embedded != nil {
		o.Addrs = []string{"embedded"}
		o.Dialer = func(context.Context, string, string) (net.Conn, error) { return s.Embedded.dial() }
	}
	if c.TLS {
		pool, err := config.CertPool(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redis.ca_file: %w", err)
		}
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	return o, nil
}

// Up reports whether Redis answered the last probe.
func (s *Client) Up() bool { return s.up.Load() }

// Close writes the embedded snapshot, and closes the connections and the journal.
func (s *Client) Close() error {
	s.stop()
	<-s.done
	return s.release()
}

func (s *Client) release() error {
	var all []error
	if s.UniversalClient != nil {
		all = append(all, s.UniversalClient.Close())
	}
	if s.Embedded != nil {
		all = append(all, s.Embedded.Close())
	}
	if s.Journal != nil {
		all = append(all, s.Journal.Close())
	}
	return errors.Join(all...)
}

// discardLogger keeps go-redis from writing to standard error. Its errors are returned anyway.
type discardLogger struct{}

func (discardLogger) Printf(context.Context, string, ...any) {}
