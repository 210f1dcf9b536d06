// Package store is Redis itself: opening it in each of its modes, the embedded one included, and
// finding out at the start what would fail later.
//
// It knows no windows, tokens or accounts; what the keys mean is said in packages window and account.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
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

// Store is an opened Redis.
type Store struct {
	redis.UniversalClient
	Embedded *Embedded // nil for a real Redis
	Journal  *Journal
	Prefix   string
	Timeout  time.Duration // for one command; longer for the embedded one, which is never away, only busy
	up       atomic.Bool
	trouble  atomic.Int64 // when a command met an outage last, or another master came, unix ms; 0: never
	skew     atomic.Int64 // of its clock against ours, in ms
	renewed  chan struct{}
	serving  atomic.Pointer[[]string] // the masters at the last look, and those met since, by their run ids; nil: none yet
	now      func() time.Time
	log      *zap.Logger
	stop     context.CancelFunc
	done     chan struct{}
}

// ErrUnfit says that Redis answers but cannot serve: wrong credentials, missing rights, a newer layout,
// or a memory policy that throws windows away. A start must end with it; an outage is no ErrUnfit.
var ErrUnfit = errors.New("this Redis cannot serve")

// Open connects to Redis and checks it. An unreachable Redis is no error: the gateway starts as in an
// outage. Close must be called.
func Open(ctx context.Context, c config.Redis, jc config.Journal, now func() time.Time, log *zap.Logger) (_ *Store, err error) {
	s := &Store{Prefix: c.Prefix, Timeout: c.Timeout, log: log, now: now, renewed: make(chan struct{}, 1), done: make(chan struct{})}
	redis.SetLogger(silent{})
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
		c.OnNewNode(func(node *redis.Client) { node.AddHook(newBreaker(s.inTrouble, s.renew)) })
	default:
		if s.Embedded == nil {
			c.AddHook(newBreaker(s.inTrouble, s.renew))
		} else {
			c.AddHook(journaling{s.Embedded})
		}
	}
	if err := s.check(ctx); errors.Is(err, ErrUnfit) {
		return nil, err
	} else if err != nil {
		log.Warn("redis is away; starting without it", zap.Error(err))
	} else {
		s.up.Store(true)
		s.lookAtMasters(ctx)
		if err := s.checkDisk(ctx); errors.Is(err, errForgetful) {
			log.Warn("redis: " + err.Error() + ": " + forgetfulRemedy)
		}
	}
	watch, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.watch(watch)
	return s, nil
}

// newClient is that of a Cluster, or of a single Redis or its sentinels. A Cluster's goes by the keys of commands alone. Else go-redis would ask for
// COMMAND first, while all others wait, and again with every command if the user may not.
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
func (s *Store) options(c config.Redis) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs:                 c.Addrs,
		MasterName:            c.MasterName,
		IsClusterMode:         c.Mode == config.RedisCluster,
		Username:              c.Username,
		Password:              c.Password.Reveal(),
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
	o.OnConnect = s.greet
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
func (s *Store) Up() bool { return s.up.Load() }

// Close writes the embedded snapshot and closes the connections.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	return s.release()
}

func (s *Store) release() error {
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

// doubtFor is how long after an outage Redis may lack facts that were acknowledged: gateways write what their
// journals hold, and after a failover the last minute again, within a second or two.
const doubtFor = 5 * time.Second

// Doubtful tells whether Redis was away within the last seconds, even for one command.
func (s *Store) Doubtful() bool {
	at := s.trouble.Load()
	return at != 0 && time.Since(time.UnixMilli(at)) < doubtFor
}

func (s *Store) inTrouble() { s.trouble.Store(time.Now().UnixMilli()) }

// Renewed says that Redis is back, or has another master than before: what it acknowledged last may be lost.
func (s *Store) Renewed() <-chan struct{} { return s.renewed }

// Skew is how far Redis's clock is ahead of the gateway's.
func (s *Store) Skew() time.Duration { return time.Duration(s.skew.Load()) * time.Millisecond }

// maxSkew is the difference of clocks from which on the log says so.
const maxSkew = time.Second

// watch asks Redis every second and says each change of its state once.
func (s *Store) watch(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		probe, cancel := context.WithTimeout(ctx, 2*time.Second)
		s.probe(probe)
		if s.up.Load() {
			s.lookAtMasters(probe)
			s.measureSkew(probe)
		}
		cancel()
	}
}

// probe finds out whether Redis serves.
func (s *Store) probe(ctx context.Context) {
	var err error
	if s.up.Load() {
		err = s.ping(ctx)
	} else {
		err = s.check(ctx)
	}
	if ctx.Err() == context.Canceled {
		return
	}
	if err == nil && !s.up.Load() {
		s.renew()
	}
	if was := s.up.Swap(err == nil); was && err != nil {
		s.log.Error("redis is away", zap.Error(err))
	} else if !was && err == nil {
		s.log.Info("redis is back")
	}
}

// renew notes that Redis may have lost what it acknowledged last.
func (s *Store) renew() {
	s.inTrouble()
	select {
	case s.renewed <- struct{}{}:
	default: // it is said already
	}
}

// ping asks every master: a Cluster without one of them is not whole.
func (s *Store) ping(ctx context.Context) error {
	return s.eachMaster(ctx, func(ctx context.Context, c redis.Cmdable) error { return c.Ping(ctx).Err() })
}

func (s *Store) eachMaster(ctx context.Context, ask func(context.Context, redis.Cmdable) error) error {
	if c, ok := s.UniversalClient.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return ask(ctx, c) })
	}
	return ask(ctx, s.UniversalClient)
}

