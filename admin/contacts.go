package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"replygate/account"
	"replygate/contacts"
)

// Contacts is the JSON form of an account's number of external contacts.
type Contacts struct {
	CorpID   string `json:"corp_id"`
	Name     string `json:"name"`
	Entity   string `json:"entity"`
	Standing string `json:"standing"`
	ContactNumber
	Counted *CountedNumber `json:"counted,omitempty"` // beside an estimate: the exact count that decides the standing
	// Incomplete says that the estimate misses moves: more people moved than are remembered.
	Incomplete bool     `json:"incomplete,omitempty"`
	Limit      *int     `json:"limit,omitempty"`
	LimitKind  string   `json:"limit_kind,omitempty"` // free or purchased
	Left       *int     `json:"left,omitempty"`       // until the limit
	Percent    *int     `json:"percent,omitempty"`    // of the limit
	Pace       *Pace    `json:"pace,omitempty"`       // nil: fewer than seven days are known
	FullOn     string   `json:"full_on,omitempty"`    // the day in UTC+8 on which the limit is reached at this pace
	Stale      bool     `json:"stale,omitempty"`      // it should have been counted again
	Problem    *Problem `json:"problem,omitempty"`    // why the number is unknown, or not newer
	History    []Day    `json:"history,omitempty"`    // oldest first, if asked for
}

// CountedNumber is a ContactNumber that is one cell of CSV.
type CountedNumber ContactNumber

func (n CountedNumber) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", *n.Total, n.Source, n.AsOf))
}

// ContactNumber is a number with its label. Without Total it is not known.
type ContactNumber struct {
	Total    *int   `json:"total,omitempty"`
	AsOf     string `json:"as_of,omitempty"`    // "": of a time that nobody told
	Source   string `json:"source,omitempty"`   // file, metered or callbacks
	Exact    bool   `json:"exact,omitempty"`    // a count
	Estimate bool   `json:"estimate,omitempty"` // a count, moved by callbacks since
}

// Pace is how a count changed over up to 30 days.
type Pace struct {
	Days   int     `json:"days"`
	Change int     `json:"change"`
	PerDay float64 `json:"per_day"`
}

func (p Pace) String() string { return fmt.Sprintf("%+d in %d days", p.Change, p.Days) }

// Day is the last exact count of a day.
type Day struct {
	Date  string `json:"date"` // in UTC+8
	Total int    `json:"total"`
}

func (d Day) String() string { return fmt.Sprintf("%s:%d", d.Date, d.Total) }

// Problem says why a count is missing, and what to do.
type Problem struct {
	Reason  string `json:"reason"` // of package contacts
	Errcode int    `json:"errcode,omitempty"`
	At      string `json:"at,omitempty"` // of the attempt
	Why     string `json:"why"`
	Remedy  string `json:"remedy"`
}

func (p Problem) String() string { return p.Why + ": " + p.Remedy }

func problem(f contacts.Failure) *Problem {
	p := &Problem{Reason: string(f.Reason), Errcode: f.Errcode, Why: f.Why(), Remedy: f.Remedy()}
	if !f.At.IsZero() {
		p.At = stamp(f.At)
	}
	return p
}

// ContactsList is the answer of GET /v1/contacts.
type ContactsList struct {
	Contacts []Contacts `json:"contacts"`
	ListEnd
}

var contactsListing = listing{
	sorts:   []string{"-used", "used", "-total", "total", "name", "-name"},
	filters: []string{"corp_id", "entity", "standing", "kind", "history"},
}

// maxHistory is how many days of history a page may have for each account.
const maxHistory = 400

// contacts lists how many contacts the accounts have.
func (a *Admin) contacts(w http.ResponseWriter, r *http.Request) {
	q, err := a.readQuery(r, contactsListing)
	days := 0
	if err == nil {
		days, err = checkContactFilters(q)
	}
	if err != nil {
		failQuery(w, err)
		return
	}
	if corp := q.Get("corp_id"); corp != "" && a.Gateway.Gate().Accounts.Find(corp) == nil {
		fail(w, http.StatusNotFound, "no_account", "the configuration has no account with this corp_id")
		return
	}
	chosen, asOf := a.contactAccounts(q)
	total := len(chosen)
	chosen, next := page(q, chosen, placeByContacts(q.sort, q.at))
	if q.csv {
		export(a, w, "contacts", a.withHistories(r.Context(), chosen, days, q.at))
		return
	}
	rows := a.contactRows(chosen, q.at)
	// While Redis is away the list goes without pace, unless the history was asked for.
	if err := a.addHistory(r.Context(), rows, days, q.at); err != nil && days > 0 {
		storeAway(w, err)
		return
	}
	if !unchanged(w, r, rows, total) {
		reply(w, http.StatusOK, ContactsList{Contacts: rows, ListEnd: ListEnd{Total: &total, Next: next, AsOf: stamp(asOf)}})
	}
}

