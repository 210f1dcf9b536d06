package events

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"replygate/account"
	"replygate/config"
	"replygate/contacts"
)

// Accounts finds the events of accounts. Its functions answer from memory, but for FullOn.
type Accounts struct {
	Book    func() *account.Book
	State   func(corp string) contacts.State
	Warn    func() []config.Percent
	Stops   func(a *account.Account, at time.Time) []string // the capabilities that are refused then
	Calls7d func(corp string) *int                          // nil: not known
	// FullOn returns the day on which an account reaches its limit, "" if it cannot be told. It asks
	// Redis, once for each threshold that is reached.
	FullOn func(ctx context.Context, a *account.Account, total, limit int, now time.Time) string
}

// SoonData is the data of account.expires_soon and account.stops_soon.
type SoonData struct {
	CorpID    string   `json:"corp_id"`
	Account   string   `json:"account"` // its name
	Entity    string   `json:"entity"`
	ExpiresAt string   `json:"expires_at"`
	StopsAt   string   `json:"stops_at,omitempty"` // absent: nothing stops
	DaysLeft  int      `json:"days_left"`          // begun ones count
	Stops     []string `json:"stops"`
	Calls7d   *int     `json:"calls_7d,omitempty"`
}

// StandingData is the data of account.standing_changed.
type StandingData struct {
	CorpID  string `json:"corp_id"`
	Account string `json:"account"`
	Entity  string `json:"entity"`
	From    string `json:"from"`
	To      string `json:"to"`
	At      string `json:"at"`
}

// ContactsData is the data of contacts.threshold.
type ContactsData struct {
	CorpID    string `json:"corp_id"`
	Account   string `json:"account"`
	Entity    string `json:"entity"`
	Total     int    `json:"total"`
	Exact     bool   `json:"exact"`
	Limit     int    `json:"limit"`
	LimitKind string `json:"limit_kind"`
	Percent   int    `json:"percent"` // the highest of meter.warn that is reached, 100 at the limit
	FullOn    string `json:"full_on,omitempty"`
}

// daysBefore are the days before an end at which it is announced.
var daysBefore = []int{1, 3, 7, 14, 30}

const day = 24 * time.Hour

// find returns what is new of all accounts, compared with what is known, and when the next of it
// comes by time alone; zero: nothing does.
func (w *Accounts) find(ctx context.Context, known map[string]string, now time.Time) (all []Event, next time.Time) {
	for _, a := range w.Book().All() {
		all = append(all, w.standing(a, known, now)...)
		all = append(all, w.soon(a, AccountExpiresSoon, "expires:", a.ExpiresAt(), known, now)...)
		all = append(all, w.soon(a, AccountStopsSoon, "stops:", a.StopsAt(now), known, now)...)
		all = append(all, w.contacts(ctx, a, known, now)...)
		next = earliest(next, nextOf(a, now))
	}
	return all, next
}

// standing returns the change of an account's standing. The first one that is seen is no change.
func (w *Accounts) standing(a *account.Account, known map[string]string, now time.Time) []Event {
	field, is := "standing:"+a.CorpID, string(a.Standing(now))
	was := known[field]
	from, since := parseKnown(was)
	switch {
	case from == is:
		return nil
	case was == "":
		return []Event{{Field: field, Value: knownSince(is, now)}}
	}
	at := changedAt(a, since, now)
	return []Event{{
		Type: StandingChanged, At: at, Corp: a.CorpID, Key: []string{a.CorpID, was, is},
		Data:  StandingData{CorpID: a.CorpID, Account: a.Name, Entity: a.Entity, From: from, To: is, At: Stamp(at)},
		Field: field, Was: was, Value: knownSince(is, at),
	}}
}

// knownSince is what is known of a state since an instant.
func knownSince(state string, at time.Time) string {
	return state + "@" + strconv.FormatInt(at.UnixMilli(), 10)
}

// parseKnown reads what knownSince wrote.
func parseKnown(text string) (state string, at time.Time) {
	state, ms, _ := strings.Cut(text, "@")
	n, _ := strconv.ParseInt(ms, 10, 64)
	return state, time.UnixMilli(n)
}

