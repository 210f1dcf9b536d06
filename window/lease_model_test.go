package window

import (
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// The model runs three gateways with the real lease code against fake processes of Redis, on a fake
// clock. Around each lease it does what partition.go, pipeline.go, journal.go, record.go and
// proof.go do, with the same steps in the same order. One random number generator chooses delays
// and faults, so a seed is a schedule. A false refusal is a proof that nothing is missing although
// Redis lacked a message that had been acknowledged before the proof began.

// leaseRules are the rules of docs/consistency.md. TestLeaseRules switches each off in the model.
type leaseRules struct {
	doubleCollect  bool // a proof needs a view from before the read
	runID          bool // a process of Redis names itself
	lossGap        bool // lost writes that nobody can repeat mark a gap
	rewriteFirst   bool // no lease before lost writes are repeated
	journalFirst   bool // no lease while the journal holds something
	journalWait    bool // what is in the journal is acknowledged once the lease has expired
	changeoverWait bool // what another process took is acknowledged once the lease in the first expired
	twoTTL         bool // a lease expires two times to live after its last answer
	runCheck       bool // a write counts only in the process that was joined
	memberLimit    bool // a gateway that nobody waits for acknowledges nothing into its journal
	leaveStamp     bool // a gateway that left is no member when it starts again
	lateGap        bool // a gap after which unknown gateways may acknowledge is dated at the end of that
	settling       bool // what a gateway wrote just after it became a member does not count
	emptyList      bool // a gateway that was a member before notices an empty list of members
}

func allLeaseRules() leaseRules {
	return leaseRules{true, true, true, true, true, true, true, true, true, true, true, true, true, true}
}

const (
	modelLength  = 50 * memberTimeout // of a window
	modelAbsence = min(maxAbsence, modelLength/2)
	modelTimeout = 300 * time.Millisecond
	modelEpoch   = int64(1_800_000_000_000) // unix ms
)

// world is one schedule.
type world struct {
	*rand.Rand
	rules    leaseRules
	failover bool // of clients that may see two primaries
	now      time.Duration
	events   modelEvents
	events0  int // a number for each event, so that ties have an order
	runs     int
	servers  []*modelServer // the last one is the primary
	gateways []*modelGateway
	cuts     []*modelCut
	quiet    bool // nothing but leases and journals goes on

	flushed bool
	outside bool // of what is promised: see forgotten

	messages int    // so far
	acked    bitset // the messages that were acknowledged

	modelCounts
	wrong []string // the false refusals
	trace func(format string, args ...any)
}

// modelCounts count what happened in schedules.
type modelCounts struct {
	acks, refusals, unsure, incomplete                int // messages, and answers to proofs
	gaps, removals, repairs, left, backfills, drained int
}

func (c *modelCounts) add(o modelCounts) {
	c.acks += o.acks
	c.refusals += o.refusals
	c.unsure += o.unsure
	c.incomplete += o.incomplete
	c.gaps += o.gaps
	c.removals += o.removals
	c.repairs += o.repairs
	c.left += o.left
	c.backfills += o.backfills
	c.drained += o.drained
}

// modelEvent is something that happens at a time.
type modelEvent struct {
	at time.Duration
	n  int
	do func()
}

type modelEvents []modelEvent

func (e modelEvents) Len() int { return len(e) }
func (e modelEvents) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e modelEvents) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *modelEvents) Push(x any)   { *e = append(*e, x.(modelEvent)) }
func (e *modelEvents) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1].do = nil
	*e = old[:len(old)-1]
	return last
}

func (w *world) after(d time.Duration, do func()) {
	w.events0++
	heap.Push(&w.events, modelEvent{w.now + max(d, 0), w.events0, do})
}

// within returns a random duration below d.
func (w *world) within(d time.Duration) time.Duration { return time.Duration(w.Int64N(int64(d))) }

// pause returns how long until the next call of a kind, a random duration below d. Few come while
// nothing else goes on.
func (w *world) pause(d time.Duration) time.Duration {
	if w.quiet {
		d *= 40
	}
	return w.within(d)
}

func (w *world) chance(p float64) bool { return w.Float64() < p }

// wall is the gateways' and Redis's clock, unix ms.
func (w *world) wall() int64 { return modelEpoch + w.now.Milliseconds() }

func (w *world) primary() *modelServer { return w.servers[len(w.servers)-1] }

// process is one goroutine of a gateway. It runs alone until it parks.
type process struct {
	w      *world
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	parked int // numbers each time that it parks, so that an old event does not wake it
	ended  bool
}

