package gate

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"replygate/account"
	"replygate/policy"
	"replygate/wecom"
	"replygate/window"
)

// Stops tells which capabilities an account loses when it lapses. It judges sample calls, with
// open windows, as for an active and for a lapsed account. It is safe for concurrent use.
type Stops struct {
	gate *Gate // without policy.mode: shadow

	mu    sync.Mutex
	known map[string][]wecom.Capability
}

// maxKnownStops bounds what Stops remembers. Accounts that rules treat alike share one entry.
const maxKnownStops = 20_000

// NewStops returns the Stops of a gate.
func NewStops(g *Gate) *Stops {
	return &Stops{gate: g.Enforcing(), known: map[string][]wecom.Capability{}}
}

// Of returns the capabilities that the rules in force at an instant pass for the account while it
// is active, and refuse once it is lapsed, at least on some interfaces. The caller must not change
// the result.
func (s *Stops) Of(a *account.Account, at time.Time) []wecom.Capability {
	key := s.gate.Engine.Alike(a) + " " + strconv.Itoa(s.phase(at))
	s.mu.Lock()
	defer s.mu.Unlock()
	found, known := s.known[key]
	if !known {
		if len(s.known) >= maxKnownStops {
			clear(s.known)
		}
		found = s.gate.stops(a, at)
		s.known[key] = found
	}
	return found
}

// phase counts the changes of rules and rule sets by time until an instant.
func (s *Stops) phase(at time.Time) (n int) {
	for _, change := range s.gate.Engine.Instants(nil) {
		if !at.Before(change) {
			n++
		}
	}
	return n
}

func (g *Gate) stops(a *account.Account, at time.Time) []wecom.Capability {
	who := policy.Subject{CorpID: a.CorpID, Entity: a.Entity, Account: a, Client: g.clients(nil)[0]}
	stops := map[wecom.Capability]bool{}
	for _, e := range wecom.Endpoints() {
		if !stops[e.Capability] && !g.Engine.AlwaysPasses(e) && g.stopsAt(who, e, at) {
			stops[e.Capability] = true
		}
	}
	return slices.DeleteFunc(wecom.Capabilities(), func(c wecom.Capability) bool { return !stops[c] })
}

// stopsAt reports whether a caller loses plain calls of an interface.
func (g *Gate) stopsAt(who policy.Subject, e *wecom.Endpoint, at time.Time) bool {
	plain := sampleCalls(e, sampleCustomer, nil)[0]
	passes := func(s account.Standing) bool {
		who.Standing = s
		return g.sample(who, e, plain, at, window.Open).Decision.Go
	}
	return !passes(account.Lapsed) && passes(account.Active)
}
