package admin

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"replygate/gate"
	"replygate/wecom"
)

// ExplainCall is the body of POST /v1/explain: one API call of a corp.
type ExplainCall struct {
	CorpID      string    `json:"corp_id"`
	Method      string    `json:"method,omitempty"` // for people: the gateway judges by the path
	Path        string    `json:"path"`
	Query       string    `json:"query,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Body        string    `json:"body,omitempty"`
	Client      string    `json:"client,omitempty"`
	At          time.Time `json:"at,omitzero"`        // default: now
	Language    string    `json:"language,omitempty"` // en or zh; default: policy.language
}

// Call is the call as the gate takes it.
func (c ExplainCall) Call() gate.Call {
	path, query, _ := strings.Cut(c.Path, "?")
	if c.Query != "" {
		query = c.Query
	}
	return gate.Call{
		Corp: c.CorpID, Client: c.Client, Path: []byte(path), Query: []byte(query), ContentType: c.ContentType,
		Body: []byte(c.Body), At: c.At,
	}
}

// Explanation is the answer of POST /v1/explain.
type Explanation struct {
	Verdict      string          `json:"verdict"`
	Rule         string          `json:"rule"`
	Reason       string          `json:"reason"`
	Judged       bool            `json:"judged"`    // false: the call passes unread
	Forwarded    bool            `json:"forwarded"` // it goes on to WeCom
	Capability   string          `json:"capability"`
	Errcode      int             `json:"errcode"` // of the answer, where it does not go on
	Errmsg       string          `json:"errmsg,omitempty"`
	ChangesAt    string          `json:"changes_at,omitempty"` // if nobody writes or replies until then; absent: never
	WindowCloses string          `json:"window_closes,omitempty"`
	RepliesLeft  *int            `json:"replies_left,omitempty"` // after this one
	Shadow       *ShadowDecision `json:"shadow,omitempty"`
	Rules        []TriedRule     `json:"rules"`
	Facts        []ReadFact      `json:"facts"`
}

// ShadowDecision is what a call would come to if what is in shadow were obeyed.
type ShadowDecision struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
}

// TriedRule is what one rule made of a call.
type TriedRule struct {
	Name    string `json:"name"`
	Matched bool   `json:"matched"`
	Why     string `json:"why"`
}

// ReadFact is one thing that was read, and where.
type ReadFact struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Source string `json:"source"`
}

// ExplanationOf is an explanation as the API shows it.
func ExplanationOf(e gate.Explanation) Explanation {
	d := e.Decision
	out := Explanation{
		Verdict: d.Verdict.String(), Rule: d.Rule, Reason: string(d.Reason), Judged: e.Judged, Forwarded: d.Go, Capability: string(d.Capability),
		ChangesAt: stampOrNot(e.ChangesAt), WindowCloses: stampOrNot(d.Closes), Rules: []TriedRule{}, Facts: []ReadFact{},
	}
	if !d.Go {
		out.Errcode, out.Errmsg = d.Errcode, d.Errmsg
	}
	if d.Left >= 0 && d.Capability == wecom.KfReply {
		out.RepliesLeft = &d.Left
	}
	if would := e.Shadow; would != nil {
		out.Shadow = &ShadowDecision{would.Verdict.String(), would.Rule, string(would.Reason)}
	}
	for _, r := range e.Rules {
		out.Rules = append(out.Rules, TriedRule(r))
	}
	for _, f := range e.Facts {
		out.Facts = append(out.Facts, ReadFact(f))
	}
	return out
}

func stampOrNot(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

// explain tells what becomes of one call, and why. It changes nothing.
func (a *Admin) explain(w http.ResponseWriter, r *http.Request) {
	var in ExplainCall
	if !read(w, r, &in) {
		return
	}
	g := a.Gateway.Gate()
	chinese := g.Engine.Chinese()
	switch {
	case in.CorpID == "" || in.Path == "" || in.Path[0] != '/':
		fail(w, http.StatusBadRequest, "bad_call", "give corp_id, and path as it stands in the request, like /cgi-bin/kf/send_msg")
		return
	case in.Language != "" && in.Language != "en" && in.Language != "zh":
		fail(w, http.StatusBadRequest, "bad_language", "language must be en or zh")
		return
	case in.Language != "":
		chinese = in.Language == "zh"
	}
	if in.At.IsZero() {
		in.At = a.Now()
	}
	reply(w, http.StatusOK, ExplanationOf(g.Explain(r.Context(), in.Call(), a.Windows, chinese)))
}

// preflight tells what would become of up to 1,000 calls, in the order asked. It changes nothing.
func (a *Admin) preflight(w http.ResponseWriter, r *http.Request) {
	var in struct {
		CorpID string     `json:"corp_id"`
		Client string     `json:"client"`
		Calls  []gate.Ask `json:"calls"`
	}
	if !read(w, r, &in) {
		return
	}
	err := gate.CheckAsks(in.Calls)
	if in.CorpID == "" {
		err = errors.New("give corp_id")
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_call", err.Error())
		return
	}
	reply(w, http.StatusOK, map[string]any{"results": a.Gateway.Gate().Preflight(r.Context(), in.CorpID, in.Client, a.Now(), in.Calls, a.Windows)})
}
