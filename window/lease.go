package window

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Each gateway holds a lease in Redis while everything that it has acknowledged is stored there. A
// gateway may refuse a reply because a message is missing only while all members hold theirs
// (docs/consistency.md). This file judges; partition.go does the I/O.
const (
	leaseTTL   = time.Second
	renewEvery = 250 * time.Millisecond
	// leaseGone is when a lease has surely expired, counted from the last answer about it: one
	// renewal without an answer may still have extended it, and clocks may differ in rate by 10 %.
	leaseGone = 2*leaseTTL + leaseTTL/5
	// memberTimeout is how long a member without a lease keeps the others from refusing.
	memberTimeout = 5 * time.Minute
	// leftKept is how long a gateway that left in order is remembered: longer than any window.
	leftKept = 96 * time.Hour
)

// The actions of lease.lua.
const (
	readLeases  = "read"  // the end of a proof
	watchLeases = "watch" // reads the memory policy too, as all that follow do
	joinLease   = "join"  // writes a lease that is not held, whatever was there
	renewLease  = "renew" // replaces a lease that is still alive by one that is held
	leaveLease  = "leave"
)

// exchange is one run of lease.lua.
type exchange struct {
	action string
	run    string   // the process of Redis that must answer, for renew and leave
	value  string   // the lease that must be alive, for renew and leave
	next   string   // the new lease, without its run id
	entry  string   // the new entry of the members, without its run id
	ids    []string // the members whose leases are read, this gateway's first
	remove []string // those of ids to remove if the lease is renewed, unless they hold one
}

// leaseAnswer is what lease.lua returns.
type leaseAnswer struct {
	run     string            // the process that answered, "-" if INFO is forbidden
	done    bool              // the lease or the entry was written
	evicts  bool              // its maxmemory-policy drops keys
	members map[string]member // as before the exchange :: gateway -> member
	leases  map[string]string // as after the exchange :: gateway -> live lease
}

// member is a gateway's entry in rg:members:{p}.
type member struct {
	run        string // the process of Redis that it held its lease in
	boot       string // the process of the gateway
	checkpoint int64  // that process's clock at its last renewal, unix ms; 0: it has not held a lease yet
	left       bool   // it left in order: it has acknowledged nothing since
}

// readMember parses "RUN BOOT CHECKPOINT [left]". A broken entry is a member that never held.
func readMember(text string) (m member) {
	parts := strings.Split(text, " ")
	if len(parts) < 3 {
		return member{}
	}
	m.run, m.boot, m.left = parts[0], parts[1], len(parts) > 3
	m.checkpoint, _ = strconv.ParseInt(parts[2], 10, 64)
	return m
}

// view is who held which lease at one instant.
type view struct {
	run    string
	grants map[string]string // :: member -> its grant, "" if it holds no lease in this process
}

func (a leaseAnswer) view() view {
	v := view{run: a.run, grants: make(map[string]string, len(a.members))}
	for id, m := range a.members {
		if _, live := a.leases[id]; !m.left || live {
			v.grants[id] = grantOf(a.leases[id], a.run)
		}
	}
	return v
}

// grantOf returns the grant in a lease's value, "STATE GRANT NUMBER RUN", if it is held in that
// process of Redis.
func grantOf(value, run string) string {
	parts := strings.Split(value, " ")
	if len(parts) != 4 || parts[0] != "held" || parts[3] != run {
		return ""
	}
	return parts[1]
}

// unbroken reports whether every member, own included, held its lease in one process of Redis from
// this view until a later one: then nothing that was acknowledged before was missing there.
func (v view) unbroken(later view, own string) bool {
	if v.run != later.run || len(v.grants) != len(later.grants) || later.grants[own] == "" {
		return false
	}
	for id, grant := range later.grants {
		if grant == "" || v.grants[id] != grant {
			return false
		}
	}
	return true
}

// repair is what must be in Redis before the lease may be held.
type repair struct {
	number int    // tells it from earlier ones; 0: nothing is to be repaired
	since  int64  // the writes from then on are missing, by this process's clock, unix ms
	gap    string // the reason of a gap, since other writes are missing too; "": none are
}

