package account

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	keepChannel  = 30 * 24 * time.Hour // for which Redis knows whose a channel is after it was seen last
	renewChannel = 24 * time.Hour      // how often that is told to Redis anew, and asked
	maxClaims    = 256                 // channels in one round trip
)

// LearnChannels notes that channels belong to a corp: they were seen with a token that is known, or
// in a callback that was verified. It returns those that belong to another corp, and stay there.
// What Redis does not take is told again with the next page.
func (t *Tokens) LearnChannels(ctx context.Context, corp string, channels []string) (others []string, err error) {
	now := t.now()
	var fresh []string
	for _, channel := range channels {
		switch has, _ := t.channels.find(hashOf(channel), now); {
		case channel == "" || has == corp:
		case has != "":
			others = append(others, channel)
		case !slices.Contains(fresh, channel):
			fresh = append(fresh, channel)
		}
	}
	for some := range slices.Chunk(fresh, maxClaims) {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		not, failed := t.claimChannels(ctx, corp, some, now)
		cancel()
		if failed != nil {
			return others, failed
		}
		others = append(others, not...)
	}
	return others, nil
}

// claimChannels tells Redis whose channels are.
func (t *Tokens) claimChannels(ctx context.Context, corp string, channels []string, now time.Time) (others []string, err error) {
	p := t.rdb.Pipeline()
	claims := make([]*redis.Cmd, len(channels))
	for i, channel := range channels { // with the text of the script: in a pipeline nothing tells that Redis lacks it
		claims[i] = claimScript.Eval(ctx, p, []string{t.channelKey(channel)}, corp, keepChannel.Milliseconds())
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, fmt.Errorf("account: learn channels: %w", err)
	}
	for i, claim := range claims {
		has, _ := claim.Text()
		if t.channels.remember(hashOf(channels[i]), entry{corp: has, until: now.Add(renewChannel)}, now) != corp {
			others = append(others, channels[i])
		}
	}
	return others, nil
}

// OwnerOfChannel returns the corp that a channel was learnt to belong to, "" exactly if it is not
// Known.
func (t *Tokens) OwnerOfChannel(ctx context.Context, channel string) (corp string, o Owner) {
	h, now := hashOf(channel), t.now()
	corp, ask := t.channels.find(h, now)
	switch {
	case corp != "":
		return corp, Known
	case !ask:
		return "", Unknown
	}
	found, o := t.ask(ctx, &t.channels, h, t.channelKey(channel), now)
	if o != Known {
		return "", o
	}
	return t.channels.remember(h, entry{corp: found.corp, until: now.Add(min(found.life, renewChannel))}, now), Known
}

// LearntChannel is OwnerOfChannel as far as the process knows by itself.
func (t *Tokens) LearntChannel(channel string) (corp string) {
	corp, _ = t.channels.find(hashOf(channel), t.now())
	return corp
}

// channelKey escapes every byte outside [A-Za-z0-9_@.-], as all keys do with ids.
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
