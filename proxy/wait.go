package proxy

import (
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/gate"
	"replygate/policy"
	"replygate/wecom"
)

// A call that is unsure because Redis is away waits up to policy.unsure_wait, since few SDKs send
// again on -1 and a failover takes two seconds. It looks by itself, without asking Redis, whether
// judging it anew may come to something else: no channel has to wake thousands of calls, and none
// can miss its wake-up.
const (
	// lookAgain is how often a waiting call looks at its client, at the configuration, at the
	// gateway's shutdown, and whether Redis answers again.
	lookAgain = 100 * time.Millisecond
	// judgeAgain is how often it is judged anew while Redis answers but may lack a message: nothing
	// tells when that ends. Replies of one moment are one question to Redis.
	judgeAgain = 500 * time.Millisecond
)

// What may wait. A call that waits keeps its connection, a goroutine and its body, some 50 KB in
// all: of one account as many as its bots send in three seconds at 85 a second, and of all accounts
// no more than 200 MB of memory. Bodies are bounded apart, since a judged one may have a megabyte;
// most replies have less than 2 KB.
var (
	maxOfAccount = load{calls: 256, bytes: 4 << 20}
	maxInAll     = load{calls: 4096, bytes: 64 << 20}
)

// load is a number of calls with the bytes of their bodies.
type load struct{ calls, bytes int }

func (l load) plus(o load) load      { return load{l.calls + o.calls, l.bytes + o.bytes} }
func (l load) minus(o load) load     { return load{l.calls - o.calls, l.bytes - o.bytes} }
func (l load) within(most load) bool { return l.calls <= most.calls && l.bytes <= most.bytes }

// waiters bounds the calls that wait, those of each account and all. The zero value has none.
type waiters struct {
	mu        sync.Mutex
	all       load
	ofAccount map[string]load // :: corp id, "" of those whose corp is not known -> its share of all
}

// enter takes a place for a call, if there is one.
func (w *waiters) enter(corp string, bytes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := load{1, bytes}
	all, own := w.all.plus(one), w.ofAccount[corp].plus(one)
	if !all.within(maxInAll) || !own.within(maxOfAccount) {
		return false
	}
	if w.ofAccount == nil {
		w.ofAccount = map[string]load{}
	}
	w.all, w.ofAccount[corp] = all, own
	return true
}

// leave gives back the place that enter took with the same arguments.
func (w *waiters) leave(corp string, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := load{1, bytes}
	w.all, w.ofAccount[corp] = w.all.minus(one), w.ofAccount[corp].minus(one)
	if w.ofAccount[corp].calls == 0 {
		delete(w.ofAccount, corp)
	}
}

func (w *waiters) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.calls
}

// Waiting returns how many unsure calls wait to be judged again.
func (g *Gateway) Waiting() int { return g.waiters.calls() }

// wait is how one call waits. The zero value has not waited.
type wait struct {
	began   time.Time          // zero: it did not wait
	again   bool               // the call is unsure, and to be judged anew after a while
	over    bool               // the next judgement is final
	outcome policy.WaitOutcome // of a call that stays unsure, or whose client has gone
	took    time.Duration      // once it is over

	placed bool // it has a place among the waiters, for this corp and these bytes
	corp   string
	bytes  int
}

// waits reports whether an unsure call waits. serve then judges it again.
func (x *apiRequest) waits() bool {
	w := &x.wait
	switch {
	case w.over || x.gate.Config.Policy.UnsureWait == 0:
	case w.began.IsZero():
		w.again = x.beginWait()
	default:
		w.again = time.Since(w.began) < x.gate.Config.Policy.UnsureWait
	}
	return w.again
}

