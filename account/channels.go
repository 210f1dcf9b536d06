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
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("account: learn channels: %w", err)
	}
	for i, claim := range claims {
		owner, _ := claim.Text()
		if t.channels.claim(hashOf(channels[i]), entry{corp: owner, until: now.Add(channelRefresh)}, now) != corp {
			others = append(others, channels[i])
		}
	}
	return others, nil
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

// channelKey returns the key of a channel, with every byte outside [A-Za-z0-9_@.-] as %XX, like the
// ids in all keys.
func (t *Tokens) channelKey(channel string) string {
	key := []byte(t.prefix + "channel:")
	for i := range len(channel) {
		switch c := channel[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '@', c == '.', c == '-':
			key = append(key, c)
		default:
			key = fmt.Appendf(key, "%%%02X", c)
		}
	}
	return string(key)
}
