// Package store is Redis itself: opening it in each of its modes, the embedded one included, and
// finding out at the start what would fail later.
//
// It knows no windows, tokens or accounts; what the keys mean is said in packages window and
// account.
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
	Timeout       time.Duration // for one command; longer for the embedded one, which is never away, only busy
	up            atomic.Bool
	lastFailure   atomic.Int64 // when a command met an outage last, or another master came, unix ms; 0: never
	unanswered    atomic.Bool  // the last command met an outage
	skew          atomic.Int64 // of its clock against ours, in ms
	clocks        sync.Map     // of reading, by node
	singleKeyOnly atomic.Bool  // a script may have one key alone
	recovered     chan struct{}
	knownRunIDs   atomic.Pointer[[]string] // the masters at the last look, and those met since, by their run ids; nil: none yet
	now           func() time.Time
	log           *zap.Logger
	stop          context.CancelFunc
	done          chan struct{}
}

// Open connects to Redis and checks it. An unreachable Redis is no error: the gateway starts as in
// an outage. Close must be called.
func Open(ctx context.Context, c config.Redis, jc config.Journal, now func() time.Time, log *zap.Logger) (_ *Client, err error) {
	s := &Client{Prefix: c.Prefix, Timeout: c.Timeout, log: log, now: now, recovered: make(chan struct{}, 1), done: make(chan struct{})}
	redis.SetLogger(discardLogger{})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	j, fresh, lost, err := OpenJournal(jc.Path, int64(jc.MaxBytes))
	if err != nil {
		return nil, err
	}
	s.Journal = j
	if lost > 0 {
		log.Error("the journal is damaged: what stood behind is lost", zap.String("path", jc.Path), zap.Int64("bytes", lost))
	}
	if c.Mode == config.RedisEmbedded {
		if s.Embedded, err = openEmbedded(c, j, !fresh && lost == 0, now); err != nil {
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
			node.AddHook(newBreaker(s.commandFailed, s.commandAnswered, s.signalRecovered))
		})
	default:
		if s.Embedded == nil {
			c.AddHook(newBreaker(s.commandFailed, s.commandAnswered, s.signalRecovered))
		} else {
			c.AddHook(journaling{s.Embedded})
		}
	}
	if err := s.check(ctx); errors.Is(err, ErrUnusable) {
		return nil, err
	} else if err != nil {
		log.Warn("redis is away; starting without it", zap.Error(err))
	} else {
		s.up.Store(true)
		s.checkPrimaries(ctx)
		s.measureSkew(ctx)
		s.warnIfNotDurable(ctx)
	}
	watch, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.watch(watch)
	return s, nil
}

// newClient is that of a Cluster, or of a single Redis or its sentinels. A Cluster's goes by the
// keys of commands alone. Else go-redis would ask for COMMAND first, while all others wait, and
// again with every command if the user may not.
func newClient(o *redis.UniversalOptions) redis.UniversalClient {
	if !o.IsClusterMode {
		return redis.NewUniversalClient(o)
	}
	c := o.Cluster()
	c.DisableRoutingPolicies = true
	return redis.NewClusterClient(c)
}

// options are those that a proxy's budget asks for: one attempt, deadlines from the context, no
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
		Protocol:              2, // the third looks for pushes before every answer, and nothing here is pushed
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           s.Timeout,
		ReadTimeout:           s.Timeout,
		WriteTimeout:          s.Timeout,
		PoolTimeout:           s.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              64,
		ReadBufferSize:        8 << 10, // a connection has both for good
		WriteBufferSize:       8 << 10,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if c.Mode != config.RedisSentinel {
		o.MasterName = ""
	}
	o.OnConnect = s.onConnect
	if s.Embedded != nil {
		o.OnConnect, o.Addrs = nil, []string{"embedded"}
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

// Up tells whether Redis answered when last asked.
func (s *Client) Up() bool { return s.up.Load() }

// Close writes the embedded snapshot and closes the connections.
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

// unanswered keeps go-redis from writing to standard error by itself: its errors come back to us
// anyway.
type discardLogger struct{}

func (discardLogger) Printf(context.Context, string, ...any) {}
