package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"replygate/record"
	"replygate/replay"
)

// FoundDecision is the answer of GET /v1/decisions/ID.
type FoundDecision struct {
	Decision  json.RawMessage     `json:"decision"` // the record, as in the log
	Gateway   string              `json:"gateway"`  // whose record it is: the address of its admin listener
	Source    string              `json:"source"`   // memory, or the file that has it
	Explain   DecisionExplanation `json:"explain"`  // of the same call by the rules in force
	Undecided string              `json:"undecided,omitempty"`
	Now       *DecisionNow        `json:"now,omitempty"` // the same call judged now; nil: it cannot be
}

// DecisionExplanation explains a past decision from the facts of its record. Undecided: the record
// lacks what the rules in force ask for, as FoundDecision.Undecided says.
type DecisionExplanation struct {
	Explanation
	Undecided bool `json:"undecided"`
}

// DecisionNow is what the call of a record would come to at the moment.
type DecisionNow struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
}

// noResult is why a request has no result: the answer in its stead.
type noResult struct {
	status        int
	code, message string
}

func (p noResult) Error() string { return p.message }

// failWith answers a request that has no result.
func failWith(w http.ResponseWriter, err error) {
	var p noResult
	if !errors.As(err, &p) {
		failQuery(w, err)
		return
	}
	if p.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	fail(w, p.status, p.code, p.message)
}

// decision answers GET /v1/decisions/ID.
func (a *Admin) decision(w http.ResponseWriter, r *http.Request) {
	values, err := checkedValues(r, "language", fromPeer)
	if err != nil {
		failQuery(w, err)
		return
	}
	chinese, ok := a.chinese(w, values.Get("language"))
	if !ok {
		return
	}
	peer, err := isPeer(values)
	if err != nil {
		failQuery(w, err)
		return
	}
	found, err := a.findDecision(r.Context(), r.PathValue("id"), chinese, peer)
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, found)
}

// findDecision finds the record of a decision by its id, of this gateway or of another one.
func (a *Admin) findDecision(ctx context.Context, id string, chinese, peer bool) (found FoundDecision, err error) {
	id = strings.ToLower(id) // as ids are in records
	at, isID := record.IDTime(id)
	if !isID {
		return found, noResult{http.StatusBadRequest, "bad_id", "a decision's id has 16 hexadecimal digits, like 1a21fee66cf4c3e1"}
	}
	line, source, err := a.Gateway.Decision(ctx, id, at)
	if line != nil {
		return a.explained(ctx, line, source, chinese), nil
	}
	var asked []peerAnswer[FoundDecision]
	if !peer {
		asked = askPeers[FoundDecision](ctx, a, "/v1/decisions/"+id, map[string][]string{"language": {language(chinese)}})
	}
	for _, p := range asked {
		if p.err == nil {
			p.value.Gateway = p.gateway
			return p.value, nil
		}
	}
	switch {
	case errors.Is(err, record.ErrTooMuch):
		return found, noResult{http.StatusServiceUnavailable, "too_much_to_read", "the log has too many records of that time: search its files for the id"}
	case err != nil:
		return found, noResult{http.StatusInternalServerError, "unreadable_log", "the log cannot be read: " + err.Error()}
	}
	return found, noResult{http.StatusNotFound, "no_decision", a.notFound(at, len(asked), unanswered(asked))}
}

// explained completes a record of this gateway.
func (a *Admin) explained(ctx context.Context, line []byte, source string, chinese bool) FoundDecision {
	g := a.Gateway.Gate()
	found := FoundDecision{Decision: line, Gateway: a.Gateway.Address(), Source: source}
	e, err := replay.Explain(g, line, chinese)
	if err != nil {
		found.Undecided = err.Error()
		found.Explain = DecisionExplanation{Explanation{Language: language(chinese), Rules: []TriedRule{}, Facts: []ReadFact{}}, true}
		return found
	}
	found.Explain = DecisionExplanation{Explanation: ExplanationOf(e, chinese)}
	ctx, cancel := context.WithTimeout(ctx, nowTimeout)
	defer cancel()
	if d, err := replay.JudgeAt(ctx, g, line, a.Now(), a.Windows); err == nil {
		found.Now = &DecisionNow{d.Verdict.String(), d.Rule, string(d.Reason)}
	}
	return found
}

// nowTimeout bounds how long the same call is judged now. Without Redis it is unsure.
const nowTimeout = 2 * time.Second

// notFound tells where a record was looked for in vain.
func (a *Admin) notFound(at time.Time, asked int, silent []Missing) string {
	if at.Year() < 2026 || at.After(a.Now().Add(time.Hour)) {
		return "this id does not begin with a time, as those of an earlier build: search the log for it"
	}
	where := "no decision of this id is on record: looked on " + gateways(1+asked-len(silent))
	if log := a.Gateway.Gate().Config.Log.Decisions; log == "stdout" {
		where += ", this one among its newest decisions, since log.decisions is stdout: search where standard output goes"
	} else {
		where += ", this one among its newest decisions and in the files of " + log + " about " + stamp(at)
	}
	for _, m := range silent {
		where += "; " + m.Gateway + " did not answer (" + m.Error + ")"
	}
	if len(a.Keys.Peers) == 0 {
		where += "; if there are other gateways, list them in admin.peers"
	}
	return where
}

func gateways(n int) string {
	if n == 1 {
		return "1 gateway"
	}
	return fmt.Sprintf("%d gateways", n)
}
