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

// expiredGrace is how long an expired token stays known: an SDK may still send it after it has
// fetched the next one.
const expiredGrace = 10 * time.Minute

// ErrOtherCorp reports that a token or a channel was not learnt because it belongs to another corp.
// It never changes its owner.
var ErrOtherCorp = errors.New("it belongs to another corp already")

// Tokens knows which corps own access tokens and channels. It caches them in memory and shares them
// with other gateways through Redis, tokens under their SHA-256. WeCom's tokens do not contain
// their corp, so the gateway learns them from the answers of gettoken. It is safe for concurrent
// use. Run must run.
type Tokens struct {
	rdb     redis.UniversalClient
	prefix  string
	timeout time.Duration
	now     func() time.Time
	redis   *resolver

	tokens, channels owners
	unshared         unshared
	named            nameCache
	callers          callerCounts
}

// NewTokens returns Tokens with keys prefix+"token:…" and prefix+"channel:…" in rdb. timeout limits
// each exchange with Redis.
func NewTokens(rdb redis.UniversalClient, prefix string, timeout time.Duration, now func() time.Time) *Tokens {
	return &Tokens{
		rdb: rdb, prefix: prefix, timeout: timeout, now: now, redis: newResolver(rdb),
		tokens: newOwners(), channels: newOwners(), unshared: newUnshared(), named: newNameCache(), callers: newCallerCounts(),
	}
}

//go:embed claim.lua
var claimText string

var claimScript = redis.NewScript(claimText)

// Learn records that a token belongs to a corp for the rest of its life. If Redis fails, the error
// is returned, but this process knows the token, and Run shares it once Redis answers. With
// ErrOtherCorp the token stays another corp's.
func (t *Tokens) Learn(ctx context.Context, token, corp string, life time.Duration) error {
	h := hashOf(token)
	owner, err := t.claim(ctx, h, corp, life)
	if err != nil {
		err, owner = fmt.Errorf("account: learn token: %w", err), corp
	}
	now := t.now()
	until := now.Add(life)
	if t.tokens.claim(h, entry{corp: owner, until: until, grace: expiredGrace}, now) != corp {
		return ErrOtherCorp
	}
	if err != nil { // until the bot fetches a token again, no other gateway would learn this one
		t.unshared.add(unsharedToken{h, corp, until})
	}
	return err
}

// claim records a token in Redis, unless another corp has it, and returns its owner.
func (t *Tokens) claim(ctx context.Context, h hash, corp string, life time.Duration) (owner string, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	return claimScript.Run(ctx, t.rdb, []string{t.tokenKey(h)}, corp, life.Milliseconds()).Text()
}

// Owner returns the corp that a token belongs to, "" exactly if o is not Known, and how long the
// lookup in Redis took.
func (t *Tokens) Owner(ctx context.Context, token string) (corp string, o Owner, waited time.Duration) {
	return t.owner(ctx, hashOf(token))
}

// KnownOwner returns the corp that owns a token as far as this process knows, "" if it does not. It
// asks nobody.
func (t *Tokens) KnownOwner(token string) string {
	corp, _ := t.tokens.find(hashOf(token), t.now())
	return corp
}

// HashToken returns the hash of a token for OwnerOfHash, so that the token itself need not be kept.
func HashToken(token string) string {
	h := hashOf(token)
	return hex.EncodeToString(h[:])
}

// OwnerOfHash is Owner for a token of which only its hash is known.
func (t *Tokens) OwnerOfHash(ctx context.Context, hashed string) (corp string, o Owner) {
	b, err := hex.DecodeString(hashed)
	if err != nil || len(b) != len(hash{}) {
		return "", Unknown
	}
	corp, o, _ = t.owner(ctx, hash(b))
	return corp, o
}

func (t *Tokens) owner(ctx context.Context, h hash) (corp string, o Owner, waited time.Duration) {
	now := t.now()
	corp, shouldLookup := t.tokens.find(h, now)
	switch {
	case corp != "":
		return corp, Known, 0
	case !shouldLookup:
		return "", Unknown, 0
	}
	found, o := t.lookup(ctx, &t.tokens, h, t.tokenKey(h), now)
	if o != Known {
		return "", o, t.now().Sub(now)
	}
	e := entry{corp: found.corp, until: now.Add(found.ttl), grace: expiredGrace}
	if found.persistent {
		e.grace = 0
	}
	return t.tokens.claim(h, e, now), Known, t.now().Sub(now)
}

// lookup reads the owner of h from Redis, and records in cache if there is none.
func (t *Tokens) lookup(ctx context.Context, cache *owners, h hash, key string, now time.Time) (ownerRecord, Owner) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	found, err := t.redis.read(ctx, key)
	switch {
	case err != nil:
		return ownerRecord{}, Unreachable
	case found.corp == "":
		cache.noteUnknown(h, now)
		return ownerRecord{}, Unknown
	}
	return found, Known
}

func (t *Tokens) tokenKey(h hash) string { return t.prefix + "token:" + hex.EncodeToString(h[:]) }