// checkContactFilters checks the filters of the list of contacts, and returns how many days of
// history its rows are to have.
func checkContactFilters(q listQuery) (days int, err error) {
	kind, standing := account.LimitKind(q.Get("kind")), account.Standing(q.Get("standing"))
	switch {
	case kind != account.NoLimit && kind != account.FreeLimit && kind != account.PurchasedLimit:
		return 0, badQueryf("kind must be one of %s, %s", account.FreeLimit, account.PurchasedLimit)
	case standing != "" && !slices.Contains(account.Standings(), standing):
		return 0, badQueryf("standing must be one of %s", joined(account.Standings()))
	}
	if text := q.Get("history"); text != "" {
		if days, err = strconv.Atoi(text); err != nil || days < 1 || days > maxHistory {
			return 0, badQueryf("history must be 1 to %d (days)", maxHistory)
		}
	}
	return days, nil
}

// countedAccount is an account with what is stored of its contacts.
type countedAccount struct {
	*account.Account
	state contacts.State
}

// contactAccounts returns the accounts that the filters of a query match, and when their counts
// were read.
func (a *Admin) contactAccounts(q listQuery) (chosen []countedAccount, asOf time.Time) {
	states, asOf := a.Contacts.States()
	if asOf.IsZero() { // Redis did not answer yet
		asOf = a.Now()
	}
	corp, entity, standing, kind := q.Get("corp_id"), q.Get("entity"), q.Get("standing"), q.Get("kind")
	for _, acc := range a.Gateway.Gate().Accounts.All() {
		_, limited := acc.Limit(q.at)
		if (corp == "" || acc.CorpID == corp) && (entity == "" || acc.Entity == entity) &&
			(standing == "" || string(acc.Standing(q.at)) == standing) && (kind == "" || string(limited) == kind) {
			chosen = append(chosen, countedAccount{acc, states[acc.CorpID]})
		}
	}
	return chosen, asOf
}

// contactRows returns the rows of accounts, without history.
func (a *Admin) contactRows(chosen []countedAccount, now time.Time) []Contacts {
	secret := map[string]bool{}
	for _, c := range chosen {
		secret[c.CorpID] = false
	}
	for _, c := range a.Gateway.Gate().Config.Accounts {
		if _, shown := secret[c.CorpID]; shown {
			secret[c.CorpID] = c.Secrets.Contact != ""
		}
	}
	rows := make([]Contacts, len(chosen))
	for i, c := range chosen {
		rows[i] = contactsOf(c.Account, c.state, secret[c.CorpID], now)
	}
	return rows
}

// contactsOf returns the row of an account, without its history.
func contactsOf(acc *account.Account, s contacts.State, secret bool, now time.Time) Contacts {
	row := Contacts{CorpID: acc.CorpID, Name: acc.Name, Entity: acc.Entity, Standing: string(acc.Standing(now))}
	n, known := contacts.NumberOf(acc, s)
	if limit, kind := acc.Limit(now); kind != account.NoLimit {
		row.Limit, row.LimitKind = &limit, string(kind)
	}
	if known {
		row.ContactNumber = numberOf(n)
		row.Stale = acc.Stale(now)
		if !n.Exact {
			c, _ := acc.Counted()
			counted := CountedNumber(numberOf(contacts.Number{Total: c.Total, AsOf: c.AsOf, Source: c.Source, Exact: true}))
			row.Counted, row.Incomplete = &counted, s.Partial
		}
		if row.Limit != nil {
			left, percent := max(*row.Limit-n.Total, 0), n.Total*100/max(*row.Limit, 1)
			row.Left, row.Percent = &left, &percent
		}
	}
	switch {
	case s.Failure != contacts.Failure{}:
		row.Problem = problem(s.Failure)
	case !known && secret:
		row.Problem = problem(contacts.Failure{Reason: contacts.Pending})
	case !known:
		row.Problem = problem(contacts.Failure{Reason: contacts.NoSecret})
	case row.Stale:
		row.Problem = problem(contacts.Failure{Reason: contacts.Stale})
	}
	return row
}

func numberOf(n contacts.Number) ContactNumber {
	out := ContactNumber{Total: &n.Total, Source: string(n.Source), Exact: n.Exact, Estimate: !n.Exact}
	if !n.AsOf.IsZero() {
		out.AsOf = stamp(n.AsOf)
	}
	return out
}

// placeByContacts returns the place of an account in an order; those without the number are last.
func placeByContacts(sort string, now time.Time) func(countedAccount) position {
	return func(c countedAccount) position {
		p := position{ID: c.CorpID}
		if sort == "name" || sort == "-name" {
			p.Text = c.Name
			return p
		}
		n, known := contacts.NumberOf(c.Account, c.state)
		limit, kind := c.Limit(now)
		switch {
		case !known:
			p.Group = 2
		case sort == "total" || sort == "-total":
			p.Number = float64(n.Total)
		case kind == account.NoLimit:
			p.Group, p.Number = 1, float64(n.Total)
		default:
			p.Number = float64(n.Total) / float64(max(limit, 1))
		}
		return p
	}
}

