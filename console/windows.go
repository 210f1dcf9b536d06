package console

import (
	"net/http"
	"net/url"
)

// windowRow is a window as GET /v1/windows gives it.
type windowRow struct {
	CorpID      string    `json:"corp_id"`
	Channel     string    `json:"channel"`
	Customer    string    `json:"customer"`
	State       string    `json:"state"`
	Last        instant   `json:"last"`
	Closes      instant   `json:"closes"`
	RepliesLeft *int      `json:"replies_left"`
	Sent        []instant `json:"sent"`
	Answered    instant   `json:"answered"`
	Served      instant   `json:"served"`
	Waiting     *bool     `json:"waiting"`
}

// Class is that of the state.
func (w windowRow) Class() string {
	return map[string]string{"open": "active", "full": "grace", "shut": "lapsed", "closed": "lapsed", "broken": "lapsed"}[w.State]
}

type windowsView struct {
	pager
	Windows    []windowRow
	Since      instant `json:"since"`
	Incomplete bool    `json:"incomplete"`
	Index      string  `json:"index"` // waiting: only chats that wait are listed
	Changes    []struct {
		Action, From, Reason string
		At                   instant
	} `json:"changes"` // the last ones by hand
	Missing  string // there is none
	Proof    string // what that proves
	Searched bool
	States   []option
	Filters  []choice
	Notes    []note
	Explain  *explanation // of a reply now, on the page of one window
}

// One is the window of a page that shows one.
func (v windowsView) One() *windowRow {
	if len(v.Windows) == 1 && v.Searched {
		return &v.Windows[0]
	}
	return nil
}

var windowFilters = []string{"corp_id", "channel", "customer", "state"}

func windowsPage(q *request) { showWindows(q, http.StatusOK, q.r.URL.Query()) }

// showWindows lists windows: those of a customer, or of a corp.
func showWindows(q *request, status int, by url.Values, notes ...note) {
	view := windowsView{Searched: by.Get("customer") != "", Filters: q.filters(windowFilters...), States: q.options("state", "window.state.", "", "open", "full", "shut", "closed"), Notes: notes}
	query := url.Values{}
	for _, name := range append(windowFilters, "scan", "cursor") {
		if by.Get(name) != "" {
			query.Set(name, by.Get(name))
		}
	}
	if !view.Searched {
		query.Set("limit", pageSize)
	} else if query.Get("corp_id") == "" {
		query.Set("corp_id", q.onlyAccount())
	}
	if view.Searched {
		query.Set("changes", "1")
	}
	if view.Searched && query.Get("corp_id") == "" {
		view.Missing = q.text("windows.corp")
		q.render(status, "windows", view)
		return
	}
	switch f := q.get("/v1/windows", query, &view); {
	case f == nil:
	case f.Code == "no_window":
		view.Missing, view.Proof = q.text("windows.missing"), q.whatMissingProves(query.Get("corp_id"))
	default:
		q.fail(f)
		return
	}
	if w := view.One(); w != nil && w.State != "broken" {
		view.Explain = q.explainReply(*w)
	}
	q.render(status, "windows", view)
}

// whatMissingProves tells whether a customer of a corp who is not on record may have written.
func (q *request) whatMissingProves(corp string) string {
	var list windowsView
	switch f := q.get("/v1/windows", url.Values{"corp_id": {corp}, "limit": {"1"}}, &list); {
	case f != nil:
		return ""
	case list.Incomplete:
		return q.text("windows.missing.incomplete", "t", q.minute(list.Since.Time))
	}
	return q.text("windows.missing.complete")
}

// onlyAccount returns the corp id of the account, "" if there are several: ids of customers belong
// to a corp.
func (q *request) onlyAccount() string {
	var list struct{ Accounts []account }
	if f := q.get("/v1/accounts", url.Values{"limit": {"2"}}, &list); f != nil || len(list.Accounts) != 1 {
		return ""
	}
	return list.Accounts[0].CorpID
}

// explainReply asks how a reply into a window would be judged now.
func (q *request) explainReply(w windowRow) *explanation {
	var out explanation
	body, err := jsonText(map[string]any{"touser": w.Customer, "open_kfid": w.Channel, "msgtype": "text", "text": map[string]string{"content": "…"}})
	if err != nil {
		return nil
	}
	f := q.ask(http.MethodPost, "/v1/explain", nil, map[string]string{"corp_id": w.CorpID, "path": "/cgi-bin/kf/send_msg", "body": body, "language": q.code}, &out)
	if f != nil {
		return nil
	}
	return &out
}

// changeWindow opens or closes a window: action is open or close.
func changeWindow(action string) func(*request) {
	return func(q *request) {
		form := url.Values{}
		for _, name := range []string{"corp_id", "channel", "customer"} {
			form.Set(name, q.r.PostFormValue(name))
		}
		refuse := func(f *failure) {
			showWindows(q, f.Status, form, note{"bad", "urgent", q.failed(f), ""})
		}
		reason := q.r.PostFormValue("reason")
		if reason == "" {
			refuse(&failure{http.StatusBadRequest, "no_reason", q.text("window.reason.missing")})
			return
		}
		if f := q.mayChange(); f != nil {
			refuse(f)
			return
		}
		var out struct{}
		if f := q.ask(http.MethodPost, "/v1/windows/"+action, nil, map[string]string{
			"corp_id": form.Get("corp_id"), "channel": form.Get("channel"), "customer": form.Get("customer"), "reason": reason,
		}, &out); f != nil {
			refuse(f)
			return
		}
		showWindows(q, http.StatusOK, form, note{Icon: "ok", Text: q.text("window.done." + action)})
	}
}
