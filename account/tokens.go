package account

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// expiredFor is how long an expired token stays known: an SDK may send it once more, beside the one
// after it.
const expiredFor = 10 * time.Minute

// ErrOtherCorp tells that a token or a channel was not learnt: it belongs to another corp, and none
// ever moves.
var ErrOtherCorp = errors.New("it belongs to another corp already")

// Tokens remembers whose an access token is, and whose a channel: in the process, and in Redis for
// the other gateways. WeCom's tokens do not show their corp, so they are learnt as gettoken hands
// them out.
type Tokens struct {
	rdb     redis.UniversalClient
	prefix  string
	timeout time.Duration
	now     func() time.Time
	lookups *lookups

	tokens, channels owners
	named            nameCache
	callers          callers
}

// NewTokens keeps tokens and channels below prefix in rdb.
func NewTokens(rdb redis.UniversalClient, prefix string, timeout time.Duration, now func() time.Time) *Tokens {
	return &Tokens{
		rdb: rdb, prefix: prefix, timeout: timeout, now: now, lookups: newLookups(rdb),
		tokens: newOwners(), channels: newOwners(), named: newNamed(), callers: newCallers(),
	}
}

//go:embed claim.lua
var claimText string

var claimScript = redis.NewScript(claimText)

// Learn notes that a token belongs to a corp for the rest of its life. The process knows it even if
// Redis cannot be told. With ErrOtherCorp it stays the other corp's.
func (t *Tokens) Learn(ctx context.Context, token, corp string, life time.Duration) error {
	h := hashOf(token)
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	has, err := claimScript.Run(ctx, t.rdb, []string{t.tokenKey(h)}, corp, life.Milliseconds()).Text()
	if err != nil {
		err, has = fmt.Errorf("account: learn token: %w", err), corp
	}
	now := t.now()
	if t.tokens.remember(h, entry{corp: has, until: now.Add(life), after: expiredFor}, now) != corp {
		return ErrOtherCorp
	}
	return err
}

// Owner returns the corp that a token belongs to, "" exactly if it is not Known, and how long Redis
// had to be waited for.
func (t *Tokens) Owner(ctx context.Context, token string) (corp string, o Owner, waited time.Duration) {
	h, now := hashOf(token), t.now()
	corp, ask := t.tokens.find(h, now)
	switch {
	case corp != "":
		return corp, Known, 0
	case !ask:
		return "", Unknown, 0
	}
	found, o := t.ask(ctx, &t.tokens, h, t.tokenKey(h), now)
	if o != Known {
		return "", o, t.now().Sub(now)
	}
	k := entry{corp: found.corp, until: now.Add(found.life), after: expiredFor}
	if found.moves {
		k.after = 0
	}
	return t.tokens.remember(h, k, now), Known, t.now().Sub(now)
}

// ask asks Redis for what is not in memory.
func (t *Tokens) ask(ctx context.Context, of *owners, h hash, key string, now time.Time) (lookup, Owner) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	found, err := t.lookups.ask(ctx, key)
	switch {
	case err != nil:
		return lookup{}, Unreachable
	case found.corp == "":
		of.missed(h, now)
		return lookup{}, Unknown
	}
	return found, Known
}

func (t *Tokens) tokenKey(h hash) string { return t.prefix + "token:" + hex.EncodeToString(h[:]) }
