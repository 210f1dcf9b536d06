package console

import (
	"maps"
	"net/http"
	"net/url"
	"time"
)

// account is an account as GET /v1/accounts gives it.
type account struct {
	CorpID    string   `json:"corp_id"`
	Name      string   `json:"name"`
	Entity    string   `json:"entity"`
	Standing  string   `json:"standing"`
	Expires   instant  `json:"expires_at"`
	Lapses    instant  `json:"lapses_at"`
	LapsesTo  string   `json:"lapses_to"`
	Stops     []string `json:"stops"`
	Total     *int     `json:"contacts_total"`
	Free      *int     `json:"contacts_free"`
	Purchased *int     `json:"contacts_purchased"`
	Counted   instant  `json:"contacts_counted_at"`
	Limit     *int     `json:"contacts_limit"`
	LimitKind string   `json:"contacts_limit_kind"`
	Waiting   *int     `json:"waiting"`
	Refused   *int     `json:"refused_7d"`
	Calls     *int     `json:"calls_7d"`

	Left  standingLeft  `json:"-"`
	Usage *contactUsage `json:"-"`
}

// Title is the name of an account, or its id.
func (a account) Title() string {
	if a.Name != "" {
		return a.Name
	}
	return a.CorpID
}

// standingLeft is how long an account has left, and what stops then.
type standingLeft struct {
	Class, Text, Why string
	Rehearse         bool // what stops is worth a look
}

// contactUsage is the meter of an account's contacts.
type contactUsage struct {
	Total, Limit int
	Kind         string // purchased or free; "": no limit is known
	Class        string // of the meter's bar
	Stale        int    // days since the count, if many
}

// Percent is the part of the limit that is used.
func (u contactUsage) Percent() int { return u.Total * 100 / max(u.Limit, 1) }

// Parts are those of the meter.
func (u contactUsage) Parts() []part { return []part{{u.Class, min(u.Total, u.Limit)}} }

// Accounts turn amber and red so long before they stop.
const (
	amberLeft = 14 * 24 * time.Hour
	redLeft   = 3 * 24 * time.Hour
)

// describe fills in what the row of an account shows.
func (q *request) describe(a *account) {
	a.Left = q.leftOf(a)
	if a.Total == nil {
		return
	}
	u := contactUsage{Total: *a.Total, Kind: a.LimitKind, Class: "brand"}
	if a.Limit != nil {
		u.Limit = *a.Limit
	}
	switch p := u.Percent(); {
	case u.Limit == 0:
	case p >= 100:
		u.Class = "lapsed"
	case p >= 90:
		u.Class = "grace"
	}
	if !a.Counted.IsZero() && q.now.Sub(a.Counted.Time) > 7*24*time.Hour {
		u.Stale = int(q.now.Sub(a.Counted.Time) / (24 * time.Hour))
	}
	a.Usage = &u
}

func (q *request) leftOf(a *account) standingLeft {
	left := a.Lapses.Sub(q.now)
	switch {
	case a.Standing == "free" && a.Total != nil && a.Free != nil:
		key := "left.until"
		if a.Expires.IsZero() { // it never had a subscription
			key = "left.full"
		}
		return standingLeft{"", q.text("left.free"), q.text(key, "n", *a.Free-*a.Total), false}
	case a.Lapses.IsZero():
		return standingLeft{"dim", q.text("left.never"), "", false}
	case left <= 0:
		return standingLeft{"urgent", q.text("left.over"), q.text("left.since", "t", a.Lapses.In(q.zone).Format("2006-01-02")), true}
	case a.LapsesTo == "free" && a.Free != nil:
		return standingLeft{"", q.left(left), q.text("left.nothing", "n", *a.Free), false}
	}
	l := standingLeft{urgency(left, redLeft, amberLeft), q.left(left), "", true}
	if len(a.Stops) > 0 {
		l.Why = q.text("left.kinds", "n", len(a.Stops))
	}
	return l
}

// accountsView is the page of accounts.
type accountsView struct {
	pager
	Accounts  []account
	Months    []month
	Standings []option
	Within    []option
	Sorts     []option
	Filters   []choice
	Tabs      []tab
}

var accountFilters = []string{"q", "standing", "entity", "within", "used", "on"}

func accountsPage(q *request) {
	view := accountsView{
		Standings: q.options("standing", "standing.", "", "active", "grace", "lapsed", "free", "full"),
		Within:    q.options("within", "within.", "", "7d", "30d", "90d"),
		Sorts:     q.options("sort", "sort.", "stops", "-contacts_used", "-waiting", "-refused_7d", "name"),
		Filters:   q.filters(accountFilters...),
	}
	query := q.listQuery(append(accountFilters, "sort")...)
	if query.Get("sort") == "" {
		query.Set("sort", "stops")
	}
	if f := q.get("/v1/accounts", query, &view); f != nil {
		q.fail(f)
		return
	}
	for i := range view.Accounts {
		q.describe(&view.Accounts[i])
	}
	if len(view.Accounts) == 0 {
		q.countWithout("/v1/accounts", query, view.Filters)
	}
	view.Months = q.calendar()
	view.Tabs = q.accountTabs(len(view.Filters) > 0)
	q.render(http.StatusOK, "accounts", view)
}

// accountTabs are the lists of accounts that people ask for most, with how many each has.
func (q *request) accountTabs(filtered bool) (all []tab) {
	for _, t := range []struct{ key, name, value, more string }{
		{"accounts.all", "", "", ""}, {"accounts.month", "within", "30d", ""}, {"standing.lapsed", "standing", "lapsed", ""}, {"accounts.used", "used", "90", "&sort=-contacts_used"},
	} {
		one := tab{Text: q.text(t.key), URL: "accounts", Current: !filtered}
		query := url.Values{"limit": {"1"}}
		if t.name != "" {
			query.Set(t.name, t.value)
			one.URL, one.Current = "?"+t.name+"="+t.value+t.more, q.r.URL.Query().Get(t.name) == t.value
		}
		var list pager
		if q.get("/v1/accounts", query, &list) == nil && list.Total != nil {
			one.Text = q.text("accounts.tab", "name", one.Text, "n", *list.Total)
		}
		all = append(all, one)
	}
	return all
}

// countWithout counts the rows of a list without each of its filters.
func (q *request) countWithout(path string, query url.Values, filters []choice) {
	query.Set("limit", "1")
	query.Del("cursor")
	for i, f := range filters {
		without := maps.Clone(query)
		without.Del(f.Name)
		var list pager
		if q.get(path, without, &list) == nil {
			filters[i].Total = list.Total
		}
	}
}

// calendar asks for the days of three months on which subscriptions end or accounts stop; nil: they
// cannot be read.
func (q *request) calendar() []month {
	today := q.now.In(q.zone)
	var list struct{ Days []day }
	f := q.get("/v1/calendar", url.Values{
		"from": {today.AddDate(0, 0, -6).Format("2006-01-02")},
		"to":   {time.Date(today.Year(), today.Month()+3, 0, 0, 0, 0, 0, q.zone).Format("2006-01-02")},
	}, &list)
	if f != nil {
		return nil
	}
	return q.months(3, list.Days)
}