var errKilled = errors.New("killed")

func (g *modelGateway) spawn(run func(p *process)) *process {
	p := &process{w: g.w}
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != errKilled {
				panic(r)
			}
		}()
		p.yield = yield
		run(p)
	})
	g.processes = append(g.processes, p)
	g.w.after(0, p.waker())
	return p
}

// waker returns a function that wakes p if it has not gone on meanwhile.
func (p *process) waker() func() {
	n := p.parked
	return func() {
		if p.ended || p.parked != n {
			return
		}
		p.parked++
		if _, more := p.next(); !more {
			p.ended = true
		}
	}
}

// park waits for a waker.
func (p *process) park() {
	if !p.yield(struct{}{}) {
		panic(errKilled)
	}
}

func (p *process) sleep(d time.Duration) {
	p.w.after(d, p.waker())
	p.park()
}

// modelServer is an address of Redis.
type modelServer struct {
	w         *world
	n         int
	run       string // the process there
	up        bool
	hungUntil time.Duration
	fencedAt  time.Duration // from then on it executes nothing, since another one is the primary
	state     fakeState
	history   []fakeSnapshot
	queue     []*command // while it hangs
}

type fakeSnapshot struct {
	at    time.Duration
	state fakeState
}

func (w *world) newRun() string { w.runs++; return "run" + strconv.Itoa(w.runs) }

// name is what the process calls itself.
func (s *modelServer) name() string {
	if !s.w.rules.runID {
		return "run"
	}
	return s.run
}

// earlier returns what the server had stored some time ago.
func (s *modelServer) earlier(ago time.Duration) fakeState {
	for _, h := range slices.Backward(s.history) {
		if h.at <= s.w.now-ago {
			return h.state
		}
	}
	return s.history[0].state
}

func (s *modelServer) changed() {
	s.history = append(s.history, fakeSnapshot{s.w.now, s.state})
	if len(s.history) > 600 {
		s.history = slices.Delete(s.history, 0, 300)
	}
}

// modelCut is a link that passes nothing in one or both directions. What is sent waits and arrives
// when the link is back.
type modelCut struct {
	g             *modelGateway
	s             *modelServer
	there, answer bool
	waiting       []func()
}

func (w *world) cut(g *modelGateway, s *modelServer, answer bool) *modelCut {
	for _, c := range w.cuts {
		if c.g == g && c.s == s && (answer && c.answer || !answer && c.there) {
			return c
		}
	}
	return nil
}

func (w *world) heal(c *modelCut) {
	i := slices.Index(w.cuts, c)
	if i < 0 {
		return
	}
	w.cuts = slices.Delete(w.cuts, i, i+1)
	for _, do := range c.waiting {
		w.after(w.within(20*time.Millisecond), do)
	}
}

// command is a pipeline on its way to one process of Redis. Its parts run in order, on one
// connection.
type command struct {
	g     *modelGateway
	boot  string
	s     *modelServer
	run   string
	parts []func(s *modelServer)
	done  func(error) // with the answer
}

var (
	errModelReset   = errors.New("connection reset")
	errModelTimeout = errors.New("timeout")
)

func (w *world) delay() time.Duration {
	if w.chance(0.02) {
		return w.within(250 * time.Millisecond)
	}
	return w.within(15 * time.Millisecond)
}

func (c *command) arrive() {
	w := c.s.w
	switch cut := w.cut(c.g, c.s, false); {
	case cut != nil:
		cut.waiting = append(cut.waiting, c.arrive)
	case !c.s.up || c.s.run != c.run:
		c.answer(errModelReset)
	case c.s.hungUntil > w.now:
		c.s.queue = append(c.s.queue, c)
	case c.s.fencedAt > 0 && w.now >= c.s.fencedAt:
	default:
		c.execute()
	}
}

// execute runs the first parts. The connection may bring the others later.
func (c *command) execute() {
	w := c.s.w
	for len(c.parts) > 0 {
		before := c.s.state
		c.parts[0](c.s)
		if c.s.state != before {
			c.s.changed()
		}
		if c.parts = c.parts[1:]; len(c.parts) > 0 && w.chance(0.1) {
			w.after(w.within(30*time.Millisecond), c.arrive)
			return
		}
	}
	c.answer(nil)
}

func (c *command) answer(err error) {
	w := c.s.w
	w.after(w.delay(), func() { c.received(err) })
}

