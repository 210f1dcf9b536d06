package console

import (
	"net/http"
	"time"
)

// chat is a chat that waits for a reply, as GET /v1/closing gives it.
type chat struct {
	CorpID         string  `json:"corp_id"`
	Account        string  `json:"account"`
	Standing       string  `json:"standing"`
	Channel        string  `json:"channel"`
	Customer       string  `json:"customer"`
	Last           instant `json:"last"`
	Closes         instant `json:"closes"`
	AnsweredByBot  bool    `json:"answered_by_bot"`
	ReachableAfter bool    `json:"reachable_after"`
	ReachableUntil instant `json:"reachable_until"`

	Class, Left string `json:"-"`
	After       string `json:"-"` // what the account may do afterwards
}

// Title is the name of the chat's account, or its id.
func (c chat) Title() string {
	if c.Account != "" {
		return c.Account
	}
	return c.CorpID
}

// closingList is the answer of GET /v1/closing.
type closingList struct {
	pager
	Waiting []chat        `json:"waiting"`
	Counts  waitingCounts `json:"counts"`
	Hours   []int         `json:"hours"`
	Untold  []untold      `json:"untold"`
	Index   string        `json:"index"`
	Since   instant       `json:"since"` // set while records are incomplete
}

// untold is an account of which it cannot be told whether its chats are answered.
type untold struct {
	CorpID   string   `json:"corp_id"`
	Account  string   `json:"account"`
	Channels []string `json:"channels"`
	Why      string   `json:"why"`
}

// describeChat fills in what the row of a chat shows. A chat that closes within 20 minutes is red.
func (q *request) describeChat(c *chat) {
	left := c.Closes.Sub(q.now)
	c.Class, c.Left = urgency(left, 20*time.Minute, time.Hour), q.left(left)
	if left <= 0 {
		c.Left = q.text("closed")
	}
	switch until := c.ReachableUntil; {
	case !c.ReachableAfter:
		c.After = q.text("closing.after.lapsed")
	case until.IsZero() || until.Sub(q.now) > untilShown:
		c.After = q.text("closing.after.active")
	default:
		c.After = q.text("closing.after.until", "t", until.In(q.zone).Format("01-02"))
	}
}

// untilShown is how soon an account must stop for its chats to tell so.
const untilShown = 30 * 24 * time.Hour

type closingView struct {
	closingList
	Within    string
	Missing   string // of accounts that are not listed in full
	None      string // why no chat is listed
	NextAt    string // when the next one closes
	Standings []option
	Filters   []choice
	Columns   []column
	Tabs      []tab
}

// tab is a list that a person may choose instead of the one on the page.
type tab struct {
	Text, URL string
	Current   bool
}

var closingFilters = []string{"corp_id", "standing", "channel", "by"}

func closingPage(q *request) {
	view := closingView{Within: q.r.URL.Query().Get("within"), Filters: q.filters(closingFilters...),
		Standings: q.options("standing", "standing.", "", "lapsed", "grace", "active", "full", "free")}
	if view.Within == "" {
		view.Within = "1h"
	}
	query := q.listQuery(closingFilters...)
	if view.Within != "all" {
		query.Set("within", view.Within)
	}
	if f := q.get("/v1/closing", query, &view.closingList); f != nil {
		q.fail(f)
		return
	}
	for i := range view.Waiting {
		q.describeChat(&view.Waiting[i])
	}
	view.Missing = q.untoldText(view.Untold)
	if len(view.Waiting) == 0 {
		q.explainNone(&view)
	}
	for _, t := range []struct {
		within string
		n      int
	}{{"1h", view.Counts.Hour}, {"6h", view.Counts.Hours6}, {"24h", view.Counts.Day}, {"all", view.Counts.All}} {
		view.Tabs = append(view.Tabs, tab{q.text("closing.tab."+t.within, "n", t.n), q.with("within", t.within), view.Within == t.within})
	}
	view.Columns = q.closingHours(view.Hours)
	q.render(http.StatusOK, "closing", view)
}

// untoldText tells how many accounts are not listed in full, "" if all are.
func (q *request) untoldText(all []untold) string {
	corps, key := map[string]bool{}, "closing.untold"
	for _, u := range all {
		if corps[u.CorpID] = true; u.Why != "bypassed" {
			key = "closing.untold.part"
		}
	}
	if len(corps) == 0 {
		return ""
	}
	return q.text(key, "n", len(corps))
}

// explainNone tells why a page lists no chat, and when the next one closes.
func (q *request) explainNone(view *closingView) {
	o := q.overview()
	view.None = q.text("none.closing")
	switch key := "closing.none." + view.Within; {
	case o.Waiting != nil && o.Waiting.All == 0 && o.Waiting.Untold > 0 && o.Waiting.Untold >= o.Accounts["total"]:
		view.None = q.text("closing.unobserved")
		return
	case q.has(key) && len(view.Filters) == 0:
		view.None = q.text(key)
	}
	var next closingList
	query := q.listQuery(closingFilters...)
	query.Set("limit", "1")
	if f := q.get("/v1/closing", query, &next); f == nil && len(next.Waiting) > 0 {
		view.NextAt = q.text("closing.next", "t", q.minute(next.Waiting[0].Closes.Time))
	}
}

// closingHours are the columns of the next 24 hours. Each third has its time.
func (q *request) closingHours(hours []int) (all []column) {
	for i, n := range hours {
		c := column{Class: "dim", N: n}
		switch {
		case i < 1:
			c.Class = "lapsed"
		case i < 6:
			c.Class = "grace"
		}
		if i%3 == 0 {
			c.Label = q.now.Add(time.Duration(i) * time.Hour).In(q.zone).Format("15:04")
		}
		all = append(all, c)
	}
	return all
}
