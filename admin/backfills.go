package admin

import (
	"context"
	"iter"
	"net/http"
	"strings"

	"replygate/backfill"
	"replygate/config"
)

// BackfillList is the answer of GET /v1/backfills without corp_id.
type BackfillList struct {
	Backfills []backfill.Status `json:"backfills"`
	ListEnd
}

// BackfillRow is an account's line of the list as CSV.
type BackfillRow struct {
	CorpID     string `json:"corp_id"`
	State      string `json:"state"`
	Complete   int    `json:"channels_complete"`
	Channels   int    `json:"channels_seen"`
	Messages   int    `json:"messages"`
	Unreadable int    `json:"unreadable"`
	LastCall   string `json:"last_call"`
	Refused    int    `json:"secrets_refused"`
	Error      string `json:"error"` // of the first secret that has one
}

// backfills shows how far the gateways have completed the records by themselves: of one corp, or of
// all accounts with secrets for that.
func (a *Admin) backfills(w http.ResponseWriter, r *http.Request) {
	q, err := a.readQuery(r, listing{sorts: []string{byName}, filters: []string{"corp_id"}})
	if err != nil {
		failQuery(w, err)
		return
	}
	if corp := q.Get("corp_id"); corp != "" && !q.csv {
		a.backfillOf(w, r, corp)
		return
	}
	accounts := a.withKfSecrets(q.Get("corp_id"))
	cut, next := page(q, accounts, func(acc config.Account) position {
		return position{Text: strings.ToLower(acc.Name), ID: acc.CorpID}
	})
	all := a.statuses(r.Context(), cut)
	if q.csv {
		export(a, w, "backfills", backfillRows(all))
		return
	}
	list := BackfillList{Backfills: []backfill.Status{}, ListEnd: ListEnd{Total: new(len(accounts)), Next: next, AsOf: stamp(a.Now())}}
	for s, err := range all {
		if err != nil {
			storeAway(w, err)
			return
		}
		list.Backfills = append(list.Backfills, s)
	}
	if !unchanged(w, r, list.Backfills, list.Total) {
		reply(w, http.StatusOK, list)
	}
}

// backfillOf shows one corp.
func (a *Admin) backfillOf(w http.ResponseWriter, r *http.Request, corp string) {
	if a.Gateway.Gate().Accounts.Find(corp) == nil {
		fail(w, http.StatusNotFound, "no_account", "the configuration has no account with this corp_id")
		return
	}
	s, configured, err := a.Gateway.Replays(r.Context(), corp)
	switch {
	case err != nil:
		storeAway(w, err)
	case !configured:
		fail(w, http.StatusNotFound, "no_secret", "the account has no secrets.kf_file, so the gateway does not complete its records by itself")
	default:
		reply(w, http.StatusOK, s)
	}
}

// withKfSecrets returns the accounts whose records the gateways complete, or the one of a corp.
func (a *Admin) withKfSecrets(corp string) (all []config.Account) {
	for _, acc := range a.Gateway.Gate().Config.Accounts {
		if len(acc.Secrets.Kf) > 0 && (corp == "" || acc.CorpID == corp) {
			all = append(all, acc)
		}
	}
	return all
}

// statuses yields how far the accounts have come.
func (a *Admin) statuses(ctx context.Context, accounts []config.Account) iter.Seq2[backfill.Status, error] {
	return func(yield func(backfill.Status, error) bool) {
		for _, acc := range accounts {
			s, configured, err := a.Gateway.Replays(ctx, acc.CorpID)
			if (configured || err != nil) && !yield(s, err) { // else a reload has just removed its secrets
				return
			}
		}
	}
}

// backfillRows yields a page for each status: each is read by itself.
func backfillRows(all iter.Seq2[backfill.Status, error]) iter.Seq2[[]BackfillRow, error] {
	return func(yield func([]BackfillRow, error) bool) {
		for s, err := range all {
			row := BackfillRow{
				CorpID: s.CorpID, State: s.State, Complete: s.Complete, Channels: s.Channels, Messages: s.Messages, Unreadable: s.Unreadable,
			}
			if !s.LastCall.IsZero() {
				row.LastCall = stamp(s.LastCall)
			}
			for _, one := range s.Secrets {
				if one.Error == "" {
					continue
				}
				if row.Refused++; row.Error == "" {
					row.Error = one.Error
				}
			}
			if !yield([]BackfillRow{row}, err) {
				return
			}
		}
	}
}
