package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// contactRow is an account's number of contacts as GET /v1/contacts gives it.
type contactRow struct {
	CorpID    string  `json:"corp_id"`
	Name      string  `json:"name"`
	Entity    string  `json:"entity"`
	Standing  string  `json:"standing"`
	Total     *int    `json:"total"`
	AsOf      instant `json:"as_of"`
	Source    string  `json:"source"`
	Estimate  bool    `json:"estimate"`
	Limit     *int    `json:"limit"`
	LimitKind string  `json:"limit_kind"`
	Left      *int    `json:"left"`
	Percent   *int    `json:"percent"`
	Pace      *struct {
		Days, Change int
	} `json:"pace"`
	FullOn  string   `json:"full_on"`
	Stale   bool     `json:"stale"`
	Problem *problem `json:"problem"`
	History []struct {
		Date  string
		Total int
	} `json:"history"`
}

// problem is why a count is missing, or not newer.
type problem struct {
	Reason      string
	Errcode     int
	Why, Remedy string // in English
}

// Problem says in the language of the page why a count is missing, and what to do.
func (p page) Problem(corp string, of problem) string {
	why, remedy := of.Why, of.Remedy
	if key := "problem.why." + of.Reason; p.has(key) {
		why = p.text(key, "errcode", strconv.Itoa(of.Errcode))
	}
	for _, key := range []string{"problem.do." + of.Reason, "problem.errcode." + strconv.Itoa(of.Errcode)} {
		if p.has(key) {
			remedy = p.text(key, "corp", corp)
		}
	}
	return p.text("problem", "why", why, "remedy", remedy)
}

// Title is the name of the account, or its id.
func (c contactRow) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.CorpID
}

// Parts are those of the meter: amber from 90 percent on, red at the limit.
func (c contactRow) Parts() []part {
	class := "brand"
	switch {
	case *c.Total >= *c.Limit:
		class = "lapsed"
	case *c.Total*10 >= *c.Limit*9:
		class = "grace"
	}
	return []part{{class, min(*c.Total, *c.Limit)}}
}

// Totals are the numbers of the history, for a line.
func (c contactRow) Totals() (all []int) {
	for _, d := range c.History {
		all = append(all, d.Total)
	}
	return all
}

type contactsView struct {
	pager
	Contacts  []contactRow
	Entities  []entity
	Standings []option
	Kinds     []option
	Sorts     []option
	Filters   []choice
}

var contactFilters = []string{"corp_id", "entity", "standing", "kind"}

// entity is a legal entity as GET /v1/entities gives it.
type entity struct {
	Name       string
	Total      int
	UpperBound bool `json:"upper_bound"`
	Exact      bool
	Unknown    int
	Change     *int      `json:"change_30d"`
	Accounts   []sibling `json:"accounts"`
	Moves      []move    `json:"moves"`
}

// sibling is one account of an entity.
type sibling struct {
	CorpID    string `json:"corp_id"`
	Name      string
	Standing  string
	Total     *int
	Exact     bool
	Limit     *int
	LimitKind string `json:"limit_kind"`
	Change    *int   `json:"change_30d"`
}

// Title is the name of the account, or its id.
func (s sibling) Title() string {
	if s.Name != "" {
		return s.Name
	}
	return s.CorpID
}

// move is a loss of one account and a gain of another, about as large.
type move struct {
	From, To           string // corp ids
	Lost, Gained, Days int
	Lapses             instant `json:"lapses_at"`
}

// Named returns the name of one of the entity's accounts.
func (e entity) Named(corp string) string {
	if i := slices.IndexFunc(e.Accounts, func(s sibling) bool { return s.CorpID == corp }); i >= 0 {
		return e.Accounts[i].Title()
	}
	return corp
}

func contactsPage(q *request) {
	view := contactsView{
		Standings: q.options("standing", "standing.", "", "active", "grace", "lapsed", "free", "full"),
		Kinds:     q.options("kind", "kind.", "", "purchased", "free"),
		Sorts:     q.options("sort", "contacts.sort.", "-used", "-total", "name"),
		Filters:   q.filters(contactFilters...),
	}
	query := q.listQuery(append(contactFilters, "sort")...)
	query.Set("history", "90")
	f := q.get("/v1/contacts", query, &view)
	if f != nil && f.Code == "store_unavailable" { // the counts are in memory, their history is not
		query.Del("history")
		f = q.get("/v1/contacts", query, &view)
	}
	if f != nil {
		q.fail(f)
		return
	}
	var entities struct{ Entities []entity }
	_ = q.get("/v1/entities", url.Values{"sort": {"-total"}, "limit": {"20"}}, &entities) // the list stands without them
	for _, e := range entities.Entities {
		if len(e.Accounts) > 1 {
			view.Entities = append(view.Entities, e)
		}
	}
	q.render(http.StatusOK, "contacts", view)
}

type entitiesView struct {
	pager
	Entities []entity
	Sorts    []option
	Filters  []choice
}

// entitiesPage lists the legal entities.
func entitiesPage(q *request) {
	view := entitiesView{Sorts: q.options("sort", "contacts.sort.", "-total", "name"), Filters: q.filters("q")}
	if f := q.get("/v1/entities", q.listQuery("q", "sort"), &view); f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "entities", view)
}

// entityPage shows the accounts of one legal entity beside each other.
func entityPage(q *request) {
	var e entity
	if f := q.get("/v1/entities/"+url.PathEscape(q.r.PathValue("name")), nil, &e); f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "entity", e)
}
