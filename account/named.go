package account

import (
	"sync"
	"time"
)

// tokenLife is how long WeCom's access tokens live, as a rule (DOC 91039).
const tokenLife = 2 * time.Hour

// named remembers of unknown tokens which corp their calls name, by path or host.
type nameCache struct {
	mu   sync.Mutex
	last recent[hash, cachedName]
}

type cachedName struct {
	corp    string
	several bool // others were named too
	since   time.Time
}

func newNamed() nameCache { return nameCache{last: newRecent[hash, cachedName](maxUnknown)} }

// Named notes that a call with an unknown token names a corp, "" if it names none. It tells whether
// calls have named the token for two corps within its life: then it belongs to neither.
func (t *Tokens) Named(token, corp string) (several bool) {
	h, now := hashOf(token), t.now()
	t.named.mu.Lock()
	defer t.named.mu.Unlock()
	n, seen := t.named.last.get(h)
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
	t.named.last.put(h, n)
	return n.several
}
