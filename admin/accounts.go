package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
	"replygate/gate"
)

// Account is the JSON form of an account.
type Account struct {
	CorpID    string   `json:"corp_id"`
	Name      string   `json:"name"`
	Entity    string   `json:"entity"`
	Standing  string   `json:"standing"`
	Expires   string   `json:"expires_at,omitempty"`
	Lapses    string   `json:"lapses_at,omitempty"` // end of the grace period
	LapsesTo  string   `json:"lapses_to,omitempty"` // the standing from then on: lapsed or free
	DaysLeft  *int     `json:"days_left,omitempty"` // whole days until then; nil: it is over, or never comes
	Stops     []string `json:"stops"`               // the capabilities that are refused from then on
	Total     *int     `json:"contacts_total,omitempty"`
	Free      *int     `json:"contacts_free,omitempty"`
	Purchased *int     `json:"contacts_purchased,omitempty"`
	CountedAt string   `json:"contacts_counted_at,omitempty"`
	Source    string   `json:"contacts_source,omitempty"` // file, metered or callbacks
	Exact     *bool    `json:"contacts_exact,omitempty"`  // else an estimate, which changes no standing
	Limit     *int     `json:"contacts_limit,omitempty"`
	LimitKind string   `json:"contacts_limit_kind,omitempty"` // free or purchased
	Used      *float64 `json:"contacts_used,omitempty"`       // percent of the limit
	Activity
}

// Activity is what went through the gateway for an account; nil is not known.
type Activity struct {
	Waiting   *int `json:"waiting,omitempty"`    // chats that wait for a reply
	Refused7d *int `json:"refused_7d,omitempty"` // calls refused in seven days
	Calls7d   *int `json:"calls_7d,omitempty"`   // calls in seven days
}

// AccountList is the answer of GET /v1/accounts.
type AccountList struct {
	Accounts []Account `json:"accounts"`
	ListEnd
}

// OneAccount is the answer of GET /v1/accounts/CORP.
type OneAccount struct {
	Account
	Channels []Channel `json:"channels,omitempty"` // absent: none is known, or Redis does not answer
	AsOf     string    `json:"as_of"`
}

// Channel is what the records tell about one channel of an account.
type Channel struct {
	Channel    string `json:"channel"`
	Since      string `json:"since"` // records have no gap after this time
	Incomplete bool   `json:"incomplete"`
	Messages7d int64  `json:"messages_7d"`       // of customers, in seven days
	Replied    string `json:"replied,omitempty"` // the newest reply in that time
	Untold     string `json:"untold,omitempty"`  // why it cannot be told whether its chats are answered
	Waiting    int    `json:"waiting"`           // chats that wait for a reply, of which it can be told
}

// The orders of accounts. The default has those that stop next first, then those that stopped, the
// latest first, then those that do not stop.
const (
	byStop      = "stops"
	byUsed      = "-contacts_used"
	byWaiting   = "-waiting"
	byRefused7d = "-refused_7d"
	byName      = "name"
)

var accountListing = listing{
	sorts:   []string{byStop, byUsed, byWaiting, byRefused7d, byName},
	filters: []string{"corp_id", "q", "standing", "entity", "within", "used", "on"},
}

// accounts lists accounts. Without parameters, or with corp_id alone, it lists all in the order of
// the configuration.
func (a *Admin) accounts(w http.ResponseWriter, r *http.Request) {
	q, err := a.readQuery(r, accountListing)
	if err != nil {
		failQuery(w, err)
		return
	}
	chosen, err := a.accountFilter(q)
	if err != nil {
		failQuery(w, err)
		return
	}
	book := a.Gateway.Gate().Accounts
	corp := q.Get("corp_id")
	if corp != "" && book.Find(corp) == nil {
		failNoAccount(w)
		return
	}
	rows := slices.DeleteFunc(slices.Clone(book.All()), func(acc *account.Account) bool { return !chosen(acc) })
	list := AccountList{Accounts: []Account{}, ListEnd: ListEnd{Total: new(len(rows)), AsOf: stamp(a.Now())}}
	if len(q.Values) > 0 && !(len(q.Values) == 1 && corp != "") {
		rows, list.Next = page(q, rows, a.accountOrder(q))
	}
	if q.csv {
		export(a, w, "accounts", func(yield func([]Account, error) bool) {
			for some := range slices.Chunk(rows, maxLimit) {
				var shown []Account
				for _, acc := range some {
					shown = append(shown, a.showAccount(acc))
				}
				if !yield(shown, nil) {
					return
				}
			}
		})
		return
	}
	for _, acc := range rows {
		list.Accounts = append(list.Accounts, a.showAccount(acc))
	}
	if !unchanged(w, r, list.Accounts, list.Total) {
		reply(w, http.StatusOK, list)
	}
}

