package admin

import (
	"iter"
	"net/http"
	"slices"
	"time"

	"replygate/account"
	"replygate/window"
)

// Waiting is a chat whose customer waits for an answer.
type Waiting struct {
	CorpID        string `json:"corp_id"`
	Account       string `json:"account"` // its name
	Standing      string `json:"standing"`
	Channel       string `json:"channel"`
	Customer      string `json:"customer"`
	Last          string `json:"last"`
	Closes        string `json:"closes"`
	AnsweredByBot bool   `json:"answered_by_bot"` // a bot has replied, and no servicer
	// ReachableAfter says that the account may still write first once the window has closed, by its
	// standing at that time.
	ReachableAfter bool `json:"reachable_after"`
	// ReachableUntil is when the account stops, if it may write first until then.
	ReachableUntil string `json:"reachable_until,omitempty"`
}

// Untold names chats of which it cannot be told whether they are answered.
type Untold struct {
	CorpID   string   `json:"corp_id"`
	Account  string   `json:"account"`  // its name
	Channels []string `json:"channels"` // empty: all
	Why      string   `json:"why"`
}

// ClosingList is the answer of GET /v1/closing.
type ClosingList struct {
	Waiting []Waiting      `json:"waiting"` // in the order in which they close
	Counts  map[string]int `json:"counts"`  // by the time within which they close: 1h, 6h, 24h, all
	Hours   []int          `json:"hours"`   // by the hour in which they close, 24 from now on
	Untold  []Untold       `json:"untold"`
	Index   string         `json:"index"` // console.index: by=servicer needs all
	// Since and Incomplete are set while records are incomplete: a chat that is not listed may
	// still wait.
	Since      string `json:"since,omitempty"`
	Incomplete bool   `json:"incomplete,omitempty"`
	ListEnd
}

// closing lists the chats that close unanswered.
func (a *Admin) closing(w http.ResponseWriter, r *http.Request) {
	q, err := a.readQuery(r, listing{sorts: []string{"closes"}, filters: []string{"within", "corp_id", "standing", "channel", "by"}})
	if err != nil {
		failQuery(w, err)
		return
	}
	query, err := a.closingQuery(q)
	if err != nil {
		failQuery(w, err)
		return
	}
	if q.csv {
		export(a, w, "closing", a.allWaiting(r, query))
		return
	}
	list, err := a.listClosing(r, q, query)
	if err != nil {
		storeAway(w, err)
		return
	}
	if !unchanged(w, r, list.Waiting, list.Counts, list.Hours, list.Untold, list.Since) {
		list.AsOf = stamp(a.Now())
		reply(w, http.StatusOK, list)
	}
}

// closingQuery reads the filters.
func (a *Admin) closingQuery(q listQuery) (window.Query, error) {
	g, now := a.Gateway.Gate(), a.Now()
	query := window.Query{Waiting: true, Limit: q.limit, After: windowPosition(q.after), Unobserved: func(corp string) bool { return !g.Observes(corp, now) }}
	if text := q.Get("within"); text != "" && text != "all" {
		within, err := time.ParseDuration(text)
		if err != nil || within <= 0 {
			return query, badQueryf("within must be a duration like 1h, or all")
		}
		query.Within = within
	}
	switch by := q.Get("by"); by {
	case "", "any":
	case "servicer":
		if query.ByServicer = true; !a.Windows.ListAll() {
			return query, badQueryf("by=servicer needs console.index: all")
		}
	default:
		return query, badQueryf("by must be one of any, servicer")
	}
	if q.Has("channel") && q.Get("channel") != "" {
		channel := q.Get("channel")
		query.Channel = &channel
	}
	corp, standing := q.Get("corp_id"), account.Standing(q.Get("standing"))
	if standing != "" && !slices.Contains(account.Standings(), standing) {
		return query, badQueryf("standing must be one of %v", account.Standings())
	}
	switch {
	case standing != "":
		query.Corps = []string{}
		for _, acc := range g.Accounts.All() {
			if acc.Standing(now) == standing && (corp == "" || acc.CorpID == corp) {
				query.Corps = append(query.Corps, acc.CorpID)
			}
		}
	case corp != "":
		query.Corps = []string{corp}
	}
	return query, nil
}

func (a *Admin) listClosing(r *http.Request, q listQuery, query window.Query) (list ClosingList, err error) {
	ctx := r.Context()
	found, err := a.Windows.ListByClose(ctx, query)
	if err != nil {
		return list, err
	}
	sum, err := a.Windows.CountWaiting(ctx, query)
	if err != nil {
		return list, err
	}
	untold, err := a.Windows.Untold(ctx, query)
	if err != nil {
		return list, err
	}
	complete, since, err := a.Windows.HistorySince(ctx, q.Get("corp_id"), "")
	if err != nil {
		return list, err
	}
	list = ClosingList{
		Waiting: []Waiting{}, Untold: []Untold{}, Hours: sum.Hours[:], Index: a.index(),
		Counts: map[string]int{"1h": sum.Within(1), "6h": sum.Within(6), "24h": sum.Within(24), "all": sum.All},
	}
	for _, e := range found.Entries {
		list.Waiting = append(list.Waiting, a.waiting(e))
	}
	for _, u := range untold {
		list.Untold = append(list.Untold, Untold{CorpID: u.Corp, Account: a.nameOf(u.Corp), Channels: append([]string{}, u.Channels...), Why: u.Why})
	}
	if found.Next != nil {
		list.Next = q.cursor(position{Number: float64(found.Next.Last), Text: found.Next.Corp, ID: found.Next.Member})
	}
	if !complete {
		list.Since, list.Incomplete = stamp(since), true
	}
	return list, nil
}

// waiting is the JSON form of a waiting chat.
func (a *Admin) waiting(e window.Entry) Waiting {
	g := a.Gateway.Gate()
	who, _ := g.Subject(e.Key.Corp, "", a.Now())
	after, _ := g.Subject(e.Key.Corp, "", e.Closes)
	row := Waiting{
		CorpID: e.Key.Corp, Standing: string(who.Standing), Channel: e.Key.Channel, Customer: e.Key.Customer,
		Last: stamp(time.UnixMilli(e.Window.Last)), Closes: stamp(e.Closes),
		AnsweredByBot: !e.Window.Waiting(false), ReachableAfter: after.Standing != account.Lapsed,
	}
	if who.Account != nil {
		row.Account = who.Account.Name
		if stops := who.Account.StopsAt(a.Now()); row.ReachableAfter && stops.After(e.Closes) {
			row.ReachableUntil = stamp(stops)
		}
	}
	return row
}

// nameOf returns the name of a corp's account, "" if it has none.
func (a *Admin) nameOf(corp string) string {
	if acc := a.Gateway.Gate().Accounts.Find(corp); acc != nil {
		return acc.Name
	}
	return ""
}

// allWaiting yields all pages.
func (a *Admin) allWaiting(r *http.Request, query window.Query) iter.Seq2[[]Waiting, error] {
	return func(yield func([]Waiting, error) bool) {
		query.Limit = maxLimit
		for {
			found, err := a.Windows.ListByClose(r.Context(), query)
			var rows []Waiting
			for _, e := range found.Entries {
				rows = append(rows, a.waiting(e))
			}
			if query.After = found.Next; !yield(rows, err) || err != nil || query.After == nil {
				return
			}
		}
	}
}
