package admin

import (
	"encoding/csv"
	"io"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"replygate/account"
	"replygate/calls"
	"replygate/config"
	"replygate/rehearsal"
)

const (
	// RehearsalDays is within how many days the calls of a rehearsal came, today included.
	RehearsalDays = 7
	// maxRehearsalDays bounds that: calls are counted by weeks, and five of these are kept.
	maxRehearsalDays = 28

	// soon is how far ahead an account must stop to be rehearsed without being named.
	soon = 30 * 24 * time.Hour
)

// RehearsalList is the answer of GET /v1/rehearsal without corp_id.
type RehearsalList struct {
	Accounts []rehearsal.Report `json:"accounts"`
	// Unattributed is that of each of them.
	Unattributed []rehearsal.Row `json:"unattributed,omitempty"`
	Language     string          `json:"language,omitempty"` // of the texts: en or zh
	ListEnd
}

// RehearsalRow is one line of a rehearsal as CSV.
type RehearsalRow struct {
	CorpID       string `json:"corp_id"`
	Account      string `json:"account"`
	At           string `json:"at"`
	Standing     string `json:"standing"`
	Capability   string `json:"capability"`
	Meaning      string `json:"meaning"`
	Client       string `json:"client"`
	Calls        int64  `json:"calls"`
	Verdict      string `json:"verdict"`
	Rule         string `json:"rule"`
	Refused      int64  `json:"refused"`
	InsideWindow *int64 `json:"inside_window"`
	Advice       string `json:"advice"`
}

// RehearsalRows returns the lines of a rehearsal as CSV.
func RehearsalRows(r rehearsal.Report) []RehearsalRow {
	rows := make([]RehearsalRow, len(r.By))
	for i, by := range r.By {
		rows[i] = RehearsalRow{
			CorpID: r.CorpID, Account: r.Account, At: r.At, Standing: r.Standing, Capability: string(by.Capability), Meaning: by.Meaning, Client: by.Client,
			Calls: by.Calls, Verdict: string(by.Verdict), Rule: by.Rule, Refused: by.Refused, InsideWindow: by.InsideWindow, Advice: by.Advice,
		}
	}
	return rows
}

// WriteCSV writes rows as the API's lists do with format=csv.
func WriteCSV[T any](w io.Writer, rows []T) error {
	out, fields := csv.NewWriter(w), columns(reflect.TypeFor[T]())
	_ = out.Write(head(fields))
	for _, row := range rows {
		_ = out.Write(cells(fields, row))
	}
	out.Flush()
	return out.Error()
}

// rehearsalQuery is the query of GET /v1/rehearsal.
type rehearsalQuery struct {
	listQuery
	on      time.Time // zero: each account's own stop
	days    int
	chinese bool
}

func (a *Admin) readRehearsal(r *http.Request) (q rehearsalQuery, err error) {
	q.listQuery, err = a.readQuery(r, listing{sorts: []string{"stops"}, filters: []string{"corp_id", "at", "history", "language"}})
	if err != nil {
		return q, err
	}
	if text := q.Get("at"); text != "" {
		if q.on, err = rehearsal.ReadAt(text); err != nil {
			return q, badQueryf("at: %s", err)
		}
	}
	q.days = RehearsalDays
	if text := q.Get("history"); text != "" {
		if q.days, err = strconv.Atoi(text); err != nil || q.days < 1 || q.days > maxRehearsalDays {
			return q, badQueryf("history must be 1 to %d (days)", maxRehearsalDays)
		}
	}
	switch language := q.Get("language"); language {
	case "":
		q.chinese = a.Gateway.Gate().Engine.Chinese()
	case config.English, config.Chinese:
		q.chinese = language == config.Chinese
	default:
		return q, badQueryf("language must be en or zh")
	}
	return q, nil
}

// rehearsal tells what would stop: for one account, or for those that stop within 30 days; with at,
// for all accounts at that instant.
func (a *Admin) rehearsal(w http.ResponseWriter, r *http.Request) {
	q, err := a.readRehearsal(r)
	if err != nil {
		failQuery(w, err)
		return
	}
	g := a.Gateway.Gate()
	accounts := g.Accounts.All()
	corp := q.Get("corp_id")
	if corp != "" {
		one := g.Accounts.Find(corp)
		if one == nil {
			fail(w, http.StatusNotFound, "no_account", "the configuration has no account with this corp_id")
			return
		}
		accounts = []*account.Account{one}
	} else if q.on.IsZero() {
		accounts = stoppingSoon(accounts, q.at)
	}
	cut, next := accounts, ""
	if corp == "" {
		cut, next = page(q.listQuery, accounts, placeByLapse)
	}
	of := a.rehearse(r, rehearsal.New(g, a.Now(), q.chinese), q, cut)
	if q.csv {
		export(a, w, "rehearsal", rowsOf(of))
		return
	}
	list := RehearsalList{Accounts: []rehearsal.Report{}, Language: language(q.chinese), ListEnd: ListEnd{Total: new(len(accounts)), Next: next, AsOf: stamp(a.Now())}}
	for report, err := range of {
		if err != nil {
			storeAway(w, err)
			return
		}
		list.Unattributed = report.Unattributed
		if corp == "" {
			report.Unattributed = nil
		}
		list.Accounts = append(list.Accounts, report)
	}
	switch {
	case corp != "":
		reply(w, http.StatusOK, list.Accounts[0])
	case !unchanged(w, r, list.Accounts, list.Unattributed, len(accounts)):
		reply(w, http.StatusOK, list)
	}
}

// placeByLapse orders accounts by when they lapse; those that never do are last.
func placeByLapse(a *account.Account) position {
	at := a.LapsesAt()
	if at.IsZero() {
		return position{Group: 1, ID: a.CorpID}
	}
	return position{Number: float64(at.UnixMilli()), ID: a.CorpID}
}

// stoppingSoon returns the accounts that stop within 30 days. One that will be below the free
// allowance does not stop.
func stoppingSoon(all []*account.Account, now time.Time) (some []*account.Account) {
	for _, a := range all {
		if at := a.StopsAt(now); at.After(now) && !at.After(now.Add(soon)) {
			some = append(some, a)
		}
	}
	return some
}

// atOnce is how many accounts are read at once.
const atOnce = 200

// rehearse yields the reports of accounts.
func (a *Admin) rehearse(r *http.Request, by *rehearsal.Rehearser, q rehearsalQuery, accounts []*account.Account) iter.Seq2[rehearsal.Report, error] {
	return func(yield func(rehearsal.Report, error) bool) {
		for part := range slices.Chunk(accounts, atOnce) {
			corps := []string{calls.Unknown}
			for _, acc := range part {
				corps = append(corps, acc.CorpID)
			}
			lines, err := a.Calls.Read(r.Context(), q.days, corps...)
			if err != nil {
				yield(rehearsal.Report{}, err)
				return
			}
			for _, acc := range part {
				at := q.on
				if at.IsZero() {
					at = by.StopsAt(acc)
				}
				report := by.Account(acc, at, q.days, lines[acc.CorpID])
				report.Unattributed = by.Unattributed(lines[calls.Unknown])
				if !yield(report, nil) {
					return
				}
			}
		}
	}
}

// rowsOf yields the lines of reports, a page for each report.
func rowsOf(reports iter.Seq2[rehearsal.Report, error]) iter.Seq2[[]RehearsalRow, error] {
	return func(yield func([]RehearsalRow, error) bool) {
		for report, err := range reports {
			if !yield(RehearsalRows(report), err) || err != nil {
				return
			}
		}
	}
}
