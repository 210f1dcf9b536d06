package window

import (
	"strings"
	"time"
)

// fakeState is what a fake Redis stores. It is a value: a copy of it is a snapshot.
type fakeState struct {
	messages bitset // the windows that exist, each of one message
	since    int64  // rg:since, unix ms, 0 if it is missing
	backfill int64  // the begin of the last backfill, unix ms
	members  [fakeGateways]string
	leases   [fakeGateways]fakeLease
	evicts   bool // the memory policy is not noeviction
}

// fakeLease is a lease with its expiry, by the clock of Redis.
type fakeLease struct {
	value string
	until time.Duration
}

// fakeGateways is how many gateways a fake Redis can tell apart. Their ids are "g0", "g1", ...
const fakeGateways = 3

func fakeID(i int) string { return "g" + string(rune('0'+i)) }

func fakeIndex(id string) int { return int(id[len(id)-1] - '0') }

// lease returns the live lease of a gateway, "" if there is none.
func (f *fakeState) lease(id string, now time.Duration) string {
	if l := f.leases[fakeIndex(id)]; l.until > now {
		return l.value
	}
	return ""
}

// exchange does what lease.lua does, in the process of Redis that run names.
func (f *fakeState) exchange(now time.Duration, run string, e exchange) leaseAnswer {
	a := leaseAnswer{run: run, members: map[string]member{}, leases: map[string]string{}}
	for i, entry := range f.members {
		if entry != "" {
			a.members[fakeID(i)] = readMember(entry)
		}
	}
	own := fakeIndex(e.ids[0])
	held := fakeLease{e.next + " " + run, now + leaseTTL}
	alive := e.value != "" && e.run == run && f.lease(e.ids[0], now) == e.value
	switch {
	case e.action == joinLease:
		if f.members[own] == "" || strings.HasSuffix(f.members[own], " left") {
			f.members[own] = run + " " + e.entry
		}
		f.leases[own], a.done = held, true
	case e.action == renewLease && alive:
		f.members[own], f.leases[own], a.done = run+" "+e.entry, held, true
	case e.action == leaveLease && alive:
		f.members[own], f.leases[own], a.done = run+" "+e.entry, fakeLease{}, true
	}
	for _, id := range e.ids {
		if value := f.lease(id, now); value != "" {
			a.leases[id] = value
		}
	}
	for _, id := range e.remove {
		if a.done && a.leases[id] == "" {
			f.members[fakeIndex(id)] = ""
		}
	}
	a.evicts = f.evicts && e.action != readLeases
	return a
}

// raise does what raise.lua does to rg:since.
func (f *fakeState) raise(at int64) { f.since = max(f.since, at) }

// bitset is a set of small numbers.
type bitset [16]uint64

const maxBits = 64 * len(bitset{})

func (b *bitset) add(n int) { b[n/64] |= 1 << (n % 64) }

// without returns the numbers of b that other lacks.
func (b bitset) without(other bitset) bitset {
	for i, word := range other {
		b[i] &^= word
	}
	return b
}