func (c *command) received(err error) {
	if cut := c.s.w.cut(c.g, c.s, true); cut != nil {
		cut.waiting = append(cut.waiting, func() { c.received(err) })
		return
	}
	if c.g.up && c.g.boot == c.boot {
		c.done(err)
	}
}

// resume lets a server that hung go on with what was sent meanwhile.
func (s *modelServer) resume() {
	if s.hungUntil > s.w.now {
		return
	}
	queue := s.queue
	s.queue = nil
	for _, c := range queue {
		c.arrive()
	}
}

func (s *modelServer) hang(d time.Duration) {
	s.hungUntil = max(s.hungUntil, s.w.now+d)
	s.w.after(s.hungUntil-s.w.now, s.resume)
}

// restart ends the process, and starts another one with what was stored some time ago.
func (s *modelServer) restart(lost, down time.Duration) {
	s.state = s.earlier(lost)
	s.run, s.queue, s.history, s.up, s.hungUntil = s.w.newRun(), nil, nil, false, 0
	s.changed()
	s.w.after(down, func() { s.up = true })
}

// journal is the file that outlives a process.
type modelJournal struct {
	records []int // numbers of messages
	synced  int
	stamp   int64
}

// modelGateway is a gateway.
type modelGateway struct {
	w       *world
	n       int
	journal modelJournal
	node    *modelServer // that its client holds for the primary

	up, leaving, closing bool
	boot                 string
	rate                 float64 // of its clock, which times the lease
	began                time.Time
	lease                *lease
	failure              error
	rewrite              struct {
		number int
		left   []int
	}
	recent    *recentWrites
	heldAt    int64
	wakeLease bool
	keeper    func() // wakes keepLease
	wakeDrain func()
	open      int // calls that are being answered
	processes []*process
}

// clock is the gateway's monotonic clock.
func (g *modelGateway) clock() time.Time {
	return time.UnixMilli(modelEpoch).Add(time.Duration(float64(g.w.now) * g.rate))
}

// until is how long it takes until the gateway's clock shows at.
func (g *modelGateway) until(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	d := time.Duration(float64(at.Sub(g.clock())) / g.rate)
	if d <= 0 {
		return 0
	}
	return d + time.Microsecond
}

// start begins a process of the gateway.
func (g *modelGateway) start() {
	w := g.w
	g.up, g.leaving, g.closing, g.rate = true, false, false, 0.97+0.06*w.Float64()
	g.boot = fakeID(g.n) + "b" + strconv.Itoa(w.runs)
	w.runs++
	g.began = g.clock()
	g.lease = newLease(fakeID(g.n), g.boot, g.began)
	g.lease.returns = g.journal.stamp > 0 && w.rules.emptyList
	g.failure, g.rewrite.number, g.rewrite.left, g.wakeLease, g.open = nil, 0, nil, false, 0
	g.keeper, g.wakeDrain = func() {}, func() {}
	g.recent = &recentWrites{dropped: g.began.UnixMilli()}
	g.heldAt = g.journal.stamp
	g.node = w.primary()
	if n := len(w.servers); n > 1 && w.now < w.servers[n-2].fencedAt && w.chance(0.5) {
		g.node = w.servers[n-2] // it has not heard of the failover
		w.hears(g, g.node, w.within(5*time.Second))
	}
	g.processes = nil
	g.spawn(g.keepLease)
	g.spawn(g.drainLoop)
	g.spawn(g.traffic)
	g.spawn(g.proofs)
}

// kill ends the process. What was not synced may be lost.
func (g *modelGateway) kill() {
	if g.lease.repair.gap == gapFlushed { // it ends before the others, and a later process, can know who is absent
		g.w.outside = true
	}
	g.up = false
	for _, p := range g.processes {
		if !p.ended {
			p.ended = true
			p.stop()
		}
	}
	g.processes = nil
	if g.journal.synced < len(g.journal.records) && g.w.chance(0.5) {
		g.journal.records = g.journal.records[:g.journal.synced]
	}
	g.journal.synced = len(g.journal.records)
}

// call sends a pipeline and waits for its answer.
func (g *modelGateway) call(p *process, timeout time.Duration, parts ...func(s *modelServer)) error {
	w := g.w
	if timeout <= 0 {
		return errModelTimeout
	}
	err := errModelTimeout
	wake, waiting := p.waker(), true
	c := &command{g: g, boot: g.boot, s: g.node, run: g.node.run, parts: parts}
	c.done = func(answer error) {
		if waiting {
			waiting, err = false, answer
			wake()
		}
	}
	w.after(w.delay(), c.arrive)
	w.after(timeout, func() {
		if waiting {
			waiting = false
			wake()
		}
	})
	p.park()
	if w.chance(0.02) {
		p.sleep(w.within(50 * time.Millisecond)) // the machine is busy
	}
	return err
}

