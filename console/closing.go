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

	Class, Left string
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
}

type closingView struct {
	closingList
	Within    string
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
	for _, t := range []struct {
		within string
		n      int
	}{{"1h", view.Counts.Hour}, {"6h", view.Counts.Hours6}, {"24h", view.Counts.Day}, {"all", view.Counts.All}} {
		view.Tabs = append(view.Tabs, tab{q.text("closing.tab."+t.within, "n", t.n), q.with("within", t.within), view.Within == t.within})
	}
	view.Columns = q.closingHours(view.Hours)
	q.render(http.StatusOK, "closing", view)
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
