// Package window keeps when each customer last wrote and which replies were sent since. window.go
// is the arithmetic of the reply window, as pure functions; the rest stores it in Redis, and
// decides whether Redis can be trusted to refuse a reply.
//
// It does not know which calls need a window (package policy). It never reads messages itself
// (packages wecom, proxy and admin do).
package window

import (
	"slices"
	"time"
)

// Window is the record of one customer on one channel of one corp. Times are unix milliseconds.
//
// The methods below are pure; the scripts in lua/ do the same atomically. Facts commute: messages
// and replies give the same Window in any order.
type Window struct {
	Last int64   // the customer's last message, by the platform's clock; 0 = none on record
	Sent []int64 // the replies that count against Last, ascending
	Shut int64   // the Last whose window WeCom or an operator shut; 0 = none

	Answered int64 // the newest reply of a bot that WeCom took; 0 = none on record
	Served   int64 // the newest message of a servicer; 0 = none on record

	unsettled int64 // the newest of Sent if no reply's outcome is on record; 0 = none
}

// counts returns the instant from which replies count against a message. The platform's send_time
// has whole seconds, so a reply within the message's own second may have been sent before it.
func counts(last int64) int64 { return last - last%1000 + 1000 }

// Record adds a message at the given time. Replies before it no longer count.
func (w Window) Record(at int64) Window {
	if at <= w.Last {
		return w
	}
	from := counts(at)
	w.Last = at
	w.Sent = slices.DeleteFunc(slices.Clone(w.Sent), func(t int64) bool { return t < from })
	return w
}

// maxStampAhead is how far a stamp may be ahead of Redis's clock, in ms. It is twice the difference
// from which clocks are reported as wrong, so it never changes the stamps of correct clocks. A
// later stamp could count against messages that the customer writes after the reply.
const maxStampAhead = 2000

// stampTime returns the time by which a reply at now is stamped. redis is Redis's clock, 0 if
// unknown.
func stampTime(now, redis int64) int64 {
	if redis == 0 {
		return now
	}
	return min(now, redis+maxStampAhead)
}

// Reserve adds a reply at now and returns its stamp, by which Release finds it. redis is Redis's
// clock, 0 if unknown. A reply within the second of the message is stamped with the next second, so
// that it counts. A stamp that is taken already moves by a millisecond.
func (w Window) Reserve(now, redis int64) (Window, int64) {
	stamp := max(stampTime(now, redis), counts(w.Last))
	for slices.Contains(w.Sent, stamp) {
		stamp++
	}
	w.Sent = append(slices.Clone(w.Sent), stamp)
	slices.Sort(w.Sent)
	return w, stamp
}

// Release removes the reply with that stamp, since WeCom certainly did not accept it.
func (w Window) Release(stamp int64) Window {
	w.Sent = slices.DeleteFunc(slices.Clone(w.Sent), func(t int64) bool { return t == stamp })
	return w
}

// Exhaust marks all replies to the message at last as used, by WeCom's answer to the reply at
// stamp.
func (w Window) Exhaust(last, stamp int64, replies int) Window {
	if w.Last != last {
		return w
	}
	for from := max(stamp, counts(w.Last)); w.sentFrom(from) < replies; {
		w, _ = w.Reserve(from, 0)
	}
	return w
}

// Close shuts the window of the message at last. Only a later message opens it.
func (w Window) Close(last int64) Window {
	w.Shut = max(w.Shut, last)
	return w
}

// State is the meaning of a window for a reply.
type State uint8

// The states. The zero State lets no reply pass.
const (
	Closed           State = iota // the last message is too long ago, or there is none and history is complete
	ClosedByPlatform              // shut by WeCom or an operator
	Exhausted                     // open, but all its replies are used
	Open                          // a reply may be sent
	Cached                        // Redis fails, but this gateway saw the window open before
	Incomplete                    // no record, or all replies used, but history has a gap
	Unavailable                   // Redis fails
	Unproven                      // Closed or Exhausted on record, but Redis may lack a newer message
)

var stateNames = [...]string{"closed", "shut", "full", "open", "remembered", "incomplete", "unavailable", "unproven"}

// String returns the state's name in decision records.
func (s State) String() string { return stateNames[s] }

// ReadState is the inverse of String. ok is false for an unknown name.
func ReadState(name string) (s State, ok bool) {
	i := slices.Index(stateNames[:], name)
	return State(max(i, 0)), i >= 0
}

// Judge returns the state at now, unix ms. It is Closed for the zero Window. replies = 0 means that
// replies are not counted.
func (w Window) Judge(now int64, length time.Duration, replies int) State {
	switch {
	case w.Last == 0 || now-w.Last >= length.Milliseconds():
		return Closed
	case w.Shut >= w.Last:
		return ClosedByPlatform
	case replies > 0 && len(w.Sent) >= replies:
		return Exhausted
	}
	return Open
}

// Waiting reports whether the customer waits for an answer: neither a bot nor a servicer has
// replied since the last message. A reply in the message's own second answers it. byServicer
// ignores bots.
func (w Window) Waiting(byServicer bool) bool {
	second := w.Last - w.Last%1000
	return w.Served < second && (byServicer || max(w.Answered, w.unsettled) < second)
}

// sentFrom counts the replies at an instant or later.
func (w Window) sentFrom(from int64) (n int) {
	for _, sent := range w.Sent {
		if sent >= from {
			n++
		}
	}
	return n
}

// Left returns how many replies may still be sent, -1 if they are not counted.
func (w Window) Left(replies int) int {
	if replies == 0 {
		return -1
	}
	return max(0, replies-len(w.Sent))
}
