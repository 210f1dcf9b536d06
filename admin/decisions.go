package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"replygate/record"
	"replygate/replay"
)

// FoundDecision is the answer of GET /v1/decisions/ID.
type FoundDecision struct {
	Decision    json.RawMessage `json:"decision"`            // the record, as in the log
	Source      string          `json:"source"`              // memory, or the file that has it
	Explanation *Explanation    `json:"explain,omitempty"`   // of the same call by the rules in force
	Undecided   string          `json:"undecided,omitempty"` // instead: what the record lacks
}

// decision finds the record of a decision by its id.
func (a *Admin) decision(w http.ResponseWriter, r *http.Request) {
	chinese, ok := a.chinese(w, r.URL.Query().Get("language"))
	if !ok {
		return
	}
	id := strings.ToLower(r.PathValue("id")) // as ids are in records
	at, isID := record.IDTime(id)
	if !isID {
		fail(w, http.StatusBadRequest, "bad_id", "a decision's id has 16 hexadecimal digits, like 1a21fee66cf4c3e1")
		return
	}
	line, source, err := a.Gateway.Decision(r.Context(), id, at)
	switch {
	case errors.Is(err, record.ErrTooMuch):
		fail(w, http.StatusServiceUnavailable, "too_much_to_read", "the log has too many records of that time: search its files for the id")
	case err != nil:
		fail(w, http.StatusInternalServerError, "unreadable_log", "the log cannot be read: "+err.Error())
	case line == nil:
		fail(w, http.StatusNotFound, "no_decision", notFound(at, a.Now(), a.Gateway.Gate().Config.Log.Decisions))
	default:
		found := FoundDecision{Decision: line, Source: source}
		if e, err := replay.Explain(a.Gateway.Gate(), line, chinese); err != nil {
			found.Undecided = err.Error()
		} else {
			out := ExplanationOf(e, chinese)
			found.Explanation = &out
		}
		reply(w, http.StatusOK, found)
	}
}

// notFound tells where a record was looked for in vain.
func notFound(at, now time.Time, log string) string {
	if at.Year() < 2026 || at.After(now.Add(time.Hour)) {
		return "this id does not begin with a time, as those of an earlier build: search the log for it"
	}
	if log == "stdout" {
		return "no decision of this id is among the newest of this gateway, and log.decisions is stdout: search where standard output goes, or ask another gateway"
	}
	return "no decision of this id is among the newest of this gateway, nor in the files of " + log + " about " + stamp(at) + ": ask another gateway"
}