func (g *modelGateway) clean() bool { return len(g.journal.records) == 0 || !g.w.rules.journalFirst }

// keepLease is Store.keepLease.
func (g *modelGateway) keepLease(p *process) {
	for {
		for range 3 {
			if again := g.step(p); !again || g.closing {
				break
			}
		}
		if g.closing {
			g.leave(p)
			return
		}
		if !g.wakeLease {
			g.keeper = p.waker()
			p.sleep(renewEvery)
			g.keeper = func() {}
		}
		g.wakeLease = false
	}
}

func (g *modelGateway) wake() {
	g.wakeLease = true
	g.w.after(0, g.keeper)
}

// exchange is Store.exchange.
func (g *modelGateway) exchange(p *process, e exchange) (a leaseAnswer, err error) {
	err = g.call(p, modelTimeout, func(s *modelServer) { a = s.state.exchange(s.w.now, s.name(), e) })
	return a, err
}

// step is Store.step.
func (g *modelGateway) step(p *process) (again bool) {
	now, clean := g.clock(), g.clean()
	g.removeExpired(p, now)
	e := g.lease.next(now, clean)
	a, err := g.exchange(p, e)
	wasHeld, wasRun := g.lease.held, g.lease.run
	if err == nil && !g.lease.registered && g.journal.stamp == 0 {
		g.w.forgotten(a)
	}
	if g.failure = err; err == nil {
		g.lease.answered(g.clock(), e, a)
	}
	if g.lease.held != wasHeld || g.lease.run != wasRun {
		g.w.log("g%d in %s, held %v, after %s: %v", g.n, g.lease.run, g.lease.held, e.action, a.members)
	}
	held, repair := g.lease.held, g.lease.repair
	if held && err == nil && !g.unsettled(now) {
		g.heldAt = g.w.wall()
	}
	switch {
	case err != nil:
		return false
	case held:
		if !g.unsettled(now) && g.w.wall()-g.journal.stamp >= time.Minute.Milliseconds() {
			g.journal.stamp = g.w.wall()
		}
		return false
	case repair.number > 0:
		if !g.w.rules.rewriteFirst {
			g.lease.finish(repair)
		}
		return g.repair(p, repair)
	}
	return clean && e.action != watchLeases
}

// leave is Store.leave.
func (g *modelGateway) leave(p *process) {
	e, held := g.lease.leave(g.clock()), g.lease.held
	if g.w.rules.leaveStamp {
		g.heldAt, g.journal.stamp = 0, min(g.journal.stamp, 1)
	}
	if held && len(g.journal.records) == 0 {
		if a, err := g.exchange(p, e); err == nil && a.done {
			g.w.left++
		}
	}
	p.sleep(0)
	g.w.after(0, g.kill)
	p.park()
}

// removeExpired is Store.removeExpired.
func (g *modelGateway) removeExpired(p *process, now time.Time) {
	ids, since := g.lease.expired(now)
	if len(ids) == 0 {
		return
	}
	at := g.w.wall() + since.Sub(now).Milliseconds() + g.absence()
	if !g.raiseSince(p, at) {
		return
	}
	g.w.removals++
	g.w.log("g%d removes %v", g.n, ids)
	g.lease.stale = append(g.lease.stale, ids...)
}

// forgotten notes that a gateway that never was a member found no others after a flush. It cannot
// tell this Redis from a new one, so nothing is promised if no other gateway has noticed the flush.
func (w *world) forgotten(a leaseAnswer) {
	others := len(a.members)
	for _, m := range a.members {
		if m.checkpoint == 0 {
			others--
		}
	}
	w.outside = w.outside || w.flushed && others == 0
}

// unlisted notes that a gateway marks the gap of a flush while another one, which was a member
// before, is not listed and known to nobody who is there: nothing is promised once a backfill ends
// that gap.
func (w *world) unlisted(marks *modelGateway) {
	for _, o := range w.gateways {
		if o == marks || o.heldAt == 0 {
			continue
		}
		_, listed := marks.lease.view.grants[fakeID(o.n)]
		known := slices.ContainsFunc(w.gateways, func(g *modelGateway) bool { return g != o && g.up && g.lease.absent[fakeID(o.n)] })
		w.outside = w.outside || !listed && !known
	}
}

