package admin

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"replygate/account"
	"replygate/contacts"
	"replygate/wecom"
	"replygate/window"
)

// Overview is the answer of GET /v1/overview: what a manager looks at first.
type Overview struct {
	AsOf      string         `json:"as_of"`
	Accounts  AccountCounts  `json:"accounts"`
	Waiting   *WaitingCounts `json:"waiting,omitempty"` // absent: Redis does not answer
	Decisions DecisionCounts `json:"decisions"`
	Attention []Attention    `json:"attention"` // the most urgent first
	Health    string         `json:"health"`    // ok, attention or failed
	Unwell    int            `json:"unwell"`    // parts that are not ok, silent gateways as one
	// RedisDown is since when Redis does not answer; absent: it answers.
	RedisDown string    `json:"redis_down,omitempty"`
	Partial   []Missing `json:"partial,omitempty"`
}

// AccountCounts count accounts by standing.
type AccountCounts struct {
	Total  int `json:"total"`
	Active int `json:"active"`
	Grace  int `json:"grace"`
	Lapsed int `json:"lapsed"`
	Free   int `json:"free"`
	Full   int `json:"full"`
}

// WaitingCounts counts the chats that wait for a reply, by when they close at the latest.
type WaitingCounts struct {
	Hour   int `json:"1h"`
	Hours6 int `json:"6h"`
	Day    int `json:"24h"`
	All    int `json:"all"`
	Untold int `json:"untold_accounts"` // accounts of which it cannot be told
}

// DecisionCounts count the judged calls of today, a day of console.timezone.
type DecisionCounts struct {
	Since   string         `json:"since"` // midnight, or later if a gateway started since
	Judged  int            `json:"judged"`
	Refused int            `json:"refused"`
	Unsure  int            `json:"unsure"`
	ByHour  []int          `json:"by_hour"` // refused, from midnight to the present hour
	By      []RefusedCount `json:"by"`      // refused; the most first
}

// RefusedCount is the number of refusals for one reason.
type RefusedCount struct {
	Capability string `json:"capability"`
	Reason     string `json:"reason"`
	Count      int    `json:"count"`
}

// Attention is one thing that needs attention.
type Attention struct {
	Level   string `json:"level"` // urgent or soon
	Kind    string `json:"kind"`
	Count   int    `json:"count,omitempty"`
	CorpID  string `json:"corp_id,omitempty"`
	Name    string `json:"name,omitempty"` // of the account
	Entity  string `json:"entity,omitempty"`
	At      string `json:"at,omitempty"`
	Percent int    `json:"percent,omitempty"`
	Total   int    `json:"total,omitempty"` // contacts
	Limit   int    `json:"limit,omitempty"`
	FullOn  string `json:"full_on,omitempty"` // the day on which the limit is reached at this pace
	Calls   *int   `json:"calls_7d,omitempty"`
	Text    string `json:"text,omitempty"` // of a part that is not well
	URL     string `json:"url"`            // relative to the console
}

// The levels of attention.
const (
	Urgent = "urgent"
	Soon   = "soon"
)

const (
	maxAttention = 7
	maxRefused   = 10
	numbersFresh = 10 * time.Second // what other gateways counted, and what Redis says of chats
	numbersStale = time.Minute      // older numbers are not shown
	movesFresh   = 10 * time.Minute // what moved between accounts: counts change once a day
	movesStale   = 24 * time.Hour
	storeTime    = 2 * time.Second     // to read from Redis for an overview
	stopsWithin  = 14 * 24 * time.Hour // is told
	stopsUrgent  = 3 * 24 * time.Hour
	fullPercent  = 90
)

// overview answers GET /v1/overview.
func (a *Admin) overview(w http.ResponseWriter, r *http.Request) {
	values, err := checkedValues(r, fromPeer)
	if err != nil {
		failQuery(w, err)
		return
	}
	peer, err := isPeer(values)
	if err != nil {
		failQuery(w, err)
		return
	}
	if peer { // the accounts and chats are the same everywhere
		reply(w, http.StatusOK, Overview{AsOf: stamp(a.Now()), Decisions: a.ownCounts(), Attention: []Attention{}, Health: StatusOK})
		return
	}
	o := a.readOverview(r.Context())
	if !unchanged(w, r, o.Accounts, o.Waiting, o.Decisions, o.Attention, o.Health, o.Unwell, o.RedisDown, o.Partial) {
		reply(w, http.StatusOK, o)
	}
}