// lease is this gateway's lease in one partition. Its methods do no I/O, and its owner must
// synchronize them.
type lease struct {
	id, boot string
	began    time.Time // of this process
	returns  bool      // an earlier process of this gateway was a member

	run                    string // the process of Redis that was joined, "" before the first join
	value                  string // the lease as Redis has it, "" if there is none
	held                   bool
	registered             bool   // the members have an entry of this process
	joinedEmpty, sawHolder bool   // there were no members when it registered, or some that had held leases
	confirmed              int64  // the checkpoint of the last answered renewal
	repaired               string // the process whose repair is complete
	repair                 repair
	evicts                 bool

	grants, renewals, repairs int
	expires                   time.Time // from then on nobody counts this lease
	answeredAt                time.Time // when Redis confirmed value
	ackAfter                  time.Time // before that, another process may still have a lease of ours
	settled                   time.Time // before that, Redis may lose the entry of a new member
	view                      view
	unread                    bool                 // there are members whose leases were not read
	missing                   map[string]time.Time // since when members hold no lease
	absent                    map[string]bool      // gateways that were listed, and did not leave
	lostAt                    time.Time            // when the last loss was found
	peersRepaired             bool                 // since then every member has joined again, or was found missing
	lostFrom                  int64                // what Redis lacks was written since then, by this process's clock, unix ms
	stale                     []string             // entries of gateways that left long ago
}

// newLease begins with no knowledge of a lease that an earlier process of this gateway may hold.
func newLease(id, boot string, now time.Time) *lease {
	return &lease{id: id, boot: boot, began: now, expires: now.Add(leaseGone), missing: map[string]time.Time{}, absent: map[string]bool{}}
}

// stamp is an instant by this process's clock, which no step of the machine's clock moves.
func (l *lease) stamp(now time.Time) int64 { return stamp(l.began, now) }

func stamp(began, now time.Time) int64 {
	return began.UnixMilli() + now.Sub(began).Milliseconds()
}

// next returns the next exchange. clean tells that everything acknowledged has been written.
func (l *lease) next(now time.Time, clean bool) exchange {
	e := exchange{action: watchLeases, run: l.run, value: l.value, ids: l.ids()}
	l.renewals++
	switch {
	case l.value == "":
		l.grants++
		e.action, e.entry = joinLease, l.boot+" 0"
		e.next = "joining " + l.grant() + " " + strconv.Itoa(l.renewals)
	case clean && l.repair.number == 0 && !l.evicts:
		e.action, e.entry = renewLease, l.boot+" "+strconv.FormatInt(l.stamp(now), 10)
		e.next = "held " + l.grant() + " " + strconv.Itoa(l.renewals)
		e.remove = l.stale
		l.expire(l.answeredAt.Add(leaseGone)) // it may be extended, whether the answer arrives or not
	}
	return e
}

// expire moves the instant from which nobody counts this lease, never back.
func (l *lease) expire(at time.Time) {
	if at.After(l.expires) {
		l.expires = at
	}
}

// holds reports whether the lease is held as far as is known. Without answers it expires.
func (l *lease) holds(now time.Time) bool { return l.held && now.Sub(l.answeredAt) < leaseTTL }

// leave returns the exchange that gives the lease up in order.
func (l *lease) leave(now time.Time) exchange {
	return exchange{action: leaveLease, run: l.run, value: l.value, ids: l.ids(), entry: l.boot + " " + strconv.FormatInt(l.stamp(now), 10) + " left"}
}

// grant names one unbroken holding of the lease.
func (l *lease) grant() string { return l.boot + "." + strconv.Itoa(l.grants) }

// ids are the members that are known, this gateway first.
func (l *lease) ids() []string {
	ids := []string{l.id}
	for id := range l.view.grants {
		if id != l.id {
			ids = append(ids, id)
		}
	}
	return append(ids, l.stale...)
}