// absence is by how much a gap is dated later, ms.
func (g *modelGateway) absence() int64 {
	if !g.w.rules.lateGap {
		return 0
	}
	return modelAbsence.Milliseconds()
}

// repair is Store.repair.
func (g *modelGateway) repair(p *process, r repair) (more bool) {
	if g.rewrite.number != r.number {
		if more = g.beginRepair(p, r); !more {
			return false
		}
		g.rewrite.number = r.number
	}
	for until := g.clock().Add(renewEvery); len(g.rewrite.left) > 0; {
		n := min(len(g.rewrite.left), 1+g.w.IntN(40)) // smaller chunks, so that there are several
		part := g.rewrite.left[:n]
		run, err := g.apply(p, modelTimeout, func(f *fakeState) { f.addMessages(part) })
		if err == nil {
			_, err = g.accept(writes{}, run, time.Time{})
		}
		if err != nil {
			return false
		}
		if g.rewrite.left = g.rewrite.left[n:]; g.clock().After(until) {
			return true
		}
	}
	g.lease.finish(r)
	return true
}

// beginRepair is Store.beginRepair.
func (g *modelGateway) beginRepair(p *process, r repair) bool {
	if r.gap == "" && !g.recent.covers(r.since) {
		r.gap = gapRolledBack
	}
	if r.gap != "" && g.w.rules.lossGap {
		at := g.w.wall()
		late, decided := g.lease.gapExtends(g.clock())
		if !decided {
			return false
		} else if late {
			at += g.absence()
		} else if r.gap == gapFlushed {
			g.w.unlisted(g)
		}
		if !g.raiseSince(p, at) {
			return false
		}
		g.w.gaps++
	}
	g.w.log("g%d repairs %+v", g.n, r)
	g.rewrite.left = nil
	for k := range g.recent.all().facts {
		n, _ := strconv.Atoi(k.Customer)
		g.rewrite.left = append(g.rewrite.left, n)
	}
	slices.Sort(g.rewrite.left) // a map has no order
	g.w.Shuffle(len(g.rewrite.left), func(i, j int) {
		l := g.rewrite.left
		l[i], l[j] = l[j], l[i]
	})
	g.w.repairs++
	return true
}

func (f *fakeState) addMessages(all []int) {
	for _, n := range all {
		f.messages.add(n)
	}
}

// apply is Store.apply: it writes, and returns the process of Redis that took it.
func (g *modelGateway) apply(p *process, timeout time.Duration, write func(f *fakeState)) (run string, err error) {
	var a leaseAnswer
	e := exchange{action: readLeases, ids: g.lease.ids()}
	err = g.call(p, min(timeout, modelTimeout),
		func(s *modelServer) { write(&s.state) },
		func(s *modelServer) { a = s.state.exchange(s.w.now, s.name(), e) })
	return a.run, err
}

// accept is Store.accept.
func (g *modelGateway) accept(w writes, run string, begun time.Time) (from time.Time, err error) {
	if g.w.rules.runCheck && (!g.lease.registered || g.lease.run != run) || g.unsettled(begun) && w.len() > 0 {
		return from, errNotJoined
	}
	from = g.lease.ackAfter
	if boot := g.began.Add(leaseGone); !g.w.rules.changeoverWait && from.After(boot) {
		from = boot
	}
	if !g.w.rules.twoTTL && !from.IsZero() {
		from = from.Add(leaseGone/2 - leaseGone)
	}
	g.recent.add(stamp(g.began, g.clock()), w)
	return from, nil
}

// unsettled reports whether Redis could lose the entry of a new member at a time.
func (g *modelGateway) unsettled(at time.Time) bool {
	return g.w.rules.settling && at.Before(g.lease.settled)
}

// raiseSince is Store.raiseSince.
func (g *modelGateway) raiseSince(p *process, at int64) bool {
	begun := g.clock()
	run, err := g.apply(p, modelTimeout, func(f *fakeState) { f.raise(at) })
	if err != nil {
		return false
	}
	from, err := g.accept(writes{marks: map[string]int64{"since": at}}, run, begun)
	if err != nil {
		return false
	}
	p.sleep(g.until(from))
	return true
}

func modelWrites(messages ...int) writes {
	w := newGeneration(0).writes
	for _, n := range messages {
		w.facts[Key{Customer: strconv.Itoa(n)}] = 1
	}
	return w
}

