package account

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	channelTTL     = 30 * 24 * time.Hour // of a channel in Redis, from when it was last seen
	channelRefresh = 24 * time.Hour      // after which a cached channel is claimed or read again
	maxClaims      = 256                 // channels in one round trip
	maxChannels    = 10_000              // that are listed of a corp; WeCom allows 5,000
)

// LearnChannels records that channels belong to a corp: they were seen with a known token, or in a
// verified callback. It returns those that belong to another corp and stay there. If Redis fails,
// the error is returned; the rest is learnt when they are seen again.
func (t *Tokens) LearnChannels(ctx context.Context, corp string, channels []string) (others []string, err error) {
	now := t.now()
	var fresh []string
	for _, channel := range channels {
		switch owner, _ := t.channels.find(hashOf(channel), now); {
		case channel == "" || owner == corp:
		case owner != "":
			others = append(others, channel)
		case !slices.Contains(fresh, channel):
			fresh = append(fresh, channel)
		}
	}
	for chunk := range slices.Chunk(fresh, maxClaims) {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		foreign, err := t.claimChannels(ctx, corp, chunk, now)
		cancel()
		if err != nil {
			return others, err
		}
		others = append(others, foreign...)
	}
	return others, nil
}

// claimChannels claims channels for a corp in Redis, and caches their owners.
func (t *Tokens) claimChannels(ctx context.Context, corp string, channels []string, now time.Time) (others []string, err error) {
	p := t.rdb.Pipeline()
	claims := make([]*redis.Cmd, len(channels))
	for i, channel := range channels { // EVAL, since a pipeline cannot fall back from EVALSHA on NOSCRIPT
		claims[i] = claimScript.Eval(ctx, p, []string{t.channelKey(channel)}, corp, channelTTL.Milliseconds())
	}
	t.listChannels(ctx, p, corp, channels, now)
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("account: learn channels: %w", err)
	}
	var foreign []any
	for i, claim := range claims {
		owner, _ := claim.Text()
		if owner != corp {
			foreign = append(foreign, channels[i])
		}
		if t.channels.claim(hashOf(channels[i]), entry{corp: owner, until: now.Add(channelRefresh)}, now) != corp {
			others = append(others, channels[i])
		}
	}
	if len(foreign) > 0 {
		if err := t.rdb.ZRem(ctx, t.channelsKey(corp), foreign...).Err(); err != nil {
			return others, fmt.Errorf("account: learn channels: %w", err)
		}
	}
	return others, nil
}

// listChannels lists channels as a corp's, and drops those that were not seen for a month.
func (t *Tokens) listChannels(ctx context.Context, p redis.Pipeliner, corp string, channels []string, now time.Time) {
	key := t.channelsKey(corp)
	all := make([]redis.Z, len(channels))
	for i, channel := range channels {
		all[i] = redis.Z{Score: float64(now.UnixMilli()), Member: channel}
	}
	p.ZAdd(ctx, key, all...)
	p.ZRemRangeByScore(ctx, key, "-inf", fmt.Sprint(now.Add(-channelTTL).UnixMilli()))
	p.ZRemRangeByRank(ctx, key, 0, -maxChannels-1)
	p.PExpire(ctx, key, channelTTL)
}

// ChannelsOf returns the channels that were learnt to belong to a corp within the last month.
func (t *Tokens) ChannelsOf(ctx context.Context, corp string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	all, err := t.rdb.ZRangeByScore(ctx, t.channelsKey(corp), &redis.ZRangeBy{
		Min: fmt.Sprint(t.now().Add(-channelTTL).UnixMilli()), Max: "+inf",
	}).Result()
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, fmt.Errorf("account: channels of a corp: %w", err)
	}
	return all, nil
}

// OwnerOfChannel returns the corp that a channel was learnt to belong to, "" exactly if o is not
// Known.
func (t *Tokens) OwnerOfChannel(ctx context.Context, channel string) (corp string, o Owner) {
	h, now := hashOf(channel), t.now()
	corp, shouldLookup := t.channels.find(h, now)
	switch {
	case corp != "":
		return corp, Known
	case !shouldLookup:
		return "", Unknown
	}
	found, o := t.lookup(ctx, &t.channels, h, t.channelKey(channel), now)
	if o != Known {
		return "", o
	}
	e := entry{corp: found.corp, until: now.Add(min(found.ttl, channelRefresh))}
	return t.channels.claim(h, e, now), Known
}

// LearntChannel returns the corp that owns a channel as far as this process knows, without reading
// Redis; "" if it does not know.
func (t *Tokens) LearntChannel(channel string) (corp string) {
	corp, _ = t.channels.find(hashOf(channel), t.now())
	return corp
}

// channelKey returns the key of a channel, channelsKey that of the channels of a corp.
func (t *Tokens) channelKey(channel string) string { return t.idKey("channel:", channel) }
func (t *Tokens) channelsKey(corp string) string   { return t.idKey("channels:", corp) }

// idKey returns a key that ends in an id, with every byte outside [A-Za-z0-9_@.-] as %XX, like the
// ids in all keys.
func (t *Tokens) idKey(kind, id string) string {
	key := []byte(t.prefix + kind)
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '@', c == '.', c == '-':
			key = append(key, c)
		default:
			key = fmt.Appendf(key, "%%%02X", c)
		}
	}
	return string(key)
}