// withHistories yields pages of rows with their history.
func (a *Admin) withHistories(ctx context.Context, chosen []countedAccount, days int, now time.Time) iter.Seq2[[]Contacts, error] {
	return func(yield func([]Contacts, error) bool) {
		for chunk := range slices.Chunk(chosen, maxLimit) {
			rows := a.contactRows(chunk, now)
			err := a.addHistory(ctx, rows, days, now)
			if !yield(rows, err) || err != nil {
				return
			}
		}
	}
}

// addHistory adds to rows the pace, the day on which the limit is reached, and the history of some
// days.
func (a *Admin) addHistory(ctx context.Context, rows []Contacts, days int, now time.Time) error {
	corps := make([]string, len(rows))
	for i, row := range rows {
		corps[i] = row.CorpID
	}
	histories, err := a.Contacts.Store.Histories(ctx, corps)
	if err != nil {
		return err
	}
	for i := range rows {
		row, history := &rows[i], histories[rows[i].CorpID]
		pace, known := contacts.Measure(history, now)
		if known {
			row.Pace = &Pace{Days: pace.Days, Change: pace.Change, PerDay: pace.PerDay()}
		}
		if row.Total != nil && row.Limit != nil {
			if on, will := pace.FullOn(*row.Total, *row.Limit, now); will {
				row.FullOn = contacts.DayOf(on)
			}
		}
		for _, d := range history[max(len(history)-days, 0):] {
			row.History = append(row.History, Day{Date: d.Date, Total: d.Total})
		}
	}
	return nil
}

// ContactCount is the answer of /v1/contacts/count: how far the newest count of an account that
// this gateway made has come.
type ContactCount struct {
	CorpID  string   `json:"corp_id"`
	State   string   `json:"state"` // running, counted or failed
	Began   string   `json:"began"`
	Ended   string   `json:"ended,omitempty"`
	Pages   int      `json:"pages"`
	People  int      `json:"people"`           // distinct ones so far
	Before  int      `json:"before,omitempty"` // people at the count before
	Total   *int     `json:"total,omitempty"`  // the count, exact
	AsOf    string   `json:"as_of,omitempty"`
	Problem *Problem `json:"problem,omitempty"` // why it failed
}

// countContacts begins to count an account now, unless this gateway counts it already.
func (a *Admin) countContacts(w http.ResponseWriter, r *http.Request) {
	var in struct {
		CorpID string `json:"corp_id"`
	}
	if !read(w, r, &in) {
		return
	}
	if a.Gateway.Gate().Accounts.Find(in.CorpID) == nil {
		fail(w, http.StatusNotFound, "no_account", "the configuration has no account with this corp_id")
		return
	}
	p, err := a.Meter.Ask(in.CorpID)
	switch {
	case errors.Is(err, contacts.ErrNoSecret):
		missing := contacts.Failure{Reason: contacts.NoSecret}
		fail(w, http.StatusConflict, string(missing.Reason), in.CorpID+": "+missing.Error())
	case err != nil:
		w.Header().Set("Retry-After", "10")
		fail(w, http.StatusTooManyRequests, "too_many", "the gateway counts as many accounts as it may at the same time; try again soon")
	default:
		a.audit(r, "contacts are counted", zap.String("corp_id", in.CorpID))
		reply(w, http.StatusOK, countOf(p))
	}
}

// contactCount answers how far a count has come.
func (a *Admin) contactCount(w http.ResponseWriter, r *http.Request) {
	values, err := checkedValues(r, "corp_id")
	if err != nil {
		failQuery(w, err)
		return
	}
	corp := values.Get("corp_id")
	if a.Gateway.Gate().Accounts.Find(corp) == nil {
		fail(w, http.StatusNotFound, "no_account", "the configuration has no account with this corp_id")
		return
	}
	p, found := a.Meter.Progress(corp)
	if !found {
		fail(w, http.StatusNotFound, "no_count", "this gateway has not counted the account since it started; POST {\"corp_id\":…} begins")
		return
	}
	reply(w, http.StatusOK, countOf(p))
}

func countOf(p contacts.Progress) ContactCount {
	c := ContactCount{CorpID: p.Corp, State: "running", Began: stamp(p.Began), Pages: p.Pages, People: p.People, Before: p.Before}
	if !p.Ended.IsZero() {
		c.Ended = stamp(p.Ended)
	}
	switch {
	case p.Count != nil:
		c.State, c.Total, c.AsOf = "counted", &p.Count.Total, stamp(p.Count.AsOf)
	case p.Failure != nil:
		c.State, c.Problem = "failed", problem(*p.Failure)
	}
	return c
}
