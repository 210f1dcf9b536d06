package contacts

import (
	"math"
	"time"
)

const (
	paceDays = 30 // over which the pace is measured
	paceMin  = 7  // fewer days tell nothing
)

// Pace is how a count changed over up to 30 days.
type Pace struct {
	Days   int // between the two counts compared, 7 to 30
	From   int // the older count
	Change int // since then; negative: fewer
}

// PerDay returns the mean change of a day.
func (p Pace) PerDay() float64 { return float64(p.Change) / float64(p.Days) }

// Measure compares the newest day of a history, oldest first, with the oldest one of the 30 days
// before. It reports false if they are less than a week apart, or the newest is over a week old.
func Measure(history []Day, now time.Time) (Pace, bool) {
	if len(history) == 0 {
		return Pace{}, false
	}
	newest := history[len(history)-1]
	last, err := newest.time()
	if err != nil || now.Sub(last) > (paceMin+1)*24*time.Hour {
		return Pace{}, false
	}
	for _, d := range history {
		at, err := d.time()
		if err != nil {
			continue
		}
		days := int(math.Round(last.Sub(at).Hours() / 24))
		if days > paceDays {
			continue
		}
		if days < paceMin {
			return Pace{}, false
		}
		return Pace{Days: days, From: d.Total, Change: newest.Total - d.Total}, true
	}
	return Pace{}, false
}

// FullOn returns the instant at which a total grows to a limit at the pace of p. It reports false
// if the total does not grow, or reaches the limit only in over ten years. A total at its limit is
// full now.
func (p Pace) FullOn(total, limit int, now time.Time) (time.Time, bool) {
	if total >= limit {
		return now, true
	}
	if p.Change <= 0 || p.Days <= 0 {
		return time.Time{}, false
	}
	days := float64(limit-total) / p.PerDay()
	if days > 3650 {
		return time.Time{}, false
	}
	return now.Add(time.Duration(days * 24 * float64(time.Hour))), true
}

// time returns the begin of the day.
func (d Day) time() (time.Time, error) { return time.ParseInLocation(time.DateOnly, d.Date, zone) }
