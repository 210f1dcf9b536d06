// Package window knows when each customer last wrote and which replies were sent since: the
// arithmetic of the reply window, and its keeping in Redis.
//
// It does not know which calls need a window (package policy), nor how messages become known
// (packages wecom, proxy and admin).
package window

import (
	"slices"
	"time"
)

// Window is what is on record of one customer on one channel of one corp. Times are unix
// milliseconds.
//
// The functions below say what each fact does to it; the scripts in lua/ do the same atomically.
// Facts commute: in whatever order messages and replies become known, the same Window comes out.
type Window struct {
	Last int64   // when the customer last wrote, by the platform's clock; 0: nothing on record
	Sent []int64 // the replies that count against Last, ascending
	Shut int64   // the Last of which WeCom said that its window is shut; 0: never
}

// counts tells from when on a reply counts against a message: the platform's send_time has whole
// seconds, so a reply within the message's own second may have come before it.
func counts(last int64) int64 { return last - last%1000 + 1000 }

// Record notes that the customer wrote at the time given. Replies from before that no longer count.
func (w Window) Record(at int64) Window {
	if at <= w.Last {
		return w
	}
	from := counts(at)
	w.Last = at
	w.Sent = slices.DeleteFunc(slices.Clone(w.Sent), func(t int64) bool { return t < from })
	return w
}

// Reserve notes a reply at now and returns its time stamp, by which it can be released. A reply in
// the very second of the message it answers is stamped with the next one, so that it counts; equal
// stamps are told apart by a millisecond.
func (w Window) Reserve(now int64) (Window, int64) {
	stamp := max(now, counts(w.Last))
	for slices.Contains(w.Sent, stamp) {
		stamp++
	}
	w.Sent = append(slices.Clone(w.Sent), stamp)
	slices.Sort(w.Sent)
	return w, stamp
}

// Release takes the reply with that stamp back: WeCom certainly did not take the message.
func (w Window) Release(stamp int64) Window {
	w.Sent = slices.DeleteFunc(slices.Clone(w.Sent), func(t int64) bool { return t == stamp })
	return w
}

// Exhaust notes that WeCom says the replies to the message of last are used up.
func (w Window) Exhaust(last, stamp int64, replies int) Window {
	if w.Last != last {
		return w
	}
	for from := max(stamp, counts(w.Last)); w.sentFrom(from) < replies; {
		w, _ = w.Reserve(from)
	}
	return w
}

// Close notes that WeCom says the window of the message of last is shut. Only a later message opens
// it.
func (w Window) Close(last int64) Window {
	w.Shut = max(w.Shut, last)
	return w
}

// State is what a window means for a reply.
type State uint8

// The states. The zero State lets nothing through.
const (
	Closed           State = iota // the customer wrote, but too long ago; or has not written, and records reach back far enough to know
	ClosedByPlatform              // WeCom itself said so
	Exhausted                     // open, but its replies are used up
	Open                          // a reply may go
	Cached                        // Redis is away; this gateway saw the window open
	Incomplete                    // nothing on record, or its replies are used up, but a message may have been missed
	Unavailable                   // Redis is away
	Unproven                      // on record it is Closed or Full, but for a moment Redis may lack a newer message
)

var stateNames = [...]string{"closed", "shut", "full", "open", "remembered", "incomplete", "unavailable", "unproven"}

// String returns the state's word, as records have it.
func (s State) String() string { return stateNames[s] }

// ReadState returns the state with a word; ok is false if there is none.
func ReadState(word string) (s State, ok bool) {
	i := slices.Index(stateNames[:], word)
	return State(max(i, 0)), i >= 0
}

// Judge tells what the window means at now. It needs no record: a Window without Last is Closed.
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

// sentFrom is how many replies count that were sent at an instant or later.
func (w Window) sentFrom(from int64) (n int) {
	for _, sent := range w.Sent {
		if sent >= from {
			n++
		}
	}
	return n
}

// Left is how many replies may still go; -1 if they are not counted.
func (w Window) Left(replies int) int {
	if replies == 0 {
		return -1
	}
	return max(0, replies-len(w.Sent))
}
