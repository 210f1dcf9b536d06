package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/replay"
	"replygate/wecom"
)

// ExplainCall is the body of POST /v1/explain: one API call of a corp.
type ExplainCall struct {
	CorpID      string    `json:"corp_id"`
	Method      string    `json:"method,omitempty"` // informational: the gateway judges by the path
	Path        string    `json:"path"`
	Query       string    `json:"query,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Body        string    `json:"body,omitempty"`
	Client      string    `json:"client,omitempty"`
	At          time.Time `json:"at,omitzero"`        // default: now
	Language    string    `json:"language,omitempty"` // en or zh; default: policy.language

	// Record is a line of the log whose call is explained, instead of one made of the other fields.
	Record json.RawMessage `json:"record,omitempty"`
}

// Call converts c for the gate.
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
	Language     string          `json:"language"` // of the texts: en or zh
	Verdict      string          `json:"verdict"`
	Rule         string          `json:"rule"`
	Reason       string          `json:"reason"`
	Judged       bool            `json:"judged"`    // false: the call passes without being read
	Forwarded    bool            `json:"forwarded"` // the call is sent to WeCom
	Capability   string          `json:"capability"`
	Errcode      int             `json:"errcode"` // of the refusal; 0 if the call is forwarded
	Errmsg       string          `json:"errmsg,omitempty"`
	ChangesAt    string          `json:"changes_at,omitempty"` // if nobody writes or replies; absent: never
	WindowCloses string          `json:"window_closes,omitempty"`
	RepliesLeft  *int            `json:"replies_left,omitempty"` // after this one
	Shadow       *ShadowDecision `json:"shadow,omitempty"`
	Rules        []TriedRule     `json:"rules"`
	Facts        []ReadFact      `json:"facts"`
}

// ShadowDecision is the decision that would apply if rules in shadow were enforced.
type ShadowDecision struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
}

// TriedRule is one rule with the reason why it matched or not.
type TriedRule struct {
	Name    string `json:"name"`
	Tried   bool   `json:"tried"` // false if a rule before it decided
	Matched bool   `json:"matched"`
	Why     string `json:"why"`
}

// ReadFact is one input of the decision and where it was read.
type ReadFact struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Source string `json:"source"`
}

// ExplanationOf converts an explanation of the gate to its JSON form.
func ExplanationOf(e gate.Explanation, chinese bool) Explanation {
	d := e.Decision
	out := Explanation{
		Language: language(chinese), Verdict: d.Verdict.String(), Rule: d.Rule, Reason: string(d.Reason), Judged: e.Judged, Forwarded: d.Go, Capability: string(d.Capability),
		ChangesAt: Stamp(e.ChangesAt), WindowCloses: Stamp(d.Closes), Rules: []TriedRule{}, Facts: []ReadFact{},
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

// explain answers how one call would be decided now, and why. It changes no state.
func (a *Admin) explain(w http.ResponseWriter, r *http.Request) {
	var in ExplainCall
	if !read(w, r, &in) {
		return
	}
	chinese, ok := a.chinese(w, in.Language)
	if !ok {
		return
	}
	g := a.Gateway.Gate()
	if in.Record != nil {
		e, err := replay.Explain(g, in.Record, chinese)
		if err != nil {
			fail(w, http.StatusUnprocessableEntity, "undecided", "the call of this record cannot be judged once more: "+err.Error())
			return
		}
		reply(w, http.StatusOK, ExplanationOf(e, chinese))
		return
	}
	if in.CorpID == "" || in.Path == "" || in.Path[0] != '/' {
		fail(w, http.StatusBadRequest, "bad_call", "give corp_id, and path as it is in the request, like /cgi-bin/kf/send_msg")
		return
	}
	if in.At.IsZero() {
		in.At = a.Now()
	}
	reply(w, http.StatusOK, ExplanationOf(g.Explain(r.Context(), in.Call(), a.Windows, chinese), chinese))
}

// chinese reports whether a request wants Chinese texts: as it says, else by policy.language. If it
// says something else it answers the request and returns ok false.
func (a *Admin) chinese(w http.ResponseWriter, wanted string) (chinese, ok bool) {
	switch wanted {
	case "":
		return a.Gateway.Gate().Engine.Chinese(), true
	case config.English, config.Chinese:
		return wanted == config.Chinese, true
	}
	fail(w, http.StatusBadRequest, "bad_language", "language must be en or zh")
	return false, false
}

// language names the language of texts.
func language(chinese bool) string {
	if chinese {
		return config.Chinese
	}
	return config.English
}

// preflight answers how up to 1,000 calls would be decided, in the order of the request. It changes
// no state.
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
