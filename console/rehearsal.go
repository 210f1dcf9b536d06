package console

import (
	"net/http"
	"net/url"
)

// rehearsal is what would be refused of an account's calls, as GET /v1/rehearsal gives it.
type rehearsal struct {
	CorpID   string         `json:"corp_id"`
	Account  string         `json:"account"`
	At       instant        `json:"at"`
	Standing string         `json:"standing"`
	RuleSet  string         `json:"ruleset"`
	Calls    int            `json:"calls"`
	Days     int            `json:"days"`
	Refused  int            `json:"refused"`
	By       []rehearsalRow `json:"by"`
	Sentence string         `json:"sentence"`
	Shadow   bool           `json:"shadow"`
	Untold   int            `json:"untold"`
	Others   []rehearsalRow `json:"unattributed"` // calls whose account is not known
}

// Title is the name of the account, or its id.
func (r rehearsal) Title() string {
	if r.Account != "" {
		return r.Account
	}
	return r.CorpID
}

type rehearsalRow struct {
	Capability   string `json:"capability"`
	Meaning      string `json:"meaning"`
	Client       string `json:"client"`
	Calls        int    `json:"calls"`
	Verdict      string `json:"verdict"`
	Rule         string `json:"rule"`
	Refused      int    `json:"refused"`
	InsideWindow *int   `json:"inside_window"`
	Unobserved   int    `json:"unobserved"`
	Advice       string `json:"advice"`
}

// Class is that of the verdict.
func (r rehearsalRow) Class() string {
	return map[string]string{"pass": "active", "refuse": "lapsed", "reply": "grace", "unsure": "grace"}[r.Verdict]
}

type rehearsalView struct {
	pager
	Accounts []rehearsal
	Others   rehearsal `json:"-"` // the calls whose account is not known
	CorpID   string
	At       string

	Unattributed []rehearsalRow
}

func rehearsalPage(q *request) {
	v := q.r.URL.Query()
	view := rehearsalView{CorpID: v.Get("corp_id"), At: v.Get("at")}
	query := url.Values{"language": {q.code}}
	for _, name := range []string{"corp_id", "at", "cursor"} {
		if value := v.Get(name); value != "" {
			query.Set(name, value)
		}
	}
	var f *failure
	if view.CorpID != "" { // the answer is that account alone
		view.Accounts = make([]rehearsal, 1)
		f = q.get("/v1/rehearsal", query, &view.Accounts[0])
		view.Unattributed = view.Accounts[0].Others
	} else {
		f = q.get("/v1/rehearsal", query, &view)
	}
	view.Others.By = view.Unattributed
	if f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "rehearsal", view)
}
