package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"replygate/admin"
	"replygate/wecom"
)

// today counts the decisions of a day and of its hours, from counters that only grow. It notes what
// they are when each hour begins, so that a call costs nothing more.
type today struct {
	metrics prometheus.Gatherer // with replygate_decisions_total
	zone    *time.Location
	now     func() time.Time

	mu    sync.Mutex
	hours []hourBegin // of the present day, after the first; never empty once begun
}

// hourBegin is what the counters were when an hour began, or this process in it.
type hourBegin struct {
	at     time.Time
	counts map[outcome]int
}

// outcome is what a judged call came to.
type outcome struct {
	capability wecom.Capability
	verdict    string
	reason     string
}

// hourLook is how often it is looked whether an hour has begun.
const hourLook = 2 * time.Second

// run notes the hours until ctx ends.
func (t *today) run(ctx context.Context) {
	tick := time.NewTicker(hourLook)
	defer tick.Stop()
	for {
		t.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look notes the counters if an hour has begun since the last look, and forgets the day before.
func (t *today) look() map[outcome]int {
	counts, now := t.read(), t.now().In(t.zone)
	t.mu.Lock()
	defer t.mu.Unlock()
	hour := now.Truncate(time.Hour)
	if _, offset := now.Zone(); offset%3600 != 0 { // of a zone with a half hour
		hour = now.Add(-time.Duration(now.Minute())*time.Minute - time.Duration(now.Second())*time.Second - time.Duration(now.Nanosecond()))
	}
	if len(t.hours) > 0 && !t.hours[len(t.hours)-1].at.Before(hour) {
		return counts
	}
	begin := hourBegin{hour, counts}
	if len(t.hours) == 0 {
		begin = hourBegin{now, map[outcome]int{}}
	}
	t.hours = append(t.hours, begin)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, t.zone)
	t.hours = slices.DeleteFunc(t.hours, func(h hourBegin) bool { return h.at.Before(midnight) && !h.at.Equal(begin.at) })
	return counts
}

// read reads the counters.
func (t *today) read() map[outcome]int {
	counts := map[outcome]int{}
	families, _ := t.metrics.Gather() // of counters, which cannot fail
	for _, f := range families {
		if f.GetName() != "replygate_decisions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var o outcome
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "capability":
					o.capability = wecom.Capability(l.GetValue())
				case "verdict":
					o.verdict = l.GetValue()
				case "reason":
					o.reason = l.GetValue()
				}
			}
			counts[o] += int(m.GetCounter().GetValue())
		}
	}
	return counts
}

// counts returns the counts of the present day.
func (t *today) counts() admin.DecisionCounts {
	counts := t.look()
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.hours[0]
	out := admin.DecisionCounts{Since: admin.Stamp(first.at), ByHour: make([]int, t.now().In(t.zone).Hour()+1)}
	by := map[wecom.Capability]map[string]int{}
	for o, n := range counts {
		n -= first.counts[o]
		out.Judged += n
		switch o.verdict {
		case "unsure":
			out.Unsure += n
		case "refuse":
			out.Refused += n
			if by[o.capability] == nil {
				by[o.capability] = map[string]int{}
			}
			by[o.capability][o.reason] += n
		}
	}
	for i, h := range t.hours {
		end := counts
		if i+1 < len(t.hours) {
			end = t.hours[i+1].counts
		}
		if hour := h.at.In(t.zone).Hour(); hour < len(out.ByHour) {
			out.ByHour[hour] += refused(end) - refused(h.counts)
		}
	}
	out.By = admin.CountRefused(by)
	return out
}

func refused(counts map[outcome]int) (n int) {
	for o, count := range counts {
		if o.verdict == "refuse" {
			n += count
		}
	}
	return n
}