// readOverview tells what a manager looks at first.
func (a *Admin) readOverview(ctx context.Context) Overview {
	now, parts := a.Now(), a.healthParts(ctx)
	o := Overview{AsOf: stamp(now), Health: worst(parts)}
	accounts := a.Gateway.Gate().Accounts.All()
	o.Accounts = countAccounts(accounts, now)
	o.Decisions, o.Partial = a.decisionCounts(ctx)
	o.Attention = a.attentionOf(accounts, now)
	stored := a.stored.get(ctx, numbersFresh, numbersStale, a.readStored)
	o.Waiting = stored.waiting
	for i, at := range o.Attention {
		if at.Kind == "contacts" {
			o.Attention[i].FullOn = stored.fullOn[at.CorpID]
		}
	}
	if n := o.Waiting; n != nil && n.Hour > 0 {
		o.Attention = append(o.Attention, Attention{Level: Urgent, Kind: "closing", Count: n.Hour, CorpID: stored.first.corp, Name: a.nameOf(stored.first.corp), At: Stamp(stored.first.closes), URL: "closing?within=1h"})
	}
	o.Attention = append(o.Attention, a.moves.get(ctx, movesFresh, movesStale, a.readMoves)...)
	for _, more := range a.Sources.Attention {
		o.Attention = append(o.Attention, more(ctx)...)
	}
	for _, p := range parts {
		if p.Status != StatusOK {
			o.Attention = append(o.Attention, attentionTo(p))
			o.Unwell++
		}
		if p.Name == "redis" && p.Status == StatusFailed {
			o.RedisDown = cmp.Or(p.Since, a.Gateway.Self().Since, o.AsOf)
		}
	}
	if len(o.Partial) > 0 {
		o.Unwell++
	}
	slices.SortStableFunc(o.Attention, compareAttention)
	o.Attention = o.Attention[:min(len(o.Attention), maxAttention)]
	return o
}

// storedNumbers is what Redis has for the overview.
type storedNumbers struct {
	waiting *WaitingCounts // nil: Redis does not answer
	first   struct {       // the chat that closes first
		corp   string
		closes time.Time
	}
	fullOn map[string]string // when accounts that are nearly full will be, by corp id
}

