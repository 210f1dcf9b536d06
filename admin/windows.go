package admin

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"time"

	"replygate/window"
)

// Window is the JSON form of a window. Times are RFC 3339 in UTC.
type Window struct {
	CorpID   string   `json:"corp_id"`
	Channel  string   `json:"channel"`
	Customer string   `json:"customer"`
	State    string   `json:"state"` // open, full, shut, closed, or broken: the Redis key is no window
	Last     string   `json:"last"`  // message of the customer; "" if broken
	Closes   string   `json:"closes"`
	Left     *int     `json:"replies_left"`       // null: not counted
	Sent     []string `json:"sent"`               // replies since Last
	Answered string   `json:"answered,omitempty"` // newest reply of a bot
	Served   string   `json:"served,omitempty"`   // newest message of a servicer
}

// WindowList is the answer of GET /v1/windows.
type WindowList struct {
	Windows    []Window `json:"windows"`
	More       bool     `json:"more"`
	Since      string   `json:"since"`           // the records shown have no gap after this time
	Incomplete bool     `json:"incomplete"`      // a customer who is missing here may still have written
	Index      string   `json:"index,omitempty"` // waiting: only chats that wait for an answer are listed; all
	Next       string   `json:"next,omitempty"`  // the cursor of the next page
	AsOf       string   `json:"as_of,omitempty"`
	// Changes are the last changes by hand of the windows of one customer that this gateway knows.
	Changes []ChangedWindow `json:"changes,omitempty"`
}

var states = map[window.State]string{
	window.Open: "open", window.Exhausted: "full", window.ClosedByPlatform: "shut", window.Closed: "closed",
}

const broken = "broken"

func show(e window.Entry) Window {
	if e.Broken {
		return Window{CorpID: e.Key.Corp, Channel: e.Key.Channel, Customer: e.Key.Customer, State: broken, Sent: []string{}}
	}
	w := Window{
		CorpID: e.Key.Corp, Channel: e.Key.Channel, Customer: e.Key.Customer, State: states[e.State],
		Last: stamp(time.UnixMilli(e.Window.Last)), Closes: stamp(e.Closes), Sent: []string{},
		Answered: stampMillis(e.Window.Answered), Served: stampMillis(e.Window.Served),
	}
	if e.Left >= 0 {
		w.Left = &e.Left
	}
	for _, t := range e.Window.Sent {
		w.Sent = append(w.Sent, stamp(time.UnixMilli(t)))
	}
	return w
}

// changesOf returns the last changes by the API of windows, if the query asks for them.
func (a *Admin) changesOf(r *http.Request, entries ...window.Entry) (all []ChangedWindow) {
	if r.URL.Query().Get("changes") == "" {
		return nil
	}
	for _, e := range entries {
		if c := a.changes.last(e.Key); c != nil {
			all = append(all, *c)
		}
	}
	return all
}

// stampMillis is stamp for unix ms, "" for none.
func stampMillis(ms int64) string {
	if ms == 0 {
		return ""
	}
	return stamp(time.UnixMilli(ms))
}

// windowQuery is the query of GET /v1/windows.
type windowQuery struct {
	listQuery
	corp, channel string
	anyChannel    bool // no channel is named
	state         string
}

// readWindowQuery reads the query of GET /v1/windows.
func (a *Admin) readWindowQuery(r *http.Request) (windowQuery, error) {
	list, err := a.readQuery(r, listing{sorts: []string{"closes"}, filters: []string{"corp_id", "channel", "customer", "state", "scan", "changes"}, most: maxList})
	if err != nil {
		return windowQuery{}, err
	}
	q := windowQuery{listQuery: list, corp: list.Get("corp_id"), channel: list.Get("channel"), anyChannel: !list.Has("channel") || list.Get("channel")+list.Get("customer") == "", state: list.Get("state")}
	if q.state != "" && q.state != broken && stateOf(q.state) == nil {
		return q, badQueryf("state must be one of open, full, shut, closed, broken")
	}
	if scan := list.Get("scan"); scan != "" && scan != "1" {
		return q, badQueryf("scan must be 1")
	}
	if changes := list.Get("changes"); changes != "" && changes != "1" {
		return q, badQueryf("changes must be 1")
	}
	return q, nil
}

