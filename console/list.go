package console

import (
	"net/url"
	"slices"
	"time"
)

// pageSize is the number of rows of a list on one page.
const pageSize = "50"

// listQuery returns the query of a list for the API: of the page's own query the given parameters
// that are not empty.
func (q *request) listQuery(names ...string) url.Values {
	v := url.Values{"limit": {pageSize}}
	for _, name := range append(names, "cursor") {
		if value := q.r.URL.Query().Get(name); value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// pager is the foot of a list. Its fields are those of the API's answer.
type pager struct {
	Next    string
	Total   *int
	AsOf    instant `json:"as_of"`
	Partial []missing
}

// NextURL is the link to the rows after those of the page.
func (p page) NextURL(next string) string {
	v := p.r.URL.Query()
	v.Del("lang")
	v.Set("cursor", next)
	return "?" + v.Encode()
}

// choice is a filter that a person has set: Name is its parameter, Text tells it in words.
type choice struct {
	Name, Text string
	Drop       string // the page without it
	Total      *int   // how many rows that page has; nil: not counted
}

// filterWords are the prefixes of texts for values of filters; others are shown as they are.
var filterWords = map[string]string{
	"standing": "standing.", "within": "within.", "kind": "kind.", "state": "window.state.", "verdict": "verdict.",
	"reason": "reason.", "capability": "capability.", "by": "by.",
}

// filters returns the filters that are set, of the given parameters.
func (q *request) filters(names ...string) (set []choice) {
	for _, name := range names {
		value := q.r.URL.Query().Get(name)
		if value == "" {
			continue
		}
		if prefix := filterWords[name]; prefix != "" && q.has(prefix+value) {
			value = q.text(prefix + value)
		} else if at, err := time.Parse(time.RFC3339, value); err == nil {
			value = q.minute(at)
		}
		set = append(set, choice{Name: name, Text: q.text("filter.is", "name", q.text("filter."+name), "value", value), Drop: q.with(name, "")})
	}
	return set
}

// option is one value of a select.
type option struct {
	Value, Text string
	Selected    bool
}

// options returns the values of a select for a parameter; the texts have the keys prefix + value.
func (q *request) options(param, prefix string, values ...string) (all []option) {
	current := q.r.URL.Query().Get(param)
	for _, v := range values {
		key := v
		if v == "" {
			key = "any"
		}
		all = append(all, option{v, q.text(prefix + key), v == current})
	}
	return all
}

// urgency is the class of a time that is left.
func urgency(d, red, amber time.Duration) string {
	switch {
	case d < red:
		return "urgent"
	case d < amber:
		return "soon"
	}
	return ""
}

// day is a day of the calendar: how many subscriptions end and how many accounts stop.
type day struct {
	Date        string
	Ends, Stops int
}

// month is a month of the calendar, in weeks that begin on Monday.
type month struct {
	Caption string
	Weeks   [][7]dayCell
}

// dayCell is a day in a month; Text is "" for days of other months.
type dayCell struct {
	Text, Date  string
	Today       bool
	Ends, Stops int
}

// months lays out the calendar of count months, from the week of today on.
func (q *request) months(count int, days []day) (all []month) {
	today := q.now.In(q.zone)
	first := today.AddDate(0, 0, -(int(today.Weekday())+6)%7)
	for m := range count {
		start := time.Date(today.Year(), today.Month()+time.Month(m), 1, 0, 0, 0, 0, q.zone)
		out := month{Caption: q.text("month", "year", start.Format("2006"), "month", q.text("month."+start.Format("01")))}
		for monday := start.AddDate(0, 0, -(int(start.Weekday())+6)%7); monday.Before(start.AddDate(0, 1, 0)); monday = monday.AddDate(0, 0, 7) {
			if monday.AddDate(0, 0, 6).Before(first) {
				continue
			}
			var week [7]dayCell
			for i := range week {
				at := monday.AddDate(0, 0, i)
				date := at.Format("2006-01-02")
				if at.Month() != start.Month() || date < first.Format("2006-01-02") {
					continue
				}
				week[i] = dayCell{Text: at.Format("2"), Date: date, Today: date == today.Format("2006-01-02")}
				if j := slices.IndexFunc(days, func(d day) bool { return d.Date == date }); j >= 0 {
					week[i].Ends, week[i].Stops = days[j].Ends, days[j].Stops
				}
			}
			out.Weeks = append(out.Weeks, week)
		}
		all = append(all, out)
	}
	return all
}
