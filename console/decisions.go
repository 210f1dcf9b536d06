package console

import (
	"net/http"
	"net/url"
	"strings"
)

// decision is a decision's record, as in the log.
type decision struct {
	ID           string   `json:"id"`
	At           instant  `json:"at"`
	CorpID       string   `json:"corp_id"`
	Account      string   `json:"account"`
	Standing     string   `json:"standing"`
	Endpoint     string   `json:"endpoint"`
	Capability   string   `json:"capability"`
	Verdict      string   `json:"verdict"`
	Reason       string   `json:"reason"`
	Rule         string   `json:"rule"`
	Client       string   `json:"client"`
	MsgType      string   `json:"msgtype"`
	Channel      string   `json:"channel"`
	Customers    []string `json:"customers"`
	Forwarded    bool     `json:"forwarded"`
	Errcode      int      `json:"errcode"`
	Errmsg       string   `json:"errmsg"`
	WindowCloses instant  `json:"window_closes"`
	RepliesLeft  *int     `json:"replies_left"`
	Shadow       *struct {
		Verdict, Rule, Reason string
	} `json:"shadow"`
	Gateway string `json:"gateway"`
}

// Title is the name of the account, or its id.
func (d decision) Title() string {
	if d.Account != "" {
		return d.Account
	}
	return d.CorpID
}

// Class is that of the verdict.
func (d decision) Class() string { return verdictClass(d.Verdict) }

func verdictClass(verdict string) string {
	return map[string]string{"pass": "active", "refuse": "lapsed", "unsure": "grace", "error": "lapsed"}[verdict]
}

// explanation is how a call is judged.
type explanation struct {
	Verdict   string  `json:"verdict"`
	Rule      string  `json:"rule"`
	Reason    string  `json:"reason"`
	Errcode   int     `json:"errcode"`
	Errmsg    string  `json:"errmsg"`
	ChangesAt instant `json:"changes_at"`
	Rules     []struct {
		Name    string
		Tried   bool
		Matched bool
		Why     string
	} `json:"rules"`
	Facts []struct {
		Name   string
		Value  any
		Source string
	} `json:"facts"`
}

// Class is that of the verdict.
func (e explanation) Class() string { return verdictClass(e.Verdict) }

type decisionsView struct {
	pager
	Decisions []decision
	Since     instant `json:"since"`
	InMemory  bool    `json:"memory_only"` // there are no files with older ones
	Facets    map[string][]facet
	Verdicts  []option
	Filters   []choice
}

// facet is a value that many decisions have.
type facet struct {
	Value string
	Count int
}

var decisionFilters = []string{"corp_id", "verdict", "reason", "endpoint", "capability", "rule", "client", "shadow", "from", "to"}

func decisionsPage(q *request) {
	view := decisionsView{Verdicts: q.options("verdict", "verdict.", "", "refuse", "unsure", "pass"), Filters: q.filters(decisionFilters...)}
	if id := strings.TrimSpace(q.r.URL.Query().Get("id")); decisionID.MatchString(id) {
		redirect(q.w, "decisions/"+strings.ToLower(id))
		return
	}
	if f := q.get("/v1/decisions", q.listQuery(decisionFilters...), &view); f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "decisions", view)
}

// decisionView is the page of one decision.
type decisionView struct {
	ID        string
	Missing   string // there is none
	InMemory  bool   // there are no files with older ones
	Decision  decision
	Gateway   string
	Source    string
	Explain   *explanation
	Undecided string // why the call cannot be judged once more
	Now       *explanation
	Partial   []missing
}

func decisionPage(q *request) {
	view := decisionView{ID: q.r.PathValue("id")}
	f := q.get("/v1/decisions/"+url.PathEscape(view.ID), url.Values{"language": {q.code}}, &view)
	switch {
	case f == nil:
		if view.Explain != nil && view.Explain.Verdict == "" { // it is undecided
			view.Explain = nil
		}
		q.render(http.StatusOK, "decision", view)
	case f.Code == "no_decision":
		view.Missing, view.InMemory = q.whereLooked(view.ID)
		q.render(f.Status, "decision", view)
	default:
		q.fail(f)
	}
}

// whereLooked tells that a decision is not on record, and where it was looked for; inMemory: the
// gateway keeps the newest ones only.
func (q *request) whereLooked(id string) (text string, inMemory bool) {
	var health healthList
	var newest decisionsView
	_, _ = q.get("/v1/health", nil, &health), q.get("/v1/decisions", url.Values{"limit": {"1"}}, &newest) // both are 0 then
	n := 0
	for _, g := range health.Gateways {
		if !g.Seen.IsZero() {
			n++
		}
	}
	if newest.Since.IsZero() {
		return q.text("decision.missing.nowhere", "id", id), newest.InMemory
	}
	return q.text("decision.missing", "id", id, "n", max(n, 1), "t", q.minute(newest.Since.Time)), newest.InMemory
}