// changedAt returns the newest instant since the last change at which time or a count can have
// changed the standing of an account. If there is none a new configuration did, just now.
func changedAt(a *account.Account, since, now time.Time) (at time.Time) {
	causes := a.Instants()
	if n, known := a.Counted(); known && !n.AsOf.IsZero() {
		causes = append(causes, n.AsOf)
	}
	for _, c := range causes {
		if c.After(since) && !c.After(now) && c.After(at) {
			at = c
		}
	}
	if at.IsZero() {
		return now
	}
	return at
}

// soon returns the announcement of an end, once for each of daysBefore. After a pause it is the
// last one that is due.
func (w *Accounts) soon(a *account.Account, kind, family string, end time.Time, known map[string]string, now time.Time) []Event {
	left := end.Sub(now)
	i := slices.IndexFunc(daysBefore, func(d int) bool { return left <= time.Duration(d)*day })
	if end.IsZero() || left <= 0 || i < 0 {
		return nil
	}
	field, value := family+a.CorpID, fmt.Sprintf("%d:%d", end.UnixMilli(), daysBefore[i])
	if known[field] == value {
		return nil
	}
	data := SoonData{
		CorpID: a.CorpID, Account: a.Name, Entity: a.Entity, ExpiresAt: Stamp(a.ExpiresAt()), StopsAt: Stamp(a.StopsAt(now)),
		DaysLeft: int((left + day - 1) / day), Stops: []string{}, Calls7d: w.Calls7d(a.CorpID),
	}
	if at := a.StopsAt(now); !at.IsZero() {
		data.Stops = append(data.Stops, w.Stops(a, latest(at, now))...)
	}
	return []Event{{
		Type: kind, At: end.Add(-time.Duration(daysBefore[i]) * day), Corp: a.CorpID, Key: []string{a.CorpID, value}, Data: data,
		Field: field, Was: known[field], Value: value,
	}}
}

// contacts returns the thresholds that an account's contacts have newly reached. Only an exact
// count can take one back, so an estimate that moves to and fro is told once.
func (w *Accounts) contacts(ctx context.Context, a *account.Account, known map[string]string, now time.Time) []Event {
	l := contacts.LevelOf(a, w.State(a.CorpID), w.Warn(), now)
	if l.LimitKind == account.NoLimit || l.Number == (contacts.Number{}) {
		return nil
	}
	field := "contacts:" + a.CorpID
	was := known[field]
	state, _ := parseKnown(was)
	limit := fmt.Sprintf("%s:%d:", l.LimitKind, l.Limit)
	reached := 0
	if percent, same := strings.CutPrefix(state, limit); same {
		reached, _ = strconv.Atoi(percent)
	}
	value := limit + strconv.Itoa(int(l.Percent))
	switch {
	case int(l.Percent) > reached:
		return []Event{{
			Type: ContactsThreshold, At: cmp.Or(l.Number.AsOf, now), Corp: a.CorpID, Key: []string{a.CorpID, was, value},
			Data: ContactsData{
				CorpID: a.CorpID, Account: a.Name, Entity: a.Entity, Total: l.Number.Total, Exact: l.Number.Exact, Limit: l.Limit, LimitKind: string(l.LimitKind),
				Percent: int(l.Percent), FullOn: w.FullOn(ctx, a, l.Number.Total, l.Limit, now),
			},
			Field: field, Was: was, Value: knownSince(value, now),
		}}
	case int(l.Percent) < reached && l.Number.Exact:
		return []Event{{Field: field, Was: was, Value: knownSince(value, now)}}
	}
	return nil
}

// nextOf returns the next instant at which time alone brings an event of an account.
func nextOf(a *account.Account, now time.Time) (next time.Time) {
	all := a.Instants()
	for _, end := range []time.Time{a.ExpiresAt(), a.StopsAt(now)} {
		for _, d := range daysBefore {
			if !end.IsZero() {
				all = append(all, end.Add(-time.Duration(d)*day))
			}
		}
	}
	for _, at := range all {
		if at.After(now) {
			next = earliest(next, at)
		}
	}
	return next
}

// stale returns what is known of accounts that the book no longer has.
func (w *Accounts) stale(known map[string]string) (fields []string) {
	book := w.Book()
	for field := range known {
		if _, corp, ok := strings.Cut(field, ":"); ok && corp != "" && book.Find(corp) == nil {
			fields = append(fields, field)
		}
	}
	return fields
}

// earliest returns the earlier of two instants; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