// beginWait takes a place among the waiters, if the call may wait. One whose client cannot be
// watched may not: it could be sent after its client had given it up and sent it again.
func (x *apiRequest) beginWait() bool {
	w := &x.wait
	if x.gw.Draining() {
		w.outcome = policy.WaitShutdown
		return false
	}
	if x.peer() == peerUnknown {
		return false
	}
	if _, more, ok := x.readBodyOnce(); !ok || more != nil {
		return false // it broke off, or is longer than any reply
	}
	if !x.gw.waiters.enter(x.corp, len(x.body)) {
		w.outcome = policy.WaitQueueFull
		return false
	}
	w.began, w.placed, w.corp, w.bytes = time.Now(), true, x.corp, len(x.body)
	return true
}

// waitAndRejudge returns true once it is worth judging the call anew, at the latest when its wait
// is over. It returns false, and has answered the call, if the client has gone.
func (x *apiRequest) waitAndRejudge() bool {
	w := &x.wait
	judged, answers := time.Now(), x.redisAnswers()
	for {
		left := x.gate.Config.Policy.UnsureWait - time.Since(w.began)
		switch {
		case x.gw.Draining():
			w.over, w.outcome = true, policy.WaitShutdown
		case left <= 0:
			w.over, w.outcome = true, policy.WaitStillUnsure
		}
		if w.over {
			break
		}
		time.Sleep(min(left, lookAgain))
		if x.peer() == peerGone {
			x.drop()
			return false
		}
		before := answers
		answers = x.redisAnswers()
		if x.gw.Current() != x.settings || answers && (!before || time.Since(judged) >= judgeAgain) {
			break
		}
	}
	x.forget()
	return true
}

// redisAnswers reports whether Redis answered the last command.
func (x *apiRequest) redisAnswers() bool { return x.gw.RedisAnswers == nil || x.gw.RedisAnswers() }

// forget takes back what a judgement made of the call, so that it is judged anew, whole: at this
// instant, by the configuration in force, and with the body that was read.
func (x *apiRequest) forget() {
	x.use(x.gw.Current())
	x.head.At = x.gw.Now()
	x.head.Who, x.name, x.corp, x.by, x.waited = policy.Subject{}, "", "", gate.ByNone, 0
	x.decision, x.judged, x.id = nil, gate.Judgement{}, ""
	x.wait.again = false
}

// drop gives up a call whose client has gone. The answer is for one that only closed its side for
// writing.
func (x *apiRequest) drop() {
	x.wait.outcome = policy.WaitClientGone
	x.errorKind, x.closeAfter = clientAborted, true
	if x.decision == nil { // by a reload it is no longer judged
		gone := x.gate.Engine.Waited(policy.Decision{}, policy.WaitClientGone, 0)
		x.fail(fasthttp.StatusOK, wecom.CodeBusy, gone.Errmsg)
		return
	}
	*x.decision = x.gate.Engine.Waited(*x.decision, policy.WaitClientGone, 0)
	x.refuse()
}

// endWait gives the call's place among the waiters back.
func (x *apiRequest) endWait() {
	w := &x.wait
	if !w.placed {
		return
	}
	x.gw.waiters.leave(w.corp, w.bytes)
	w.placed, w.took = false, time.Since(w.began)
}

// waitOutcome is how the wait of the call came out; "" if it did not have to wait.
func (x *apiRequest) waitOutcome() policy.WaitOutcome {
	w := &x.wait
	switch {
	case w.outcome == policy.WaitClientGone, w.began.IsZero():
		return w.outcome
	case x.decision == nil || x.decision.Verdict == policy.Pass:
		return policy.WaitPassed
	case x.decision.Verdict == policy.Refuse:
		return policy.WaitRefused
	case w.outcome == "": // unsure for another reason by now, which does not end by itself
		return policy.WaitStillUnsure
	}
	return w.outcome
}

// peerState is what is known of the client at the other end of a connection.
type peerState uint8

const (
	peerUnknown peerState = iota // the state cannot be read: not Linux, or not TCP
	peerThere
	peerGone // it has closed or reset the connection, or at least sends nothing more
)

// peer looks whether the client is still there.
func (x *apiRequest) peer() peerState {
	if c, ok := x.rc.Conn().(*clientConn); ok {
		return c.peer()
	}
	return peerUnknown
}
