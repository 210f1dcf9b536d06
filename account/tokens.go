package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Owner is what is known of an access token.
type Owner uint8

// What is known of a token.
const (
	Unknown     Owner = iota // nobody learnt it
	Known                    // its corp is known
	Unreachable              // not in memory, and Redis does not answer
)

const (
	maxTokens  = 100_000 // remembered in the process, in all
	maxUnknown = 10_000

	// reauthFor is how long a strange token is answered as an expired one, from first sight: long enough
	// for an SDK to fetch a new one, short enough that none can repeat for ever.
	reauthFor = 3 * time.Second
	// strangeFor is how long a token stays strange before it may be answered as expired once more.
	strangeFor = time.Minute
	// askEvery is how often Redis is asked for a strange token that did not come back renewed.
	askEvery = time.Second
)

// Tokens remembers whose an access token is: in the process, and hashed in Redis for the other
// gateways. WeCom's tokens do not show their corp, so they are learnt as gettoken hands them out.
type Tokens struct {
	rdb     redis.UniversalClient
	prefix  string
	timeout time.Duration
	now     func() time.Time

	mu      sync.Mutex
	known   map[hash]owned
	strange map[hash]sighting
}

type hash [sha256.Size]byte

func hashOf(token string) hash {
	var space [512]byte // longer than WeCom's tokens
	return sha256.Sum256(append(space[:0], token...))
}

type owned struct {
	corp    string
	expires time.Time
}

type sighting struct{ first, asked time.Time }

// NewTokens keeps tokens below prefix in rdb.
func NewTokens(rdb redis.UniversalClient, prefix string, timeout time.Duration, now func() time.Time) *Tokens {
	return &Tokens{
		rdb: rdb, prefix: prefix, timeout: timeout, now: now,
		known: map[hash]owned{}, strange: map[hash]sighting{},
	}
}

// Learn notes that a token belongs to a corp for the rest of its life. The process knows it even if
// Redis cannot be told.
func (t *Tokens) Learn(ctx context.Context, token, corp string, life time.Duration) error {
	h := hashOf(token)
	t.mu.Lock()
	t.remember(h, owned{corp: corp, expires: t.now().Add(life)})
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	if err := t.rdb.Set(ctx, t.key(h), corp, life).Err(); err != nil {
		return fmt.Errorf("account: learn token: %w", err)
	}
	return nil
}

// Owner returns the corp that a token belongs to, "" exactly if it is not Known, and how long Redis had to be waited for.
func (t *Tokens) Owner(ctx context.Context, token string) (corp string, o Owner, waited time.Duration) {
	h, now := hashOf(token), t.now()
	if corp, ok := t.inMemory(h, now); ok {
		return corp, Known, 0
	}
	if !t.worthAsking(h, now) {
		return "", Unknown, 0
	}
	corp, o = t.ask(ctx, h)
	return corp, o, t.now().Sub(now)
}

const (
	endless    = -1          // what PTTL says of a key that does not expire
	endlessFor = time.Minute // for which it is believed: somebody set it by hand, and may set it anew
)

// ask is Owner for a token that only Redis can know.
func (t *Tokens) ask(ctx context.Context, h hash) (corp string, o Owner) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	p := t.rdb.Pipeline()
	get, ttl := p.Get(ctx, t.key(h)), p.PTTL(ctx, t.key(h))
	_, err := p.Exec(ctx)
	switch {
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"), err == nil && get.Val() == "":
		return "", Unknown // what is no corp gives way when the bot fetches a new token
	case err != nil:
		return "", Unreachable
	}
	life := ttl.Val()
	if life == endless {
		life = endlessFor
	}
	t.mu.Lock()
	t.remember(h, owned{corp: get.Val(), expires: t.now().Add(max(life, 0))})
	t.mu.Unlock()
	return get.Val(), Known
}

// Reauthenticate tells whether a call with this strange token shall be answered as with an expired one,
// so that the bot fetches a new token through the gateway. It is so for three seconds from first sight,
// then not again before the minute is over.
func (t *Tokens) Reauthenticate(token string) bool {
	h := hashOf(token)
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	s, seen := t.strange[h]
	if !seen || now.Sub(s.first) >= strangeFor || now.Before(s.first) {
		if !seen && len(t.strange) >= maxUnknown {
			t.dropStrange(now)
		}
		if !seen && len(t.strange) >= maxUnknown {
			return false // flooded: say no rather than start loops we cannot bound
		}
		s = sighting{first: now}
	}
	s.asked = now
	t.strange[h] = s
	return now.Sub(s.first) < reauthFor
}

// worthAsking tells whether Redis may know a token by now that it did not know before. While the bot is
// told to fetch a new one it is asked every time: another gateway may have seen the answer.
func (t *Tokens) worthAsking(h hash, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, seen := t.strange[h]
	return !seen || now.Sub(s.first) < reauthFor || now.Sub(s.asked) >= askEvery
}

func (t *Tokens) inMemory(h hash, now time.Time) (corp string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, ok := t.known[h]
	if ok && !now.Before(o.expires) {
		delete(t.known, h)
		return "", false
	}
	return o.corp, ok
}

// remember keeps a token in the process; if there is no room, one of the others goes.
func (t *Tokens) remember(h hash, o owned) {
	delete(t.strange, h)
	if _, there := t.known[h]; !there && len(t.known) >= maxTokens {
		now, dropped := t.now(), false
		for k, v := range t.known {
			if !dropped || !now.Before(v.expires) {
				delete(t.known, k)
				dropped = true
			}
		}
	}
	t.known[h] = o
}

func (t *Tokens) dropStrange(now time.Time) {
	for k, s := range t.strange {
		if now.Sub(s.first) >= strangeFor {
			delete(t.strange, k)
		}
	}
}

func (t *Tokens) key(h hash) string { return t.prefix + "token:" + hex.EncodeToString(h[:]) }
