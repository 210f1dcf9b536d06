package console

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// rule is a rule as GET /v1/rules gives it.
type rule struct {
	Name        string  `json:"name"`
	From        string  `json:"from"`
	At          string  `json:"at"`
	Mode        string  `json:"mode"`
	Action      string  `json:"action"`
	Holds       bool    `json:"holds"`
	Begins      instant `json:"begins"`
	Ends        instant `json:"ends"`
	Matched     int     `json:"matched"`
	Decided     int     `json:"decided"`
	Differs     int     `json:"differs"`
	WouldRefuse int     `json:"would_refuse"`
	WouldPass   int     `json:"would_pass"`
	Last        instant `json:"last"`
	HiddenBy    string  `json:"hidden_by"`
	Examples    []string
	Shadow      *struct {
		CorpID   []facet `json:"corp_id"`
		Endpoint []facet `json:"endpoint"`
	} `json:"shadow"`
}

type rulesView struct {
	Since   instant `json:"since"`
	Ruleset string  `json:"ruleset"`
	Mode    string  `json:"mode"`
	Next    *struct {
		Ruleset string
		From    instant
	} `json:"next_ruleset"`
	Rules     []rule
	AsOf      instant `json:"as_of"`
	Partial   []missing
	Candidate string // what was pasted
	Problem   string // why there is no result
}

// replay is what a candidate would have decided over past decisions.
type replay struct {
	ID        string         `json:"id"`
	State     string         `json:"state"` // running, done or failed
	Error     string         `json:"error"`
	From      instant        `json:"from"`
	More      bool           `json:"more"` // earlier records were left unread
	Records   int            `json:"records"`
	Same      int            `json:"same"`
	Refused   int            `json:"newly_refused"`
	Unsure    int            `json:"newly_unsure"`
	Passed    int            `json:"newly_passed"`
	Undecided int            `json:"undecided"`
	Why       map[string]int `json:"undecided_why"`
	By        []struct {
		CorpID     string `json:"corp_id"`
		Account    string `json:"account"`
		Rule       string `json:"rule"`
		Capability string `json:"capability"`
		Hour       string `json:"hour"` // UTC
		Refused    int    `json:"newly_refused"`
		Passed     int    `json:"newly_passed"`
	} `json:"by"`
}

func rulesPage(q *request) { showRules(q, http.StatusOK, rulesView{}) }

func showRules(q *request, status int, view rulesView) {
	if f := q.get("/v1/rules", nil, &view); f != nil {
		q.fail(f)
		return
	}
	q.render(status, "rules", view)
}

// replayCandidate replays past decisions by a candidate configuration, and waits a little for the
// result. It puts nothing in force.
func replayCandidate(q *request) {
	var view rulesView
	var begun struct{ ID string }
	var f *failure
	if view.Candidate, f = q.candidate(); f == nil {
		f = q.ask(http.MethodPost, "/v1/replays", nil, map[string]string{"candidate": view.Candidate}, &begun)
	}
	if f != nil {
		view.Problem = q.failed(f)
		showRules(q, f.Status, view)
		return
	}
	redirect(q.w, "../replays/"+url.PathEscape(begun.ID))
}

// candidate is the configuration that a person has pasted, or the file that they have chosen.
func (q *request) candidate() (string, *failure) {
	if err := q.r.ParseMultipartForm(maxForm); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return "", &failure{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("send at most %d bytes", maxForm)}
	}
	pasted := q.r.PostFormValue("candidate")
	file, _, err := q.r.FormFile("file")
	if err != nil {
		return pasted, nil
	}
	defer file.Close()
	data, err := io.ReadAll(file) // the body has a bound
	if err != nil || len(data) == 0 {
		return pasted, nil
	}
	return string(data), nil
}

// replayPage shows the result of a replay; the page refreshes while it runs.
func replayPage(q *request) {
	var out replay
	if f := q.get("/v1/replays/"+url.PathEscape(q.r.PathValue("id")), nil, &out); f != nil {
		q.fail(f)
		return
	}
	q.render(http.StatusOK, "replay", out)
}

// Left is how long until the next rule set applies.
func (v rulesView) Left(now time.Time) time.Duration {
	if v.Next == nil {
		return 0
	}
	return v.Next.From.Sub(now)
}