func failNoAccount(w http.ResponseWriter) {
	fail(w, http.StatusNotFound, "no_account", "the configuration has no account with this corp_id")
}

// account shows one account.
func (a *Admin) account(w http.ResponseWriter, r *http.Request) {
	if _, err := checkedValues(r); err != nil {
		failQuery(w, err)
		return
	}
	acc := a.Gateway.Gate().Accounts.Find(r.PathValue("corp"))
	if acc == nil {
		failNoAccount(w)
		return
	}
	shown := OneAccount{Account: a.showAccount(acc), Channels: a.channels(r.Context(), acc.CorpID)}
	if !unchanged(w, r, shown) {
		shown.AsOf = stamp(a.Now())
		reply(w, http.StatusOK, shown)
	}
}

// channels returns what the records tell about an account's channels, nil if Redis does not answer.
func (a *Admin) channels(ctx context.Context, corp string) []Channel {
	if !a.Gateway.RedisUp() {
		return nil
	}
	named, _ := a.Gateway.Channels(ctx, corp) // the records have their own
	found, err := a.Windows.Channels(ctx, corp, named...)
	if err != nil {
		return nil
	}
	all := make([]Channel, len(found))
	for i, c := range found {
		all[i] = Channel{Channel: c.ID, Since: stamp(c.Since), Incomplete: !c.Complete, Messages7d: c.Messages, Replied: Stamp(c.Replied), Untold: c.Untold, Waiting: c.Waiting}
	}
	return all
}

// showAccount returns an account as it is now.
func (a *Admin) showAccount(acc *account.Account) Account {
	now := a.Now()
	out := Account{
		CorpID: acc.CorpID, Name: acc.Name, Entity: acc.Entity, Standing: string(acc.Standing(now)),
		LapsesTo: string(acc.LapsesTo(now)), Stops: []string{}, Activity: a.activity(acc.CorpID),
	}
	out.Expires, out.Lapses = Stamp(acc.ExpiresAt()), Stamp(acc.LapsesAt())
	if left := acc.LapsesAt().Sub(now); left > 0 {
		out.DaysLeft = new(int(left / (24 * time.Hour)))
	}
	if at := acc.StopsAt(now); !at.IsZero() {
		for _, c := range a.stops.of(a.Gateway.Gate()).Of(acc, later(at, now)) {
			out.Stops = append(out.Stops, string(c))
		}
	}
	a.showContacts(acc, now, &out)
	return out
}

// showContacts sets what is known of an account's contacts.
func (a *Admin) showContacts(acc *account.Account, now time.Time, out *Account) {
	if free, _, known := acc.Contacts(); known {
		out.Free = &free
	}
	if n := acc.Purchased(); n > 0 {
		out.Purchased = &n
	}
	if n, known := a.number(acc); known {
		out.Total, out.Source, out.Exact, out.CountedAt = &n.Total, string(n.Source), &n.Exact, Stamp(n.AsOf)
	}
	if limit, kind := acc.Limit(now); kind != account.NoLimit {
		out.Limit, out.LimitKind = &limit, string(kind)
	}
	if used, known := a.used(acc, now); known {
		out.Used = &used
	}
}

// number returns an account's number of contacts.
func (a *Admin) number(acc *account.Account) (n contacts.Number, known bool) {
	var stored contacts.State
	if a.Counted != nil {
		stored = a.Counted(acc.CorpID)
	}
	return contacts.NumberOf(acc, stored)
}

// used returns which part of its limit of contacts an account uses, in percent with one decimal,
// rounded down. known is false if it has no count or no limit.
func (a *Admin) used(acc *account.Account, now time.Time) (percent float64, known bool) {
	limit, kind := acc.Limit(now)
	n, known := a.number(acc)
	if !known || kind == account.NoLimit || limit == 0 {
		return 0, false
	}
	return float64(n.Total*1000/limit) / 10, true
}

func (a *Admin) activity(corp string) Activity {
	if a.Activity == nil {
		return Activity{}
	}
	known, _ := a.Activity(corp)
	return known
}

