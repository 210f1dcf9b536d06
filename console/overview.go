package console

import (
	"net/http"
	"net/url"
)

// overview is the answer of GET /v1/overview.
type overview struct {
	AsOf      instant        `json:"as_of"`
	Accounts  map[string]int `json:"accounts"`
	Waiting   *waitingCounts `json:"waiting"` // nil: not counted
	Decisions struct {
		Since                   instant
		Judged, Refused, Unsure int
		ByHour                  []int `json:"by_hour"`
		By                      []struct {
			Capability, Reason string
			Count              int
		}
	} `json:"decisions"`
	Attention []attention `json:"attention"`
	Health    string      `json:"health"`
	Unwell    int         `json:"unwell"` // parts that are not ok
	RedisDown instant     `json:"redis_down"`
	Partial   []missing
}

// waitingCounts are how many chats close unanswered within a time.
type waitingCounts struct {
	Hour   int `json:"1h"`
	Hours6 int `json:"6h"`
	Day    int `json:"24h"`
	All    int `json:"all"`
	Untold int `json:"untold_accounts"`
}

// attention is something that somebody should see to.
type attention struct {
	Level   string  `json:"level"` // urgent or soon
	Kind    string  `json:"kind"`
	Count   int     `json:"count"`
	CorpID  string  `json:"corp_id"`
	Account string  `json:"account"`
	Name    string  `json:"name"`
	Entity  string  `json:"entity"`
	At      instant `json:"at"`
	Percent int     `json:"percent"`
	Total   int     `json:"total"`
	Limit   int     `json:"limit"`
	FullOn  string  `json:"full_on"`
	Calls   int     `json:"calls_7d"`
	Text    string  `json:"text"`
	URL     string  `json:"url"`
}

// todo is an attention in words.
type todo struct{ Icon, Title, Why, Link, URL string }

// standingsShown are the standings of a bar, in its order.
var standingsShown = []string{"active", "grace", "full", "lapsed", "free"}

type overviewView struct {
	overview
	Todo        []todo
	Standings   []part
	Renewals    []account
	ClosingSoon closingList
	Contact     *contactRow
	Health      healthList
	Rules       rulesView
	Failed      map[string]string // why a part of the page is missing
	Single      *account          // the only account
}

// overview returns the overview that the frame of every page shows; an empty one if there is none.
func (q *request) overview() *overview {
	if q.around == nil {
		q.around = &overview{}
		if q.c.serves("/v1/overview") {
			_ = q.get("/v1/overview", nil, q.around) // a page stands without its frame's numbers
		}
	}
	return q.around
}

// counts are the numbers in the navigation, by the name of the page.
func (o *overview) counts() map[string]int {
	counts := map[string]int{"accounts": o.Accounts["grace"], "health": o.Unwell}
	if o.Waiting != nil {
		counts["closing"] = o.Waiting.Hour
	}
	return counts
}

func overviewPage(q *request) {
	view := overviewView{Failed: map[string]string{}}
	q.around = &view.overview
	if f := q.get("/v1/overview", nil, q.around); f != nil {
		q.fail(f)
		return
	}
	fetch := func(name, path string, query url.Values, into any) {
		if f := q.get(path, query, into); f != nil {
			view.Failed[name] = q.failed(f)
		}
	}
	var accounts struct{ Accounts []account }
	fetch("renewals", "/v1/accounts", url.Values{"sort": {"stops"}, "limit": {"6"}}, &accounts)
	fetch("closing", "/v1/closing", url.Values{"within": {"24h"}, "limit": {"6"}}, &view.ClosingSoon)
	var contacts struct{ Contacts []contactRow }
	fetch("contacts", "/v1/contacts", url.Values{"sort": {"-used"}, "limit": {"1"}}, &contacts)
	fetch("health", "/v1/health", nil, &view.Health)
	fetch("rules", "/v1/rules", nil, &view.Rules)
	view.Renewals = accounts.Accounts
	for i := range view.Renewals {
		q.describe(&view.Renewals[i])
	}
	if view.Accounts["total"] == 1 && len(view.Renewals) == 1 {
		view.Single = &view.Renewals[0]
	}
	if len(contacts.Contacts) > 0 && contacts.Contacts[0].Total != nil && contacts.Contacts[0].Limit != nil {
		view.Contact = &contacts.Contacts[0]
	}
	for i := range view.ClosingSoon.Waiting {
		q.describeChat(&view.ClosingSoon.Waiting[i])
	}
	for _, s := range standingsShown {
		view.Standings = append(view.Standings, part{s, view.Accounts[s]})
	}
	for _, a := range view.Attention {
		view.Todo = append(view.Todo, q.todo(a))
	}
	q.render(http.StatusOK, "overview", view)
}

// Top is the largest number of refusals by interface, for their bars.
func (v overviewView) Top() int {
	top := 1
	for _, b := range v.Decisions.By {
		top = max(top, b.Count)
	}
	return top
}

// Share is the bar of one kind of refusals.
func (v overviewView) Share(n int) []part { return []part{{"brand", n}} }

// todo puts an attention into words. A kind without words, of a newer gateway, is shown as the
// gateway words it.
func (q *request) todo(a attention) todo {
	name := a.Account
	for _, other := range []string{a.Name, a.Entity, a.CorpID} {
		if name == "" {
			name = other
		}
	}
	values := []any{"n", a.Count, "name", name, "p", a.Percent, "total", a.Total, "limit", a.Limit, "calls", a.Calls, "day", a.FullOn,
		"left", q.left(a.At.Sub(q.now)), "date", a.At.In(q.zone).Format("2006-01-02"), "t", q.minute(a.At.Time)}
	t := todo{Icon: "attention", Title: a.Text, URL: a.URL, Link: q.text("see")}
	if a.Level == "urgent" {
		t.Icon = "urgent"
	}
	if q.has("attention." + a.Kind) {
		t.Title = q.text("attention."+a.Kind, values...)
	}
	if q.has("attention.why."+a.Kind) && (a.Kind != "closing" || !a.At.IsZero()) {
		t.Why = q.text("attention.why."+a.Kind, values...)
	}
	if a.FullOn != "" {
		t.Why += q.text("comma") + q.text("contacts.full", "day", a.FullOn)
	}
	if t.Title == "" {
		t.Title = a.Kind
	}
	return t
}
