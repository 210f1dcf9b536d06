package account

import (
	"sync"
	"time"
)

// tokenLife is the usual life of WeCom's access tokens (DOC 91039).
const tokenLife = 2 * time.Hour

// nameCache remembers for unknown tokens which corp their calls name, by path or host.
type nameCache struct {
	mu      sync.Mutex
	entries recentCache[hash, cachedName]
}

type cachedName struct {
	corp    string
	several bool // calls have named other corps too
	since   time.Time
}

func newNameCache() nameCache {
	return nameCache{entries: newRecentCache[hash, cachedName](maxUnknown)}
}

// Named records that a call with an unknown token names a corp by its path or host; "" if it names
// none. It reports whether calls with the token have named several corps within the token's life,
// so that it must not be attributed to any.
func (t *Tokens) Named(token, corp string) (several bool) {
	h, now := hashOf(token), t.now()
	t.named.mu.Lock()
	defer t.named.mu.Unlock()
	n, seen := t.named.entries.get(h)
	if seen && (now.Before(n.since) || now.Sub(n.since) >= tokenLife) {
		seen = false
	}
	switch {
	case corp == "":
		return seen && n.several
	case !seen:
		n = cachedName{corp: corp, since: now}
	case n.corp != corp:
		n.several = true
	}
	t.named.entries.put(h, n)
	return n.several
}
