package backfill

import (
	"slices"
	"sync"
	"time"
)

// WeCom answers 45009 to the eleventh call of kf/sync_msg that a corp makes within a minute without
// the token of a callback, and to all others until that minute is over.
const (
	perMinute = 9 // of ours and the bots' together
	peakKept  = 10 * time.Minute

	// In the first minute it is not known how often bots call.
	firstPause  = 10 * time.Second // between two calls
	unknownBots = 4                // calls that are left to bots, at least
)

// Budget shares out the calls of kf/sync_msg that WeCom allows corps: what bots need is theirs. It
// is safe for concurrent use.
type Budget struct {
	now func() time.Time

	mu    sync.Mutex
	corps map[string]*usage // those that are watched
}

// usage is what calls of one corp used within the last minute.
type usage struct {
	began   time.Time   // when its bots' calls were first counted
	own     []time.Time // our calls
	bots    []time.Time // those of bots, without the token of a callback
	peak    int         // the most calls of bots within a minute
	peakAt  time.Time
	limited time.Time // when WeCom last answered 45009
}

// NewBudget returns a budget that watches no corp yet.
func NewBudget(now func() time.Time) *Budget {
	return &Budget{now: now, corps: map[string]*usage{}}
}

// Watch has the calls of these corps counted, and of no others.
func (b *Budget) Watch(corps []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	watched := make(map[string]*usage, len(corps))
	for _, corp := range corps {
		if watched[corp] = b.corps[corp]; watched[corp] == nil {
			watched[corp] = &usage{began: b.now()}
		}
	}
	b.corps = watched
}

// Pulled notes that a bot called kf/sync_msg. free: the call had the token of a callback, and does
// not count; limited: WeCom answered 45009.
func (b *Budget) Pulled(corp string, at time.Time, free, limited bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.corps[corp]
	if u == nil {
		return
	}
	if limited {
		u.limited = at
	}
	if free {
		return
	}
	u.bots = append(recent(u.bots, at), at)
	u.bots = u.bots[max(0, len(u.bots)-perMinute):]
	if n := len(u.bots); n >= u.peak || at.Sub(u.peakAt) > peakKept {
		u.peak, u.peakAt = n, at
	}
}

// recent drops the times that are a minute old.
func recent(times []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
}

// limitedNow notes that WeCom answered 45009 to a call of ours.
func (b *Budget) limitedNow(corp string) { b.Pulled(corp, b.now(), true, true) }

// spent notes calls that another process made until some time.
func (b *Budget) spent(corp string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u := b.corps[corp]; u != nil {
		u.own = slices.Repeat([]time.Time{until}, perMinute)
	}
}

// take takes a call of a corp out of the budget. If there is none left, wait is how long to wait
// before the next attempt.
func (b *Budget) take(corp string) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, u := b.now(), b.corps[corp]
	if u == nil { // the account is gone, or has no secret any more
		return time.Minute
	}
	u.own, u.bots = recent(u.own, now), recent(u.bots, now)
	left := perMinute - len(u.own) - u.reserve(now)
	switch pause := u.pause(now); {
	case pause > 0:
		return pause
	case left > 0:
		u.own = append(u.own, now)
		return 0
	case len(u.own) > 0:
		return max(min(u.own[0].Add(time.Minute).Sub(now), time.Minute), time.Second)
	}
	return 10 * time.Second // until the bots' calls become fewer
}

// pause is how long nothing may be called, whatever is left.
func (u *usage) pause(now time.Time) time.Duration {
	pause := u.limited.Add(time.Minute).Sub(now)
	if n := len(u.own); n > 0 && now.Sub(u.began) < time.Minute {
		pause = max(pause, u.own[n-1].Add(firstPause).Sub(now))
	}
	return pause
}

// reserve is how many calls of the next minute are left to bots: as many as in any minute of the
// last ten. In the first one it is as many as they make at their pace so far, and one more.
func (u *usage) reserve(now time.Time) int {
	n := len(u.bots)
	if now.Sub(u.peakAt) <= peakKept {
		n = max(n, u.peak)
	}
	if elapsed := now.Sub(u.began); elapsed < time.Minute {
		n = max(n, unknownBots)
		if len(u.own) > 0 {
			n = max(n, int(time.Duration(len(u.bots)+1)*time.Minute/max(elapsed, time.Second)))
		}
	}
	return n
}