// write is Store.write.
func (g *modelGateway) write(p *process, timeout time.Duration, messages ...int) (from time.Time, err error) {
	begun := g.clock()
	run, err := g.apply(p, timeout, func(f *fakeState) { f.addMessages(messages) })
	if err != nil {
		return from, err
	}
	return g.accept(modelWrites(messages...), run, begun)
}

// commit is Store.commit. It reports whether the messages may be acknowledged.
func (g *modelGateway) commit(p *process, messages ...int) bool {
	end := g.w.now + modelTimeout + time.Duration(len(messages))*time.Millisecond
	var from time.Time
	var err error
	for range 5 {
		from, err = g.write(p, end-g.w.now, messages...)
		if err == nil || errors.Is(err, errNotJoined) || g.w.now >= end {
			break
		}
		p.sleep(10 * time.Millisecond)
	}
	if err != nil {
		return g.spill(p, messages...)
	}
	p.sleep(g.until(from))
	return true
}

// spill is Store.spill.
func (g *modelGateway) spill(p *process, messages ...int) bool {
	if !g.member() {
		return false
	}
	g.journal.records = append(g.journal.records, messages...)
	g.w.log("g%d journals %v", g.n, messages)
	end := len(g.journal.records)
	p.sleep(g.w.within(10 * time.Millisecond)) // fsync
	g.journal.synced = max(g.journal.synced, min(end, len(g.journal.records)))
	g.w.after(0, g.wakeDrain)
	if !g.w.rules.journalWait {
		return true
	}
	for {
		expires := g.lease.expires
		if !g.w.rules.twoTTL {
			expires = expires.Add(leaseGone/2 - leaseGone)
		}
		left := g.until(expires)
		if left <= 0 {
			return true
		}
		p.sleep(left)
	}
}

// member is Store.member.
func (g *modelGateway) member() bool {
	return !g.w.rules.memberLimit || g.heldAt != 0 && g.w.wall()-g.heldAt <= modelAbsence.Milliseconds()
}

// drainLoop is the part of Store.Run that drains the journal.
func (g *modelGateway) drainLoop(p *process) {
	for {
		g.drain(p)
		g.wakeDrain = p.waker()
		p.sleep(renewEvery)
		g.wakeDrain = func() {}
	}
}

// drain is Store.drain.
func (g *modelGateway) drain(p *process) {
	n, at := 0, 0
	for len(g.journal.records) > at {
		next := min(len(g.journal.records), at+1+g.w.IntN(20)) // smaller chunks, so that there are several
		if _, err := g.write(p, modelTimeout, g.journal.records[at:next]...); err != nil {
			g.drop(at)
			return
		}
		n, at = n+next-at, next
		if at == len(g.journal.records) {
			g.drop(at)
			at = 0
		}
	}
	if n > 0 && len(g.journal.records) == 0 {
		g.w.drained += n
		g.wake()
	}
}

func (g *modelGateway) drop(n int) {
	g.journal.records = slices.Clone(g.journal.records[n:])
	g.journal.synced = max(0, g.journal.synced-n)
}

// traffic begins calls that bring messages.
func (g *modelGateway) traffic(p *process) {
	for !g.leaving {
		p.sleep(g.w.pause(700 * time.Millisecond))
		if g.leaving || g.w.messages == maxBits {
			return
		}
		n := g.w.messages
		g.w.messages++
		g.open++
		g.spawn(func(p *process) {
			if g.commit(p, n) {
				g.w.acks++
				g.w.acked.add(n)
				g.w.log("g%d acknowledges %d", g.n, n)
			}
			g.open--
		})
	}
}

// proofs asks for proofs, and backfills what is incomplete.
func (g *modelGateway) proofs(p *process) {
	for {
		p.sleep(g.w.pause(250 * time.Millisecond))
		if g.prove(p) && g.w.chance(0.3) {
			g.backfill(p)
		}
	}
}

