package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"replygate/config"
)

// Finding is the result of one test of Inspect. A Finding that is OK may still have a Remedy: the
// gateway works, and could work better.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Says   string `json:"says"`
	Remedy string `json:"remedy,omitempty"`
}

// Inspect tests everything that the gateway needs from a Redis, and leaves nothing behind that does
// not expire. If Redis cannot be reached, that is the only Finding. An error means that the
// configuration cannot be used.
func Inspect(ctx context.Context, c config.Redis, now func() time.Time) ([]Finding, error) {
	if c.Mode == config.RedisEmbedded {
		return []Finding{{Name: "reach", OK: true, Says: "the embedded store is inside the gateway"}}, nil
	}
	redis.SetLogger(discardLogger{})
	s := &Client{Prefix: c.Prefix, Timeout: c.Timeout, now: now}
	options, err := s.options(c)
	if err != nil {
		return nil, err
	}
	s.UniversalClient = newClient(options)
	defer s.UniversalClient.Close()
	if err := s.reach(ctx); err != nil {
		return []Finding{finding("reach", "", err, "check redis.mode, redis.addrs, redis.tls, and redis.username with redis.password")}, nil
	}
	all := []Finding{{Name: "reach", OK: true, Says: c.Mode + " at " + strings.Join(c.Addrs, ", ")}}
	for _, test := range []func(context.Context) Finding{s.version, s.rights, s.scripts, s.eviction, s.disk, s.clock, s.layout} {
		all = append(all, test(ctx))
	}
	return all, nil
}

func finding(name, says string, err error, remedy string) Finding {
	if err != nil {
		return Finding{Name: name, Says: err.Error(), Remedy: remedy}
	}
	return Finding{Name: name, OK: true, Says: says}
}

// minVersion is the oldest major version of Redis that the gateway is tested with.
const minVersion = 7

func (s *Client) version(ctx context.Context) Finding {
	var info string
	c, err := s.primary(ctx)
	if err == nil {
		info, err = c.Info(ctx, "server").Result()
	}
	if err != nil {
		return finding("version", "unknown, since INFO is not allowed: a failover is noticed later", nil, "")
	}
	text, major := cmp.Or(infoField(info, "redis_version"), "unknown"), minVersion
	_, _ = fmt.Sscanf(text, "%d.", &major)
	if major < minVersion {
		err = errors.New("it is " + text)
	}
	return finding("version", text, err, fmt.Sprintf("the gateway needs Redis %d.0 or newer", minVersion))
}

func (s *Client) rights(ctx context.Context) Finding {
	key := s.Prefix + "check:{live}"
	_, err := s.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, key, "last", 1)
		p.PExpireAt(ctx, key, s.now().Add(time.Minute))
		p.HMGet(ctx, key, "last")
		p.Del(ctx, key)
		return nil
	})
	if err == nil {
		err = s.eachPrimary(ctx, func(ctx context.Context, c redis.UniversalClient) error {
			return c.Scan(ctx, 0, s.Prefix+"check:*", 10).Err()
		})
	}
	return finding("rights", "reads and writes "+s.Prefix+"*", err, "let redis.username read and write keys "+s.Prefix+"* and SCAN (docs/redis.md)")
}

func (s *Client) scripts(ctx context.Context) Finding {
	err := countKeys.Run(ctx, s, []string{s.Prefix + "check:{live}"}).Err()
	if err == nil {
		err = s.checkMultiKey(ctx)
	}
	says := "EVAL and EVALSHA"
	if !s.MultiKey() {
		says += " of one key at a time, as through a sharding proxy: replies are counted one by one"
	}
	return finding("scripts", says, err, "let redis.username run EVAL and EVALSHA")
}

func (s *Client) eviction(ctx context.Context) Finding {
	return finding("eviction", "keys are not evicted, or CONFIG is not allowed", s.checkEviction(ctx), "set maxmemory-policy to noeviction")
}

func (s *Client) disk(ctx context.Context) Finding {
	if err := s.checkDurable(ctx); errors.Is(err, errNotDurable) {
		return Finding{Name: "disk", OK: true, Says: err.Error(), Remedy: notDurableRemedy}
	} else if err != nil {
		return finding("disk", "unknown, since INFO is not allowed", nil, "")
	}
	return finding("disk", "every change is written to it", nil, "")
}

func (s *Client) clock(ctx context.Context) Finding {
	skew, err := s.readClocks(ctx)
	if err != nil {
		return finding("clock", "unknown, since TIME is not allowed", nil, "")
	}
	if skew.Abs() >= maxSkew {
		err = fmt.Errorf("it is %s ahead of this machine's", skew.Round(time.Millisecond))
	}
	return finding("clock", fmt.Sprintf("%s ahead of this machine's", skew.Round(time.Millisecond)), err, "set both machines' clocks by NTP")
}

func (s *Client) layout(ctx context.Context) Finding {
	text, err := s.Get(ctx, s.Prefix+"layout").Result()
	if errors.Is(err, redis.Nil) {
		return finding("layout", "none yet", nil, "")
	}
	if err == nil {
		err = checkLayout(s.Prefix+"layout", text)
	}
	return finding("layout", text, err, "upgrade the gateway, or set another redis.prefix")
}