// stateOf returns the state of a name, nil for any other word.
func stateOf(name string) []window.State {
	for state, known := range states {
		if known == name {
			return []window.State{state}
		}
	}
	return nil
}

// matches reports whether a window is on the list that the query asks for.
func (q *windowQuery) matches(e window.Entry) bool {
	return (q.anyChannel || e.Key.Channel == q.channel) && (q.state == "" || show(e).State == q.state)
}

// windows lists windows. With customer it shows those of one customer; with scan it looks at all
// windows, else only at those that are indexed.
func (a *Admin) windows(w http.ResponseWriter, r *http.Request) {
	q, err := a.readWindowQuery(r)
	customer := q.Get("customer")
	switch {
	case err != nil:
		failQuery(w, err)
	case customer != "" && q.csv:
		failQuery(w, badQueryf("format=csv is for lists: leave out customer"))
	case customer != "" && !q.anyChannel:
		a.window(w, r, window.Key{Corp: q.corp, Channel: q.channel, Customer: customer})
	case customer != "" && q.corp == "":
		failQuery(w, badQueryf("name the corp_id of the customer: ids of customers belong to a corp"))
	case customer != "":
		a.customer(w, r, q.corp, customer)
	case q.Get("scan") != "":
		a.scanWindows(w, r, q)
	default:
		a.indexedWindows(w, r, q)
	}
}

// indexedWindows lists windows in the order in which they close.
func (a *Admin) indexedWindows(w http.ResponseWriter, r *http.Request, q windowQuery) {
	if q.csv {
		export(a, w, "windows", q.rows(a.eachIndexed(r.Context(), q)))
		return
	}
	found, err := a.Windows.ListByClose(r.Context(), q.byClose())
	list := WindowList{Index: a.index()}
	if found.Next != nil {
		list.Next = q.cursor(position{Number: float64(found.Next.Last), Text: found.Next.Corp, ID: found.Next.Member})
	}
	a.replyWindows(w, r, q, found.Entries, list, err)
}

// byClose is the query for the index.
func (q *windowQuery) byClose() window.Query {
	query := window.Query{Limit: q.limit, States: stateOf(q.state), After: windowPosition(q.after)}
	if q.corp != "" {
		query.Corps = []string{q.corp}
	}
	if !q.anyChannel {
		query.Channel = &q.channel
	}
	return query
}

// rows yields those of the entries that the query asks for.
func (q *windowQuery) rows(pages iter.Seq2[[]window.Entry, error]) iter.Seq2[[]Window, error] {
	return func(yield func([]Window, error) bool) {
		for entries, err := range pages {
			if !yield(q.shown(entries), err) || err != nil {
				return
			}
		}
	}
}

// shown returns the rows of those entries that the query asks for.
func (q *windowQuery) shown(entries []window.Entry) []Window {
	rows := []Window{}
	for _, e := range entries {
		if q.matches(e) {
			rows = append(rows, show(e))
		}
	}
	return rows
}

// eachIndexed yields all pages of windows.
func (a *Admin) eachIndexed(ctx context.Context, q windowQuery) iter.Seq2[[]window.Entry, error] {
	return func(yield func([]window.Entry, error) bool) {
		for query := q.byClose(); ; {
			found, err := a.Windows.ListByClose(ctx, query)
			if !yield(found.Entries, err) || found.Next == nil {
				return
			}
			query.After = found.Next
		}
	}
}

// eachScanned yields all windows in no order.
func (a *Admin) eachScanned(ctx context.Context, q windowQuery) iter.Seq2[[]window.Entry, error] {
	return func(yield func([]window.Entry, error) bool) {
		for next := ""; ; {
			entries, after, err := a.Windows.Scan(ctx, q.corp, next, q.limit)
			if !yield(entries, err) || after == "" {
				return
			}
			next = after
		}
	}
}

// windowPosition is the place of a row in the index.
func windowPosition(p *position) *window.Position {
	if p == nil {
		return nil
	}
	return &window.Position{Last: int64(p.Number), Corp: p.Text, Member: p.ID}
}