// prove is Store.prove with readProven. It asks about all messages at once. gap reports that
// history is incomplete.
func (g *modelGateway) prove(p *process) (gap bool) {
	w := g.w
	acked, began := w.acked, w.now
	var before view
	if g.lease.held {
		before = g.lease.view
	}
	var since, backfill int64
	var messages bitset
	var a leaseAnswer
	e := exchange{action: readLeases, ids: g.lease.ids()}
	server := g.node
	err := g.call(p, modelTimeout,
		func(s *modelServer) { since = s.state.since },
		func(s *modelServer) { messages = s.state.messages },
		func(s *modelServer) { backfill = s.state.backfill },
		func(s *modelServer) { a = s.state.exchange(s.w.now, s.name(), e) })
	if err != nil {
		w.unsure++
		return false
	}
	later := a.view()
	if !w.rules.doubleCollect {
		before = later
	}
	proven := before.unbroken(later, fakeID(g.n))
	if !proven {
		g.wake()
	}
	if since == 0 { // Store.beginHistory
		now := w.wall()
		_ = g.call(p, modelTimeout, func(s *modelServer) {
			if s.state.since == 0 {
				s.state.since = now
			}
		})
		return true
	}
	newest := since
	if backfill >= newest {
		newest = 0
	}
	if newest+modelLength.Milliseconds() > w.wall() {
		w.incomplete++
		return true
	}
	if !proven {
		w.unsure++
		return false
	}
	w.refusals++
	if missing := acked.without(messages); missing != (bitset{}) && !w.outside {
		w.wrong = append(w.wrong, w.describe(g, server, began, missing))
	}
	return false
}

func (w *world) describe(g *modelGateway, s *modelServer, began time.Duration, missing bitset) string {
	var all []string
	for n := range maxBits {
		if missing[n/64]&(1<<(n%64)) != 0 {
			all = append(all, strconv.Itoa(n))
		}
	}
	text := fmt.Sprintf("at %s g%d refused by server %d, which lacks %d messages acknowledged before %s, among them %s", w.now, g.n, s.n, len(all), began, all[0])
	w.log("%s", text)
	return text
}

// backfill pulls all messages from the platform again and ends the gaps: backfill.go with
// Store.Backfilled.
func (g *modelGateway) backfill(p *process) {
	w := g.w
	began, n := w.wall(), w.messages
	for at := 0; at < n; at += 100 {
		var page []int
		for i := at; i < min(n, at+100); i++ {
			page = append(page, i)
		}
		if !g.commit(p, page...) {
			return
		}
	}
	if len(g.journal.records) > 0 {
		return
	}
	var since int64
	if g.call(p, modelTimeout, func(s *modelServer) { since = s.state.since }) != nil || since > began {
		return
	}
	if g.call(p, modelTimeout, func(s *modelServer) { s.state.backfill = began }) == nil {
		w.backfills++
		w.log("g%d has backfilled %d messages", g.n, n)
	}
}

// fault is something that a schedule does to Redis, the network or a gateway.
type fault struct {
	every time.Duration // on average
	do    func(w *world)
}

func ms(choices ...int) []time.Duration {
	all := make([]time.Duration, len(choices))
	for i, c := range choices {
		all[i] = time.Duration(c) * time.Millisecond
	}
	return all
}

func pick[T any](w *world, all []T) T { return all[w.IntN(len(all))] }

var modelFaults = []fault{
	{25 * time.Second, func(w *world) { // Redis ends, and begins with what it had on its disk
		lost := w.within(600 * time.Millisecond)
		if w.chance(0.2) {
			lost = 0
		}
		w.log("restart without the last %s", lost)
		w.primary().restart(lost, pick(w, ms(0, 0, 200, 2000)))
	}},
	{30 * time.Second, (*world).failOver},
	{8 * time.Second, func(w *world) {
		g := pick(w, w.gateways)
		w.cutOff(g, pick(w, []*modelServer{g.node, w.primary()}), w.within(pick(w, ms(500, 2000, 6000))))
	}},
	{12 * time.Second, func(w *world) {
		d := pick(w, ms(150, 600, 1500, 4000))
		w.log("server %d hangs for %s", w.primary().n, d)
		w.primary().hang(d)
	}},
	{15 * time.Second, func(w *world) {
		if g := pick(w, w.gateways); g.up {
			w.log("g%d is killed", g.n)
			g.kill()
			w.returns(g, w.within(pick(w, ms(300, 3000, 10000))))
		}
	}},
	{20 * time.Second, func(w *world) {
		if g := pick(w, w.gateways); g.up {
			g.close()
		}
	}},
	{60 * time.Second, func(w *world) {
		w.log("server %d is flushed", w.primary().n)
		w.flushed = true
		w.primary().state = fakeState{}
		w.primary().changed()
	}},
}

func (w *world) log(format string, args ...any) {
	if w.trace != nil {
		w.trace(format, args...)
	}
}

// cutOff cuts a link for a while, in one or both directions.
func (w *world) cutOff(g *modelGateway, s *modelServer, d time.Duration) {
	c := &modelCut{g: g, s: s, there: true, answer: true}
	if w.chance(0.3) {
		c.there = w.chance(0.5)
		c.answer = !c.there
	}
	w.log("g%d is cut off from server %d for %s, there %v, back %v", g.n, s.n, d, c.there, c.answer)
	w.cuts = append(w.cuts, c)
	w.after(d, func() { w.heal(c) })
}

