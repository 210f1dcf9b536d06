package proxy

import (
	"sync/atomic"
	"time"
)

// lastTime is when something last happened, to the second: more would make concurrent calls contend
// for writing it.
type lastTime struct{ unix atomic.Int64 }

func (l *lastTime) note(at time.Time) {
	if now := at.Unix(); now > l.unix.Load() {
		l.unix.Store(now)
	}
}

func (l *lastTime) get() time.Time {
	if at := l.unix.Load(); at != 0 {
		return time.Unix(at, 0)
	}
	return time.Time{}
}

// Activity is when something last succeeded and last failed; zero: never.
type Activity struct{ Good, Bad time.Time }

func activityOf(l *[2]lastTime) Activity { return Activity{Good: l[1].get(), Bad: l[0].get()} }

// UpstreamActivity tells of calls that WeCom answered, and did not.
func (m *Metrics) UpstreamActivity() Activity { return activityOf(&m.lately) }

// CallbackActivity tells of callbacks that were verified, and that were not.
func (m *Metrics) CallbackActivity() Activity { return activityOf(&m.callbacksLately) }