// scanWindows lists windows in no order. Redis is scanned for one caller at a time.
func (a *Admin) scanWindows(w http.ResponseWriter, r *http.Request, q windowQuery) {
	if !a.scanning.TryLock() {
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusTooManyRequests, "too_many", "another scan is running; try again soon")
		return
	}
	defer a.scanning.Unlock()
	if q.csv {
		export(a, w, "windows", q.rows(a.eachScanned(r.Context(), q)))
		return
	}
	from := ""
	if q.after != nil {
		from = q.after.ID
	}
	entries, next, err := a.Windows.Scan(r.Context(), q.corp, from, q.limit)
	if errors.Is(err, window.ErrBadPlace) {
		fail(w, http.StatusBadRequest, "bad_cursor", "Redis has other servers than when this scan began: begin again without the cursor")
		return
	}
	list := WindowList{}
	if next != "" {
		list.Next = q.cursor(position{ID: next})
	}
	a.replyWindows(w, r, q, entries, list, err)
}

// replyWindows answers with those of the entries that the query asks for.
func (a *Admin) replyWindows(w http.ResponseWriter, r *http.Request, q windowQuery, entries []window.Entry, list WindowList, err error) {
	complete, since, unknown := a.Windows.HistorySince(r.Context(), q.corp, "")
	if err = cmp.Or(err, unknown); err != nil {
		storeAway(w, err)
		return
	}
	list.Windows, list.More, list.Since, list.Incomplete, list.AsOf = q.shown(entries), list.Next != "", stamp(since), !complete, stamp(a.Now())
	if !unchanged(w, r, list.Windows, list.More, list.Since, list.Incomplete, list.Index) {
		reply(w, http.StatusOK, list)
	}
}

// window shows the window of a customer on one channel.
func (a *Admin) window(w http.ResponseWriter, r *http.Request, k window.Key) {
	e, found, err := a.Windows.Show(r.Context(), k)
	complete, since, unknown := a.Windows.HistorySince(r.Context(), k.Corp, k.Channel)
	switch {
	case err != nil, unknown != nil:
		storeAway(w, cmp.Or(err, unknown))
	case !found:
		noWindow(w, "on this channel ", complete, since)
	default:
		reply(w, http.StatusOK, WindowList{Windows: []Window{show(e)}, Since: stamp(since), Incomplete: !complete, Changes: a.changesOf(r, e)})
	}
}

// customer shows the windows of a customer on all channels of a corp.
func (a *Admin) customer(w http.ResponseWriter, r *http.Request, corp, customer string) {
	entries, err := a.Windows.FindCustomer(r.Context(), corp, customer, a.channelsOf(corp)...)
	complete, since, unknown := a.Windows.HistorySince(r.Context(), corp, "")
	switch {
	case err != nil, unknown != nil:
		storeAway(w, cmp.Or(err, unknown))
	case len(entries) == 0:
		noWindow(w, "", complete, since)
	default:
		list := WindowList{Windows: []Window{}, Since: stamp(since), Incomplete: !complete, AsOf: stamp(a.Now()), Changes: a.changesOf(r, entries...)}
		for _, e := range entries {
			list.Windows = append(list.Windows, show(e))
		}
		reply(w, http.StatusOK, list)
	}
}

// channelsOf returns the channels that the configuration lists for an account.
func (a *Admin) channelsOf(corp string) []string {
	for _, acc := range a.Gateway.Gate().Config.Accounts {
		if acc.CorpID == corp {
			return slices.Clone(acc.Channels)
		}
	}
	return nil
}

// noWindow answers that nothing is on record. where is empty, or "on this channel ".
func noWindow(w http.ResponseWriter, where string, complete bool, since time.Time) {
	text := "no message of this customer " + where + "is on record"
	if complete {
		text += " within the window's length"
	} else {
		text += ", but records are complete only since " + stamp(since)
	}
	fail(w, http.StatusNotFound, "no_window", text)
}

// index tells which windows are listed, as console.index has it.
func (a *Admin) index() string {
	if a.Windows.ListAll() {
		return "all"
	}
	return "waiting"
}