// answered takes the answer to an exchange.
func (l *lease) answered(now time.Time, e exchange, a leaseAnswer) {
	if l.evicts && !a.evicts {
		l.lose(now, repair{gap: gapEvicted})
	}
	l.evicts = a.evicts
	switch {
	case e.action == joinLease:
		l.joined(now, e, a)
	case a.run != l.run, e.action == renewLease && !a.done, l.held && l.rolledBack(a):
		l.value, l.held = "", false
	case e.action == renewLease:
		l.value, l.held = e.next+" "+a.run, true
		l.confirmed, _ = strconv.ParseInt(e.entry[strings.LastIndexByte(e.entry, ' ')+1:], 10, 64)
		l.answeredAt = now
		l.expire(now.Add(leaseGone))
	default:
		l.held = false
	}
	l.observe(now, e, a)
}

// joined takes the answer to a join.
func (l *lease) joined(now time.Time, e exchange, a leaseAnswer) {
	mine, known := a.members[l.id]
	first := !l.registered && (!known || mine.boot == l.boot)
	if first && a.undecided(l.id, e.ids) {
		return
	}
	if before := l.previousRun(mine, known); before != "" && before != a.run && l.ackAfter.Before(l.expires) {
		l.ackAfter = l.expires
	}
	isNew := !known || mine.left || mine.checkpoint == 0 && !l.registered
	wasKilled := l.run == "" && known && !mine.left && mine.boot != l.boot // its lease may be alive elsewhere
	if isNew && a.others(l.id) || wasKilled {
		l.settled = now.Add(leaseGone)
	}
	switch {
	case !first:
		if lost, some := l.assess(mine, known, a); some {
			l.lose(now, lost)
		}
	case l.returns && (len(a.members) == 0 || known && len(a.members) == 1):
		l.lose(now, repair{gap: gapForgotten})
	case !a.complete(l.id):
		l.lose(now, repair{gap: gapUnvouched})
	}
	if !l.registered {
		l.joinedEmpty = len(a.members) == 0
		for _, m := range a.members {
			l.sawHolder = l.sawHolder || m.checkpoint > 0
		}
	}
	l.value, l.held = e.next+" "+a.run, false
	l.run, l.registered, l.answeredAt = a.run, true, now
}

// previousRun is the process of Redis in which a lease of this gateway may be alive.
func (l *lease) previousRun(mine member, known bool) string {
	if l.run == "" && known && !mine.left {
		return mine.run
	}
	return l.run
}

// rolledBack reports whether Redis has an older checkpoint than the one it confirmed.
func (l *lease) rolledBack(a leaseAnswer) bool {
	mine, known := a.members[l.id]
	return !known || mine.checkpoint < l.confirmed
}

// Reasons of gaps that the lease finds.
const (
	gapFlushed    = "flushed"     // the checkpoint is missing: Redis has lost everything
	gapForgotten  = "forgotten"   // the same, found by a later process, which does not know who the members were
	gapRolledBack = "rolled_back" // Redis is older than what this process can write again
	gapUnvouched  = "unvouched"   // no member can tell whether Redis is complete
	gapEvicted    = "evicted"     // Redis may have dropped windows when memory is short
	gapRemoved    = "removed"     // a member was removed, whose journal may hold messages
)

// assess returns what Redis has lost, if anything, by the entry that it has of this gateway.
func (l *lease) assess(mine member, known bool, a leaseAnswer) (lost repair, some bool) {
	switch {
	case !known:
		return repair{gap: gapFlushed}, true
	case mine.run == a.run && (l.run == "" || l.run == a.run) && mine.checkpoint >= l.confirmed && (mine.checkpoint > 0 || mine.boot == l.boot):
		return repair{}, false // the same process, with no other one in between
	case l.repaired == a.run && mine.boot == l.boot:
		return repair{}, false // done, but the first renewal in this process failed
	case mine.left && mine.boot != l.boot:
		return repair{}, false // nothing was acknowledged after this
	case mine.boot != l.boot, mine.checkpoint == 0:
		return repair{gap: gapRolledBack}, true
	}
	return repair{since: mine.checkpoint}, true
}

// others reports whether there are members besides one.
func (a leaseAnswer) others(own string) bool {
	for id, m := range a.members {
		if id != own && !m.left {
			return true
		}
	}
	return false
}