// accountFilter returns what reports whether an account is in the list of a query.
func (a *Admin) accountFilter(q listQuery) (func(*account.Account) bool, error) {
	now := a.Now()
	var all []func(*account.Account) bool
	also := func(keep func(*account.Account) bool) { all = append(all, keep) }
	if corp := q.Get("corp_id"); corp != "" {
		also(func(acc *account.Account) bool { return acc.CorpID == corp })
	}
	if text := strings.ToLower(q.Get("q")); text != "" {
		also(func(acc *account.Account) bool {
			return slices.ContainsFunc([]string{acc.Name, acc.Entity, acc.CorpID}, func(s string) bool { return strings.Contains(strings.ToLower(s), text) })
		})
	}
	if standing := account.Standing(q.Get("standing")); standing != "" {
		if !slices.Contains(account.Standings(), standing) {
			return nil, badQueryf("standing must be one of %s", joined(account.Standings()))
		}
		also(func(acc *account.Account) bool { return acc.Standing(now) == standing })
	}
	if entity := q.Get("entity"); entity != "" {
		also(func(acc *account.Account) bool { return acc.Entity == entity })
	}
	if text := q.Get("within"); text != "" {
		within, err := parseSpan(text)
		if err != nil {
			return nil, badQueryf("within: %v", err)
		}
		also(func(acc *account.Account) bool {
			at := acc.StopsAt(q.at)
			return at.After(q.at) && !at.After(q.at.Add(within))
		})
	}
	if text := q.Get("used"); text != "" {
		least, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if err != nil || !(least >= 0 && least <= 1e6) {
			return nil, badQueryf("used must be a percentage of the limit of contacts, like 90")
		}
		also(func(acc *account.Account) bool {
			used, known := a.used(acc, now)
			return known && used >= least
		})
	}
	if text := q.Get("on"); text != "" {
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return nil, badQueryf("on must be a date like 2026-12-02")
		}
		also(func(acc *account.Account) bool {
			return a.date(acc.ExpiresAt()) == text || a.date(acc.StopsAt(now)) == text
		})
	}
	return func(acc *account.Account) bool {
		return !slices.ContainsFunc(all, func(keep func(*account.Account) bool) bool { return !keep(acc) })
	}, nil
}

// accountOrder returns the place of an account in the order of a query.
func (a *Admin) accountOrder(q listQuery) func(*account.Account) position {
	const known, unknown = 0, 1
	number := func(corp string, n *int) position {
		if n == nil {
			return position{Group: unknown, ID: corp}
		}
		return position{Group: known, Number: float64(*n), ID: corp}
	}
	switch q.sort {
	case byUsed:
		return func(acc *account.Account) position {
			used, isKnown := a.used(acc, q.at)
			if !isKnown {
				return position{Group: unknown, ID: acc.CorpID}
			}
			return position{Group: known, Number: used, ID: acc.CorpID}
		}
	case byWaiting:
		return func(acc *account.Account) position { return number(acc.CorpID, a.activity(acc.CorpID).Waiting) }
	case byRefused7d:
		return func(acc *account.Account) position {
			return number(acc.CorpID, a.activity(acc.CorpID).Refused7d)
		}
	case byName:
		return func(acc *account.Account) position {
			return position{Text: strings.ToLower(cmp.Or(acc.Name, acc.CorpID)), ID: acc.CorpID}
		}
	}
	return func(acc *account.Account) position { return stopOrder(acc, q.at) }
}

// stopOrder is the place of an account in the order by stop at an instant.
func stopOrder(acc *account.Account, now time.Time) position {
	const coming, stopped, never = 0, 1, 2
	at := acc.StopsAt(now)
	switch {
	case at.IsZero():
		return position{Group: never, Text: strings.ToLower(acc.Name), ID: acc.CorpID}
	case at.After(now):
		return position{Group: coming, Number: float64(at.UnixMilli()), ID: acc.CorpID}
	}
	return position{Group: stopped, Number: -float64(at.UnixMilli()), ID: acc.CorpID}
}

// stopsInForce keeps the gate.Stops of the configuration in force.
type stopsInForce struct {
	mu    sync.Mutex
	inUse *config.Config
	stops *gate.Stops
}

func (s *stopsInForce) of(g *gate.Gate) *gate.Stops {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inUse != g.Config {
		s.inUse, s.stops = g.Config, gate.NewStops(g)
	}
	return s.stops
}

// maxSpan bounds a span in a query.
const maxSpan = 3660 * 24 * time.Hour

// parseSpan reads a positive length of time: a Go duration, or whole days like 30d.
func parseSpan(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 || d > maxSpan {
		return 0, fmt.Errorf("%q is no length of time like 7d or 12h, at most %d days", text, maxSpan/(24*time.Hour))
	}
	return d, nil
}

func joined[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
