package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnusable is returned if Redis answers but cannot serve: wrong credentials, missing rights, a
// newer layout, or a memory policy that evicts windows. The start must fail then. An outage is not
// ErrUnusable.
var ErrUnusable = errors.New("this Redis cannot serve")

// check tests everything that the gateway needs from Redis. An error that is not ErrUnusable is an
// outage.
func (s *Client) check(ctx context.Context) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	key := s.Prefix + "layout"
	if err := s.SetNX(ctx, key, Layout, 0).Err(); err != nil {
		return asUnusable(err, "the rights of redis.username on keys "+s.Prefix+"*")
	}
	text, err := s.Get(ctx, key).Result()
	if err != nil {
		return asUnusable(err, "the rights of redis.username on keys "+s.Prefix+"*")
	}
	if err := checkLayout(key, text); err != nil {
		return err
	}
	if err := s.checkEviction(ctx); err != nil {
		return err
	}
	if err := s.checkMultiKey(ctx); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// reach is the first ping, which also tests the credentials.
func (s *Client) reach(ctx context.Context) error {
	_, err := s.ping(ctx)
	switch {
	case err == nil:
		return nil
	case fromSentinels(err): // no master is known yet
		return asUnusable(err, "redis.sentinel_username and redis.sentinel_password")
	}
	return asUnusable(err, "redis.username and redis.password")
}

// checkLayout fails if a newer build wrote the layout, or the value is no number.
func checkLayout(key, text string) error {
	if v, err := strconv.Atoi(text); err != nil || v > Layout {
		return fmt.Errorf("%w: %s is %q, newer than the layout %d of this build: upgrade the gateway, or set another redis.prefix", ErrUnusable, key, text, Layout)
	}
	return nil
}

// checkEviction fails if any primary may evict keys. Where CONFIG is not allowed it succeeds.
func (s *Client) checkEviction(ctx context.Context) error {
	return s.eachPrimary(ctx, func(ctx context.Context, c redis.UniversalClient) error {
		settings, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
		if err != nil {
			return nil
		}
		if policy := settings["maxmemory-policy"]; policy != "" && policy != "noeviction" {
			return fmt.Errorf("%w: its maxmemory-policy is %s, which drops windows when memory is short: set it to noeviction", ErrUnusable, policy)
		}
		return nil
	})
}

// countKeys counts how many of its keys exist.
var countKeys = redis.NewScript("local n = 0 for i = 1, #KEYS do n = n + redis.call('EXISTS', KEYS[i]) end return n")

// checkMultiKey tests whether scripts may be run, and with several keys. A sharding proxy either
// rejects such a script or runs it on the shard of the first key, where the other keys are missing.
// One pipeline has all of it, so that a failover meanwhile does not look like a proxy.
func (s *Client) checkMultiKey(ctx context.Context) error {
	if s.Embedded != nil {
		return nil
	}
	keys := make([]string, 16) // all on one of two shards: a chance of 1 in 32,768
	if _, cluster := s.UniversalClient.(*redis.ClusterClient); cluster {
		keys = keys[:1]
	}
	sets := make([]*redis.StatusCmd, len(keys))
	p := s.Pipeline()
	for i := range keys {
		keys[i] = s.Prefix + "check:" + strconv.Itoa(i)
		sets[i] = p.Set(ctx, keys[i], 1, 10*time.Second)
	}
	count := countKeys.Eval(ctx, p, keys)
	_, _ = p.Exec(ctx) // each command has its own error
	for _, set := range sets {
		if err := set.Err(); err != nil {
			return asUnusable(err, "the rights of redis.username on keys "+s.Prefix+"*")
		}
	}
	n, err := count.Int()
	switch class := Classify(err); {
	case class.Has(Unusable):
		return asUnusable(err, "the right of redis.username to run EVAL and EVALSHA")
	case err != nil && !class.Has(Rejected), class.Has(Outage): // so it says nothing about a proxy
		return err
	}
	s.singleKeyOnly.Store(n != len(keys))
	return nil
}

// MultiKey reports whether a script may have several keys. It has no meaning in a Cluster.
func (s *Client) MultiKey() bool { return !s.singleKeyOnly.Load() }

// errNotDurable means that Redis loses its most recent writes in a crash.
var errNotDurable = errors.New("appendonly is off: a crash loses what was not saved, and records may count as incomplete for two days")

const notDurableRemedy = "set appendonly yes"

// checkDurable returns errNotDurable if a primary does not write every change to its disk. Any
// other error means that this is unknown.
func (s *Client) checkDurable(ctx context.Context) error {
	if s.Embedded != nil {
		return nil
	}
	return s.eachPrimary(ctx, func(ctx context.Context, c redis.UniversalClient) error {
		info, err := c.Info(ctx, "persistence").Result()
		if err == nil && infoField(info, "aof_enabled") == "0" {
			err = errNotDurable
		}
		return err
	})
}

func (s *Client) warnIfNotDurable(ctx context.Context) {
	if err := s.checkDurable(ctx); errors.Is(err, errNotDurable) {
		s.log.Warn("redis: " + err.Error() + ": " + notDurableRemedy)
	}
}

// asUnusable wraps an error of the class Unusable in ErrUnusable, and names the setting to check.
func asUnusable(err error, setting string) error {
	if reply := unusableReply(err); reply != "" {
		return fmt.Errorf("%w: it says %s: check %s", ErrUnusable, reply, setting)
	}
	return err
}