// complete reports whether nothing can have been lost before a gateway joined for the first time: a
// member has held its lease in this process of Redis, or all have left in order, or there were
// none.
func (a leaseAnswer) complete(own string) bool {
	all := true
	for id, m := range a.members {
		if id == own {
			continue
		}
		if m.run == a.run && m.checkpoint > 0 {
			return true
		}
		all = all && m.left
	}
	return all
}

// undecided reports whether a member is about to find out what complete cannot tell, or may be,
// since its lease was not among those that were read.
func (a leaseAnswer) undecided(own string, read []string) bool {
	if a.complete(own) {
		return false
	}
	for id, m := range a.members {
		if id != own && (strings.HasPrefix(a.leases[id], "joining ") || !m.left && !slices.Contains(read, id)) {
			return true
		}
	}
	return false
}

// lose adds a loss to what is to be repaired.
func (l *lease) lose(now time.Time, r repair) {
	l.repairs++
	if l.repair.number > 0 {
		r.since = min(r.since, l.repair.since)
		if old := l.repair.gap; r.gap == "" || old == gapFlushed || old == gapForgotten {
			r.gap = old
		}
	}
	r.number = l.repairs
	l.repair, l.repaired, l.held, l.lostAt, l.peersRepaired = r, "", false, now, false
	l.lostFrom = r.since
}

// finish tells that a repair is complete, unless more was lost meanwhile.
func (l *lease) finish(r repair) {
	if l.repair == r {
		l.repair, l.repaired = repair{}, l.run
	}
}

// observe notes who holds a lease and since when others do not.
func (l *lease) observe(now time.Time, e exchange, a leaseAnswer) {
	before := l.view
	l.view, l.stale, l.unread = a.view(), nil, false
	for id, m := range a.members {
		delete(l.absent, id)
		if m.left && l.stamp(now)-m.checkpoint > leftKept.Milliseconds() && id != l.id {
			l.stale = append(l.stale, id)
		}
	}
	for id := range before.grants {
		if _, listed := a.members[id]; !listed && id != l.id {
			l.absent[id] = true
			delete(l.missing, id)
		}
	}
	for id, grant := range l.view.grants {
		l.unread = l.unread || !slices.Contains(e.ids, id)
		if _, noted := l.missing[id]; grant != "" || id == l.id {
			delete(l.missing, id)
		} else if !noted {
			l.missing[id] = now
		}
	}
}

// repairing reports whether Redis may lack what this or another gateway is about to write again.
func (l *lease) repairing() bool {
	return l.registered && l.value == "" || l.repair.number > 0 || !l.lostAt.IsZero() && !l.peersRepaired
}

// peerRepairMissing reports, once after each loss, that a member has not come back to write its
// part again. One that was gone well before what was lost has no part in it.
func (l *lease) peerRepairMissing(now time.Time) bool {
	if l.lostAt.IsZero() || l.peersRepaired {
		return false
	}
	gone := false
	for _, at := range l.missing {
		gone = gone || l.stamp(at.Add(leaseGone)) > l.lostFrom
	}
	if gone && now.Sub(l.lostAt) < leaseGone {
		return false
	}
	l.peersRepaired = true
	return gone
}

// gapExtends reports whether the gap of a repair must be dated later, since a gateway that is not
// listed may acknowledge into its journal meanwhile. decided is false while others may still join.
func (l *lease) gapExtends(now time.Time) (extends, decided bool) {
	switch l.repair.gap {
	case gapForgotten:
		return true, true
	case gapFlushed:
		return len(l.absent) > 0, len(l.absent) == 0 || now.Sub(l.lostAt) >= leaseGone
	}
	return false, true
}

// expired returns the members without a lease for memberTimeout, and since when, the latest of
// them. They may be removed after a gap.
func (l *lease) expired(now time.Time) (ids []string, since time.Time) {
	for id, at := range l.missing {
		if l.held && now.Sub(at) >= memberTimeout {
			ids = append(ids, id)
			if at.After(since) {
				since = at
			}
		}
	}
	slices.Sort(ids)
	return ids, since
}
