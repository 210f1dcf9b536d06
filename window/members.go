package window

import (
	"context"
	"sync"
	"time"
)

// A gateway whose journal holds facts knows what Redis does not, so the others must not refuse for
// want of a message. It may be unable to tell them: it is Redis that it cannot reach. So each
// gateway says the opposite as long as it is true, that it holds nothing back, and the others
// believe it for a moment only. A gateway that begins to hold something back waits until nobody can
// believe otherwise, before it acknowledges.
const (
	renewEvery   = 100 * time.Millisecond
	renewTimeout = 100 * time.Millisecond
	// leaseTTL is how long after its word a gateway is taken to hold nothing back, at most.
	leaseTTL = time.Second
	// memberTimeout is how long a gateway that vanished without a goodbye is waited for.
	memberTimeout = 5 * time.Minute
)

// members are the gateways on one Redis: PREFIXgateways is a hash of gateway to a number that grows
// with each time it says that it holds nothing back.
type members struct {
	mu           sync.Mutex
	lastExchange time.Time              // when the last look that succeeded began
	others       map[string]memberLease // as seen then
	renewedUntil time.Time              // until when Redis may count what we said
}

// neverHeld is the number of a gateway that has said nothing yet, since it began with facts in its
// journal.
const neverHeld = "0"

// renewedUntil is what another gateway said last, and when, at the earliest.
type memberLease struct {
	value   string
	renewed time.Time
}

// RunHeartbeat tells the other gateways on this Redis whether this one holds facts back, and listens to
// them, until ctx ends. A gateway that holds nothing back says goodbye.
func (s *Store) RunHeartbeat(ctx context.Context) {
	if s.embedded() {
		return
	}
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		s.renew(ctx)
		select {
		case <-ctx.Done():
			s.leave()
			return
		case <-tick.C:
		}
	}
}

// renew says our word, and takes in those of the others.
func (s *Store) renew(ctx context.Context) {
	began := time.Now()
	until := began.Add(renewTimeout)
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	key := s.Prefix + "gateways"
	node := s.nodeOf(ctx, key)
	clean := s.members.beginRenewal(s.journal.Empty, until)
	args := []any{s.gateway, 0}
	if clean {
		args[1] = 1
	}
	for _, id := range s.members.expired(began) {
		args = append(args, id)
	}
	// By a clock that is not known every word is late.
	args = append(args, max(s.scriptDeadline(ctx, node), 1))
	saw, err := leaseScript.Run(ctx, s.rdb, []string{key}, args...).StringSlice()
	if err == nil {
		s.members.endRenewal(s.gateway, began, saw)
	}
}

// leave leaves the gateways, unless facts are left in the journal.
func (s *Store) leave() {
	if !s.journal.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	_ = s.rdb.HDel(ctx, s.Prefix+"gateways", s.gateway).Err() // the others then wait for it in vain, for a while
}

// beginRenewal tells whether our word is that we hold nothing back. It is counted until then, or not at
// all; that it was counted earlier does not matter: one before it, whose connection broke, may
// still be on its way.
func (p *members) beginRenewal(empty func() bool, until time.Time) (clean bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if clean = empty(); clean { // asked under the lock: silence may begin right behind it
		p.renewedUntil = until
	}
	return clean
}

// endRenewal takes in what a look saw: each gateway and its number.
func (p *members) endRenewal(own string, began time.Time, saw []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What is new was said behind the look before. If that is long ago, it may be as old.
	news, old := p.lastExchange, began.Add(-leaseTTL)
	if news.Before(old) {
		news = old
	}
	p.lastExchange = began
	others := make(map[string]memberLease, len(saw)/2)
	for i := 0; i+1 < len(saw); i += 2 {
		id, w := saw[i], memberLease{value: saw[i+1], renewed: news}
		if id == own {
			continue
		}
		if before, known := p.others[id]; known && before.value == w.value {
			w = before
		} else if w.value == neverHeld {
			w.renewed = old
		}
		others[id] = w
	}
	p.others = others
}

// expired are the gateways that nobody waits for any longer.
func (p *members) expired(now time.Time) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, w := range p.others {
		if now.Sub(w.renewed) > memberTimeout {
			ids = append(ids, id)
		}
	}
	return ids
}

// downgrade tells whether another gateway may hold facts back.
func (p *members) degraded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.others) > 0 && now.Sub(p.lastExchange) > leaseTTL {
		return true
	}
	for _, w := range p.others {
		if age := now.Sub(w.renewed); age >= leaseTTL && age <= memberTimeout {
			return true
		}
	}
	return false
}

// leaseExpiry is when no other gateway can believe any longer that this one holds nothing back.
// Something is in the journal when it is asked for, so no new word begins.
func (p *members) leaseExpiry() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renewedUntil.Add(leaseTTL)
}

// waitLeaseExpired waits until what the journal holds can be acknowledged: the other gateways are in
// doubt.
func (s *Store) waitLeaseExpired() {
	time.Sleep(time.Until(s.members.leaseExpiry()))
}