// master is one of them: a Cluster would send what has no key to any node, also to one that is dead and has no slots.
func (s *Store) master(ctx context.Context) (redis.Cmdable, error) {
	c, ok := s.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return s.UniversalClient, nil
	}
	master, err := c.MasterForKey(ctx, s.Prefix)
	if err != nil {
		return nil, err
	}
	return master, nil
}

// lookAtMasters notices that one serves that was not known at the last look.
func (s *Store) lookAtMasters(ctx context.Context) {
	now := s.masters(ctx)
	if now == nil {
		return
	}
	before := s.serving.Swap(&now)
	if before != nil && slices.ContainsFunc(now, func(id string) bool { return !slices.Contains(*before, id) }) {
		s.renew()
	}
}

// greet notices on a new connection that it leads to a master that is not known, before any answer comes through it: one that
// was restarted in a moment is met without a single command that fails.
func (s *Store) greet(ctx context.Context, c *redis.Conn) error {
	known := s.serving.Load()
	if known == nil {
		return nil
	}
	info, err := c.Info(ctx, "server", "replication").Result()
	if err != nil {
		return nil // it may be forbidden; an outage shows with the next command
	}
	if id := infoField(info, "run_id"); infoField(info, "role") == "master" && !slices.Contains(*known, id) {
		more := append(slices.Clone(*known), id)
		s.serving.CompareAndSwap(known, &more)
		s.renew()
	}
	return nil
}

// infoField is a field of an answer to INFO, "" if it has none.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// masters are the run ids of the processes that serve as masters, nil if Redis does not say.
func (s *Store) masters(ctx context.Context) (ids []string) {
	if s.Embedded != nil {
		return nil
	}
	var mu sync.Mutex
	err := s.eachMaster(ctx, func(ctx context.Context, c redis.Cmdable) error {
		info, err := c.Info(ctx, "server").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, infoField(info, "run_id"))
		return nil
	})
	if err != nil {
		return nil
	}
	return ids
}

// measureSkew compares clocks, and says once that they differ.
func (s *Store) measureSkew(ctx context.Context) {
	if s.Embedded != nil {
		return
	}
	skew, err := s.askSkew(ctx)
	if err != nil {
		return
	}
	was := s.Skew().Abs() >= maxSkew
	if s.skew.Store(skew.Milliseconds()); skew.Abs() >= maxSkew && !was {
		s.log.Error("redis's clock and this machine's differ: set both by NTP", zap.Duration("ahead", skew))
	}
}

// askSkew is how far Redis's clock is ahead just now.
func (s *Store) askSkew(ctx context.Context) (time.Duration, error) {
	c, err := s.master(ctx)
	if err != nil {
		return 0, err
	}
	before := s.now()
	theirs, err := c.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	return theirs.Sub(before.Add(s.now().Sub(before) / 2)), nil
}

// check asks for all that the gateway needs of Redis. An error that is not ErrUnfit is an outage.
func (s *Store) check(ctx context.Context) error {
	if err := s.ping(ctx); err != nil {
		return refused(err, "redis.username and redis.password")
	}
	key := s.Prefix + "layout"
	if err := s.SetNX(ctx, key, Layout, 0).Err(); err != nil {
		return refused(err, "the rights of redis.username on keys "+s.Prefix+"*")
	}
	text, err := s.Get(ctx, key).Result()
	if err != nil {
		return refused(err, "the rights of redis.username on keys "+s.Prefix+"*")
	}
	if err := checkLayout(key, text); err != nil {
		return err
	}
	return s.checkEviction(ctx)
}

func checkLayout(key, text string) error {
	if v, err := strconv.Atoi(text); err != nil || v > Layout {
		return fmt.Errorf("%w: %s is %q, newer than the layout %d of this build: upgrade the gateway, or set another redis.prefix", ErrUnfit, key, text, Layout)
	}
	return nil
}

// checkEviction refuses a memory policy that drops keys, of any master. Where CONFIG is not allowed nothing is known,
// and nothing said.
func (s *Store) checkEviction(ctx context.Context) error {
	return s.eachMaster(ctx, func(ctx context.Context, c redis.Cmdable) error {
		settings, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
		if err != nil {
			return nil
		}
		if policy := settings["maxmemory-policy"]; policy != "" && policy != "noeviction" {
			return fmt.Errorf("%w: its maxmemory-policy is %s, which drops windows when memory is short: set it to noeviction", ErrUnfit, policy)
		}
		return nil
	})
}

// errForgetful says that a Redis that crashes comes back without what it acknowledged last.
var errForgetful = errors.New("appendonly is off: a crash loses what was not saved, and records may count as incomplete for two days")

const forgetfulRemedy = "set appendonly yes"

// checkDisk is errForgetful if a master does not write every change to its disk. Any other error: it does not say.
func (s *Store) checkDisk(ctx context.Context) error {
	if s.Embedded != nil {
		return nil
	}
	return s.eachMaster(ctx, func(ctx context.Context, c redis.Cmdable) error {
		info, err := c.Info(ctx, "persistence").Result()
		if err == nil && infoField(info, "aof_enabled") == "0" {
			err = errForgetful
		}
		return err
	})
}

// refused tells a refusal of Redis from an outage.
func refused(err error, setting string) error {
	for _, word := range []string{"WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR invalid password"} {
		if strings.Contains(err.Error(), word) {
			return fmt.Errorf("%w: it says %s: check %s", ErrUnfit, word, setting)
		}
	}
	return err
}

// silent keeps go-redis from writing to standard error by itself: its errors come back to us anyway.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
