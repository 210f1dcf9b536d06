package admin

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// CalendarDay is a day of the calendar, with how many subscriptions end and how many accounts stop.
type CalendarDay struct {
	Date  string `json:"date"` // in the zone of the calendar
	Ends  int    `json:"ends"`
	Stops int    `json:"stops"` // those that lapse; one that becomes free does not stop
}

// Calendar is the answer of GET /v1/calendar. It has only days on which something happens.
type Calendar struct {
	Days     []CalendarDay `json:"days"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	Timezone string        `json:"timezone"`
	AsOf     string        `json:"as_of"`
}

const (
	calendarDays    = 92  // shown without to
	maxCalendarDays = 400 // in one answer
)

// chinaTime is the zone of dates without another one: the subscriptions are those of a Chinese
// service, and end with a day there. China has no daylight saving time.
var chinaTime = time.FixedZone("Asia/Shanghai", 8*3600)

// zone returns the zone of dates.
func (a *Admin) zone() *time.Location { return cmp.Or(a.Zone, chinaTime) }

// date returns the date of an instant; "" of the zero one.
func (a *Admin) date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(a.zone()).Format(time.DateOnly)
}

// calendar counts the ends of subscriptions and the stops of each day.
func (a *Admin) calendar(w http.ResponseWriter, r *http.Request) {
	from, to, err := a.calendarSpan(r)
	if err != nil {
		failQuery(w, err)
		return
	}
	now := a.Now()
	byDate := map[string]*CalendarDay{}
	count := func(at time.Time, n func(*CalendarDay) *int) {
		date := a.date(at)
		if date < from || date > to {
			return
		}
		if byDate[date] == nil {
			byDate[date] = &CalendarDay{Date: date}
		}
		*n(byDate[date])++
	}
	for _, acc := range a.Gateway.Gate().Accounts.All() {
		count(acc.ExpiresAt(), func(d *CalendarDay) *int { return &d.Ends })
		count(acc.StopsAt(now), func(d *CalendarDay) *int { return &d.Stops })
	}
	out := Calendar{Days: make([]CalendarDay, 0, len(byDate)), From: from, To: to, Timezone: a.zone().String(), AsOf: stamp(now)}
	for _, d := range byDate {
		out.Days = append(out.Days, *d)
	}
	slices.SortFunc(out.Days, func(a, b CalendarDay) int { return cmp.Compare(a.Date, b.Date) })
	if !unchanged(w, r, out.Days, from, to, out.Timezone) {
		reply(w, http.StatusOK, out)
	}
}

// calendarSpan returns the first and the last date of a calendar, both included.
func (a *Admin) calendarSpan(r *http.Request) (from, to string, err error) {
	q, err := checkedValues(r, "from", "to")
	if err != nil {
		return "", "", err
	}
	first, err := readDate("from", cmp.Or(q.Get("from"), a.date(a.Now())))
	if err != nil {
		return "", "", err
	}
	last, err := readDate("to", cmp.Or(q.Get("to"), first.AddDate(0, 0, calendarDays-1).Format(time.DateOnly)))
	switch {
	case err != nil:
		return "", "", err
	case last.Before(first):
		return "", "", badQueryf("to is before from")
	case last.Sub(first) >= maxCalendarDays*24*time.Hour:
		return "", "", badQueryf("from and to span at most %d days", maxCalendarDays)
	}
	return first.Format(time.DateOnly), last.Format(time.DateOnly), nil
}

func readDate(name, text string) (time.Time, error) {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return at, badQueryf("%s must be a date like 2026-12-02", name)
	}
	return at, nil
}