// returns starts a gateway again, perhaps without its link to Redis.
func (w *world) returns(g *modelGateway, d time.Duration) {
	w.after(d, func() {
		if g.up {
			return
		}
		if w.chance(0.3) {
			w.cutOff(g, w.primary(), w.within(pick(w, ms(3000, 8000))))
		}
		w.log("g%d starts", g.n)
		g.start()
	})
}

// close ends a gateway in order: it takes no more calls, answers those that it has, and leaves.
func (g *modelGateway) close() {
	w := g.w
	w.log("g%d is told to leave", g.n)
	g.leaving = true
	g.spawn(func(p *process) {
		for g.open > 0 {
			p.sleep(50 * time.Millisecond)
		}
		g.closing = true
		g.wake()
	})
	w.returns(g, 4*time.Second+w.within(pick(w, ms(300, 3000, 10000))))
}

// failOver makes a replica the primary, which lacks the last writes. Some clients go on with the
// old one until they hear of it, unless that has ended.
func (w *world) failOver() {
	if !w.failover {
		return
	}
	old := w.primary()
	lost := w.within(600 * time.Millisecond)
	s := &modelServer{w: w, n: len(w.servers), run: w.newRun(), up: true, state: old.earlier(lost)}
	s.changed()
	w.servers = append(w.servers, s)
	old.fencedAt = w.now + time.Second
	if w.chance(0.3) {
		old.up = false
	}
	w.log("failover to server %d without the last %s, the old one is up: %v", s.n, lost, old.up)
	for _, g := range w.gateways {
		d := w.within(200 * time.Millisecond)
		if w.chance(0.4) {
			d = w.within(5 * time.Second)
		}
		w.hears(g, old, d)
	}
}

// hears lets the client of a gateway go on to the primary.
func (w *world) hears(g *modelGateway, old *modelServer, d time.Duration) {
	w.after(d, func() {
		if g.node == old {
			g.node = w.primary()
		}
	})
}

// modelRun runs the schedule of a seed.
func modelRun(seed uint64, rules leaseRules, trace func(format string, args ...any)) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), rules: rules}
	if trace != nil {
		w.trace = func(format string, args ...any) { trace("%9.3f  "+format, append([]any{w.now.Seconds()}, args...)...) }
	}
	w.failover = w.chance(0.6)
	first := &modelServer{w: w, run: w.newRun(), up: true}
	first.state.since = modelEpoch - 2*modelLength.Milliseconds()
	first.changed()
	w.servers = append(w.servers, first)
	for n := range fakeGateways {
		g := &modelGateway{w: w, n: n, node: first}
		w.gateways = append(w.gateways, g)
		if n == 2 && w.chance(0.3) {
			w.returns(g, w.within(20*time.Second)) // it has never been a member
		} else {
			g.start()
		}
	}
	for _, f := range modelFaults {
		if rate := pick(w, []float64{0, 0.5, 1, 3}); rate > 0 {
			w.repeat(time.Duration(float64(f.every)/rate), func() { f.do(w) })
		}
	}
	end := 40 * time.Second
	if w.chance(0.2) {
		w.after(5*time.Second+w.within(25*time.Second), w.absence)
		end += memberTimeout + time.Minute
	}
	for w.events[0].at < end {
		e := heap.Pop(&w.events).(modelEvent)
		w.now = e.at
		e.do()
	}
	for _, g := range w.gateways {
		g.kill()
	}
	return w
}

// repeat does something at random times, every d on average, from the sixth second on.
func (w *world) repeat(d time.Duration, do func()) {
	var again func()
	again = func() {
		if w.now > 4*time.Second && !w.quiet {
			do()
		}
		w.after(time.Duration(w.ExpFloat64()*float64(d)), again)
	}
	w.after(4*time.Second+time.Duration(w.ExpFloat64()*float64(d)), again)
}

// absence takes a gateway away for longer than memberTimeout, while little else happens.
func (w *world) absence() {
	g := pick(w, w.gateways)
	w.quiet = true
	d := memberTimeout + w.within(time.Minute)
	if g.up && w.chance(0.5) {
		w.log("g%d is killed", g.n)
		g.kill()
		w.returns(g, d)
	} else {
		for _, s := range w.servers {
			w.cutOff(g, s, d)
		}
	}
	w.after(d-w.within(20*time.Second), func() { w.quiet = false })
}
