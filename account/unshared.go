package account

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"replygate/record"
)

const (
	maxUnshared = 10_000 // tokens that wait for Redis
	shareEvery  = 200 * time.Millisecond
)

// unshared keeps the learnt tokens that Redis did not take, so that only this process knows them.
type unshared struct {
	added chan struct{} // holds an element if a token was added since the last attempt

	mu      sync.Mutex
	tokens  map[hash]unsharedToken // at most maxUnshared
	order   []hash                 // of tokens, the oldest first
	dropped int                    // that found no space, since list was last called
}

type unsharedToken struct {
	hash  hash
	corp  string
	until time.Time
}

func newUnshared() unshared {
	return unshared{added: make(chan struct{}, 1), tokens: map[hash]unsharedToken{}}
}

// add keeps a token. If there are maxUnshared, it drops the oldest.
func (u *unshared) add(token unsharedToken) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, exists := u.tokens[token.hash]; !exists {
		if len(u.order) == maxUnshared {
			delete(u.tokens, u.order[0])
			u.order = u.order[1:]
			u.dropped++
		}
		u.order = append(u.order, token.hash)
	}
	u.tokens[token.hash] = token
	select {
	case u.added <- struct{}{}:
	default:
	}
}

// list returns the tokens that have not expired, and how many were dropped since it was last
// called. It removes the expired ones.
func (u *unshared) list(now time.Time) (all []unsharedToken, dropped int) {
	u.removeIf(func(token unsharedToken) bool { return !now.Before(token.until) })
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, h := range u.order {
		all = append(all, u.tokens[h])
	}
	dropped, u.dropped = u.dropped, 0
	return all, dropped
}

// removeIf removes the tokens for which a condition holds.
func (u *unshared) removeIf(holds func(unsharedToken) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.order = slices.DeleteFunc(u.order, func(h hash) bool {
		remove := holds(u.tokens[h])
		if remove {
			delete(u.tokens, h)
		}
		return remove
	})
}

// Run writes to Redis the learnt tokens that it did not take at once, until ctx ends. Then it tries
// once more, within the timeout of one exchange.
func (t *Tokens) Run(ctx context.Context, log *record.RateLimited) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-t.unshared.added:
			t.shareAll(ctx, log)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
	defer cancel()
	t.share(last, log)
}

// shareAll claims the unshared tokens until Redis has answered for all of them, or ctx ends.
func (t *Tokens) shareAll(ctx context.Context, log *record.RateLimited) {
	for !t.share(ctx, log) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(shareEvery):
		}
	}
}

// share claims the unshared tokens once, and reports whether Redis answered for all of them.
func (t *Tokens) share(ctx context.Context, log *record.RateLimited) bool {
	all, dropped := t.unshared.list(t.now())
	if dropped > 0 {
		log.Warn("too many tokens wait for redis: the oldest stay known to this gateway alone", zap.Int("count", dropped))
	}
	answered := map[hash]unsharedToken{}
	for chunk := range slices.Chunk(all, maxClaims) {
		before := len(answered)
		t.claimAll(ctx, chunk, answered, log)
		if len(answered) == before { // Redis is away: so it is for the others
			break
		}
	}
	t.unshared.removeIf(func(token unsharedToken) bool { return answered[token.hash] == token })
	return len(answered) == len(all)
}

// claimAll claims tokens with one pipeline, and adds those for which Redis answered to answered. A
// token that Redis knows as another corp's is forgotten, so that its next call reads Redis.
func (t *Tokens) claimAll(ctx context.Context, tokens []unsharedToken, answered map[hash]unsharedToken, log *record.RateLimited) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	p, now := t.rdb.Pipeline(), t.now()
	claims := make([]*redis.Cmd, len(tokens))
	for i, token := range tokens { // EVAL, since a pipeline cannot fall back from EVALSHA on NOSCRIPT
		claims[i] = claimScript.Eval(ctx, p, []string{t.tokenKey(token.hash)}, token.corp, token.until.Sub(now).Milliseconds())
	}
	_, _ = p.Exec(ctx) // each command has its own error
	for i, token := range tokens {
		owner, err := claims[i].Text()
		if err != nil {
			continue
		}
		answered[token.hash] = token
		if owner != token.corp {
			t.tokens.forget(token.hash)
			log.Error("a token that was learnt while redis was away belongs to another corp: it stays the other's",
				zap.String("corp_id", token.corp), zap.String("other", owner))
		}
	}
}
