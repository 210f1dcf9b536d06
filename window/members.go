package window

import (
	"context"
	"sync"
	"time"
)

// Each gateway holds a lease in Redis while everything it has acknowledged is stored there. The
// others refuse replies only while every member's lease is current. A gateway that appends to its
// journal stops renewing, and waits until its lease has expired before it acknowledges the write:
// it may be unable to reach Redis, so it cannot tell the others in any other way.
const (
	renewEvery   = 100 * time.Millisecond
	renewTimeout = 100 * time.Millisecond
	// leaseTTL is how long a lease is valid after its renewal.
	leaseTTL = time.Second
	// memberTimeout is how long a member without a renewal keeps the others from refusing.
	memberTimeout = 5 * time.Minute
)

// members are the gateways on one Redis. PREFIXgateways is a hash of gateway id to a counter that
// grows with each renewal.
type members struct {
	mu           sync.Mutex
	lastExchange time.Time              // when the last successful exchange began
	others       map[string]memberLease // as of that exchange; :: gateway id -> lease
	renewedUntil time.Time              // latest time at which Redis may count our last renewal
}

// neverHeld is the counter of a gateway that has not renewed yet, since its journal was not empty
// at its start.
const neverHeld = "0"

// memberLease is another gateway's counter, and the earliest time of its last renewal.
type memberLease struct {
	value   string
	renewed time.Time
}

// RunHeartbeat renews this gateway's lease and reads those of the others, until ctx ends. Then it
// leaves, unless the journal holds records. It returns at once for an embedded Store.
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

// renew renews the lease if the journal is empty, and reads the leases of the others.
func (s *Store) renew(ctx context.Context) {
	began := time.Now()
	until := began.Add(renewTimeout)
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	key := s.Prefix + "gateways"
	node := s.nodeOf(ctx, key)
	args := []any{s.gateway, 0}
	if s.members.beginRenewal(s.journal.Empty, until) {
		args[1] = 1
	}
	for _, id := range s.members.expired(began) {
		args = append(args, id)
	}
	// If Redis's clock is unknown, 1 makes the script abort: it could not tell a late renewal.
	args = append(args, max(s.scriptDeadline(ctx, node), 1))
	leases, err := leaseScript.Run(ctx, s.rdb, []string{key}, args...).StringSlice()
	if err == nil {
		s.members.endRenewal(s.gateway, began, leases)
	}
}

// leave removes this gateway from the members, unless its journal holds records.
func (s *Store) leave() {
	if !s.journal.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	_ = s.rdb.HDel(ctx, s.Prefix+"gateways", s.gateway).Err() // on an error the others wait for memberTimeout
}

// beginRenewal reports whether the lease may be renewed, that is, whether the journal is empty.
// Redis counts the renewal by the time until, or not at all. Renewals before it may still be on
// their way, and end earlier.
func (p *members) beginRenewal(empty func() bool, until time.Time) (renew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if renew = empty(); renew { // under the lock, so that leaseExpiry sees this renewal
		p.renewedUntil = until
	}
	return renew
}

// endRenewal stores the leases that an exchange returned: gateway ids and counters, by turns.
func (p *members) endRenewal(own string, began time.Time, leases []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A counter that changed was renewed after the previous exchange, or a lease's length ago at
	// the earliest that still counts.
	earliest, expired := p.lastExchange, began.Add(-leaseTTL)
	if earliest.Before(expired) {
		earliest = expired
	}
	p.lastExchange = began
	others := make(map[string]memberLease, len(leases)/2)
	for i := 0; i+1 < len(leases); i += 2 {
		id, lease := leases[i], memberLease{value: leases[i+1], renewed: earliest}
		if id == own {
			continue
		}
		if before, known := p.others[id]; known && before.value == lease.value {
			lease = before
		} else if lease.value == neverHeld {
			lease.renewed = expired
		}
		others[id] = lease
	}
	p.others = others
}

// expired returns the members without a renewal for memberTimeout.
func (p *members) expired(now time.Time) (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, lease := range p.others {
		if now.Sub(lease.renewed) > memberTimeout {
			ids = append(ids, id)
		}
	}
	return ids
}

// degraded reports whether another gateway may hold acknowledged writes in its journal.
func (p *members) degraded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.others) > 0 && now.Sub(p.lastExchange) > leaseTTL {
		return true
	}
	for _, lease := range p.others {
		if age := now.Sub(lease.renewed); age >= leaseTTL && age <= memberTimeout {
			return true
		}
	}
	return false
}

// leaseExpiry returns the time from which no other gateway counts this one's lease. The caller has
// appended to the journal before, so no new renewal can begin.
func (p *members) leaseExpiry() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renewedUntil.Add(leaseTTL)
}

// waitLeaseExpired waits until the journal's records may be acknowledged: the other gateways are
// degraded by then.
func (s *Store) waitLeaseExpired() {
	time.Sleep(time.Until(s.members.leaseExpiry()))
}