// readStored reads what Redis has for the overview; without Redis it is empty.
func (a *Admin) readStored(ctx context.Context) (out storedNumbers) {
	if !a.Gateway.RedisUp() {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	out.fullOn = a.daysFull(ctx)
	g, now := a.Gateway.Gate(), a.Now()
	query := window.Query{Waiting: true, Unobserved: func(corp string) bool { return !g.Observes(corp, now) }}
	sum, err := a.Windows.CountWaiting(ctx, query)
	if err != nil {
		return out
	}
	untold, err := a.Windows.Untold(ctx, query)
	if err != nil {
		return out
	}
	corps := map[string]bool{}
	for _, u := range untold {
		corps[u.Corp] = true
	}
	out.waiting = &WaitingCounts{Hour: sum.Within(1), Hours6: sum.Within(6), Day: sum.Within(24), All: sum.All, Untold: len(corps)}
	query.Within, query.Limit = time.Hour, 1
	if page, err := a.Windows.ListByClose(ctx, query); err == nil && len(page.Entries) > 0 {
		out.first.corp, out.first.closes = page.Entries[0].Key.Corp, page.Entries[0].Closes
	}
	return out
}

// daysFull returns when the accounts that are nearly full reach their limit at their pace.
func (a *Admin) daysFull(ctx context.Context) map[string]string {
	now, days := a.Now(), map[string]string{}
	full := slices.DeleteFunc(a.attentionOf(a.Gateway.Gate().Accounts.All(), now), func(at Attention) bool { return at.Kind != "contacts" })
	corps := make([]string, len(full))
	for i, at := range full {
		corps[i] = at.CorpID
	}
	histories, err := a.histories(ctx, corps)
	if err != nil {
		return nil
	}
	for _, at := range full {
		pace, _ := contacts.Measure(histories[at.CorpID], now)
		if on, will := pace.FullOn(at.Total, at.Limit, now); will && at.Total < at.Limit {
			days[at.CorpID] = contacts.DayOf(on)
		}
	}
	return days
}

// readMoves returns the entities between whose accounts contacts seem to move.
func (a *Admin) readMoves(ctx context.Context) (all []Attention) {
	if !a.Gateway.RedisUp() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	siblings, accounts := a.siblings(func(string) bool { return true }), map[string]int{}
	for _, s := range siblings {
		accounts[s.Entity]++
	}
	siblings = slices.DeleteFunc(siblings, func(s contacts.Sibling) bool { return accounts[s.Entity] < 2 })
	if err := contacts.ReadHistories(ctx, siblings, a.histories); err != nil {
		return nil
	}
	for _, e := range contacts.Entities(siblings, a.Now()) {
		if len(e.Shifts) > 0 {
			all = append(all, Attention{Level: Soon, Kind: "moves", Entity: e.Name, Count: len(e.Shifts), URL: "entities/" + url.PathEscape(e.Name)})
		}
	}
	return all
}

// attentionTo tells of a part that is not well.
func attentionTo(p HealthPart) Attention {
	out := Attention{Level: Soon, Kind: p.Name, At: p.Since, Text: p.Text, URL: "health"}
	if p.Status == StatusFailed {
		out.Level = Urgent
	}
	if p.Count != nil {
		out.Count = *p.Count
	}
	return out
}

// kindOrder puts the chats that close first, then what stops, and last what is not well.
var kindOrder = []string{"closing", "stops", "contacts", "moves"}

func compareAttention(x, y Attention) int {
	place := func(kind string) int {
		if i := slices.Index(kindOrder, kind); i >= 0 {
			return i
		}
		return len(kindOrder)
	}
	return cmp.Or(-cmp.Compare(x.Level, y.Level), cmp.Compare(place(x.Kind), place(y.Kind)), cmp.Compare(x.At, y.At), cmp.Compare(y.Percent, x.Percent), cmp.Compare(x.CorpID, y.CorpID))
}

func countAccounts(all []*account.Account, now time.Time) (n AccountCounts) {
	n.Total = len(all)
	for _, acc := range all {
		switch acc.Standing(now) {
		case account.Active:
			n.Active++
		case account.Grace:
			n.Grace++
		case account.Free:
			n.Free++
		case account.Full:
			n.Full++
		default:
			n.Lapsed++
		}
	}
	return n
}

// attentionOf tells which accounts stop soon, and which are nearly full.
func (a *Admin) attentionOf(accounts []*account.Account, now time.Time) []Attention {
	found := leading[Attention]{n: maxAttention, compare: compareAttention, all: []Attention{}}
	for _, acc := range accounts {
		if at := acc.LapsesAt(); at.After(now) && at.Sub(now) <= stopsWithin && acc.Standing(at) == account.Lapsed {
			stops := Attention{Level: Soon, Kind: "stops", CorpID: acc.CorpID, Name: acc.Name, At: stamp(at)}
			if at.Sub(now) < stopsUrgent {
				stops.Level = Urgent
			}
			found.add(stops)
		}
		if _, total, known := acc.Contacts(); known {
			limit, _ := acc.Limit(now)
			if limit > 0 && total*100 >= limit*fullPercent && acc.Standing(now) != account.Lapsed { // which may add nobody anyway
				full := Attention{Level: Soon, Kind: "contacts", CorpID: acc.CorpID, Name: acc.Name, Percent: total * 100 / limit, Total: total, Limit: limit}
				if total >= limit {
					full.Level = Urgent
				}
				found.add(full)
			}
		}
	}
	all := found.sorted()
	for i := range all {
		if all[i].Kind == "contacts" {
			all[i].URL = "contacts?corp_id=" + url.QueryEscape(all[i].CorpID)
			continue
		}
		all[i].URL = "accounts/" + url.PathEscape(all[i].CorpID)
		if a.Activity != nil {
			if activity, known := a.Activity(all[i].CorpID); known {
				all[i].Calls = activity.Calls7d
			}
		}
	}
	return all
}

// ownCounts counts the decisions of this gateway.
func (a *Admin) ownCounts() DecisionCounts {
	n := DecisionCounts{ByHour: []int{}, By: []RefusedCount{}}
	if a.Sources.Decisions != nil {
		n = a.Sources.Decisions()
	}
	return n
}

// decisionCounts adds up the decisions of all gateways.
func (a *Admin) decisionCounts(ctx context.Context) (sum DecisionCounts, silent []Missing) {
	sum = a.ownCounts()
	if len(a.Keys.Peers) == 0 {
		return sum, nil
	}
	answers := a.counted.get(ctx, numbersFresh, numbersStale, func(ctx context.Context) []peerAnswer[Overview] {
		return askPeers[Overview](ctx, a, "/v1/overview", url.Values{})
	})
	by := map[[2]string]int{}
	addRefused(by, sum.By)
	for _, p := range answers {
		if p.err != nil {
			continue
		}
		d := p.value.Decisions
		sum.Judged, sum.Refused, sum.Unsure, sum.Since = sum.Judged+d.Judged, sum.Refused+d.Refused, sum.Unsure+d.Unsure, max(sum.Since, d.Since)
		for i, n := range d.ByHour[:min(len(d.ByHour), 25)] { // 25 on the day when summer ends
			if i == len(sum.ByHour) {
				sum.ByHour = append(sum.ByHour, 0)
			}
			sum.ByHour[i] += n
		}
		addRefused(by, d.By)
	}
	sum.By = sortRefused(by)
	return sum, unanswered(answers)
}

func addRefused(to map[[2]string]int, counts []RefusedCount) {
	for _, c := range counts {
		to[[2]string{c.Capability, c.Reason}] += c.Count
	}
}

// CountRefused counts refusals by capability and reason, the most first.
func CountRefused(by map[wecom.Capability]map[string]int) []RefusedCount {
	flat := map[[2]string]int{}
	for capability, reasons := range by {
		for reason, n := range reasons {
			flat[[2]string{string(capability), reason}] += n
		}
	}
	return sortRefused(flat)
}

func sortRefused(by map[[2]string]int) []RefusedCount {
	all := make([]RefusedCount, 0, len(by))
	for k, n := range by {
		all = append(all, RefusedCount{k[0], k[1], n})
	}
	slices.SortFunc(all, func(x, y RefusedCount) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Capability, y.Capability), cmp.Compare(x.Reason, y.Reason))
	})
	return all[:min(len(all), maxRefused)]
}
