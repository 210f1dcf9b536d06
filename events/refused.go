package events

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"replygate/record"
)

// Refused logs refused calls as events, while somebody asks for them: a webhook or robot of the
// configuration, or a listener at any gateway. There may be many, so only some of each second and
// each hour are logged, and the next one tells how many were not.
type Refused struct {
	Log     *Log
	Feed    *Feed
	Now     func() time.Time
	Errors  *record.RateLimited
	Gateway func() string   // how it is called in events
	Asked   func() []string // the types that webhooks and robots of the configuration name

	on     atomic.Bool
	looked time.Time // when the listeners of other gateways were asked for

	mu      sync.Mutex
	second  quota
	hour    quota
	dropped int
	waiting []Event
}

const (
	refusedPerSecond = 50
	refusedOfLog     = 10                   // in an hour a tenth of what the log keeps: others must find room
	maxRefused       = 4 * refusedPerSecond // that wait for Redis
	maxRefusedRecord = maxEvent - 1000      // bytes of a record; the rest of the event needs less
	askEvery         = 2 * time.Second      // whether another gateway has listeners
	askedFor         = 15 * time.Second     // a listener keeps the others logging
	refusedSeen      = 10 * time.Minute     // one gateway alone logs a refusal, and repeats it at once or never
)

// quota counts what is taken of a period.
type quota struct {
	period int64 // since the epoch
	taken  int
}

// left returns how many of most there are left in the period of length every that now is in.
func (q *quota) left(now time.Time, every time.Duration, most int) int {
	if period := now.UnixNano() / int64(every); period != q.period {
		q.period, q.taken = period, 0
	}
	return most - q.taken
}

// RefusedData is the data of decision.refused: a decision record with two members more.
type RefusedData struct {
	Gateway string
	Dropped int    // refusals before this one that are no events
	Members []byte // of the record, with its closing brace
}

// MarshalJSON writes the members of the record after those of the event.
func (d RefusedData) MarshalJSON() ([]byte, error) {
	gateway, err := json.Marshal(d.Gateway)
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, `{"gateway":%s,"dropped":%d,`, gateway, d.Dropped)
	return append(b, d.Members...), nil
}

// Add takes the decision record of a call, and ignores one that was not refused. members has the
// closing brace.
func (r *Refused) Add(members []byte) {
	if !r.on.Load() || string(record.Raw(members, "verdict")) != "refuse" || string(record.Raw(members, "forwarded")) != "false" {
		return
	}
	id := record.Member(members, "id")
	at, ok := record.IDTime(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	left := min(r.second.left(now, time.Second, refusedPerSecond), r.hour.left(now, time.Hour, r.Log.most/refusedOfLog))
	if !ok || left <= 0 || len(r.waiting) == maxRefused || len(members) > maxRefusedRecord {
		r.dropped++
		return
	}
	r.second.taken++
	r.hour.taken++
	r.waiting = append(r.waiting, Event{
		Type: DecisionRefused, At: at, Corp: record.Member(members, "corp_id"), Key: []string{id},
		Data: RefusedData{Gateway: r.Gateway(), Dropped: r.dropped, Members: bytes.Clone(members)},
	})
	r.dropped = 0
}

// Run logs what is added until ctx ends.
func (r *Refused) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAppends)
			defer cancel()
			r.flush(last)
			return
		case <-tick.C:
		}
		r.ask(ctx)
		r.flush(ctx)
	}
}

// ask finds out whether somebody wants to hear of refused calls.
func (r *Refused) ask(ctx context.Context) {
	if asksForRefused(r.Asked()) {
		r.on.Store(true)
		return
	}
	now := r.Now()
	listens := r.Feed.asksForRefused()
	if !listens && now.Sub(r.looked) < askEvery {
		return
	}
	r.looked = now
	wanted := listens
	var err error
	if listens {
		err = r.Log.askForRefused(ctx)
	} else {
		wanted, err = r.Log.refusedAreAsked(ctx)
	}
	if err != nil { // as before
		r.Errors.Warn("cannot tell whether anybody subscribes to decision.refused", zap.Error(err))
		return
	}
	r.on.Store(wanted)
}

// flush logs what waits. While Redis is away it stays.
func (r *Refused) flush(ctx context.Context) {
	r.mu.Lock()
	some := slices.Clone(r.waiting)
	r.mu.Unlock()
	if len(some) == 0 {
		return
	}
	if _, err := r.Log.Append(ctx, some...); err != nil {
		r.Errors.Warn("refused calls wait for Redis to be logged as events", zap.Error(err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.Delete(r.waiting, 0, len(some))
}

// asksForRefused reports whether patterns of types select refused calls.
func asksForRefused(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return ofType(pattern, DecisionRefused) })
}
