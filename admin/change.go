package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"replygate/wecom"
	"replygate/window"
)

// Report is one customer's message in the body of POST /v1/inbound.
type Report struct {
	CorpID   string    `json:"corp_id"`
	Channel  string    `json:"channel"`
	Customer string    `json:"customer"`
	At       time.Time `json:"at"`
}

// inbound records messages from sources other than kf/sync_msg: the session archive, another
// gateway, an operator. It answers once they are stored.
func (a *Admin) inbound(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Inbound []Report `json:"inbound"`
	}
	if !read(w, r, &in) {
		return
	}
	if n := len(in.Inbound); n == 0 || n > maxReports {
		fail(w, http.StatusBadRequest, "bad_count", fmt.Sprintf(`send {"inbound":[…]} with 1 to %d messages`, maxReports))
		return
	}
	facts := make([]window.Fact, 0, len(in.Inbound))
	for i, m := range in.Inbound {
		k, ok := a.key(w, fmt.Sprintf("inbound[%d]: ", i), m.CorpID, m.Channel, m.Customer)
		if !ok {
			return
		}
		if m.At.IsZero() {
			fail(w, http.StatusBadRequest, "bad_time", fmt.Sprintf("inbound[%d]: at is missing; write an instant with its zone; nothing was recorded", i))
			return
		}
		facts = append(facts, window.Fact{Key: k, At: m.At})
	}
	tally, err := a.Windows.Record(r.Context(), facts)
	if err != nil {
		w.Header().Set("Retry-After", "2")
		fail(w, http.StatusServiceUnavailable, "store_unavailable", "Redis did not take the messages; send them again")
		return
	}
	a.Gateway.CountReported(tally)
	a.audit(r, "inbound reported", zap.Int("recorded", tally.Recorded), zap.Int("expired", tally.Expired), zap.Int("ahead", tally.Ahead))
	reply(w, http.StatusOK, map[string]int{"recorded": tally.Recorded, "expired": tally.Expired, "ahead": tally.Ahead})
}

// WindowChange is the body of POST /v1/windows/open and /v1/windows/close.
type WindowChange struct {
	CorpID   string `json:"corp_id"`
	Channel  string `json:"channel"`
	Customer string `json:"customer"`
	Reason   string `json:"reason"` // for the audit record
}

// openWindow opens a window as if the customer had written now.
func (a *Admin) openWindow(w http.ResponseWriter, r *http.Request) {
	a.changeWindow(w, r, "open", "window opened", func(k window.Key) error {
		_, err := a.Windows.Record(r.Context(), []window.Fact{{Key: k, At: a.Now()}})
		return err
	})
}

// closeWindow closes a window until the customer writes again.
func (a *Admin) closeWindow(w http.ResponseWriter, r *http.Request) {
	a.changeWindow(w, r, "close", "window closed", func(k window.Key) error {
		_, err := a.Windows.Close(r.Context(), k)
		return err
	})
}

// maxReason bounds the reason of a change, in characters.
const maxReason = 500

// changeWindow applies a change to one window, writes an audit record, and answers with the new
// state of the window.
func (a *Admin) changeWindow(w http.ResponseWriter, r *http.Request, action, what string, change func(window.Key) error) {
	var in WindowChange
	if !read(w, r, &in) {
		return
	}
	k, ok := a.key(w, "", in.CorpID, in.Channel, in.Customer)
	if !ok {
		return
	}
	if utf8.RuneCountInString(in.Reason) > maxReason {
		fail(w, http.StatusBadRequest, "bad_reason", fmt.Sprintf("reason must have at most %d characters; nothing was changed", maxReason))
		return
	}
	if err := change(k); err != nil {
		storeAway(w, err)
		return
	}
	a.audit(r, what, zap.String("corp_id", k.Corp), zap.String("channel", k.Channel), zap.String("customer", k.Customer), zap.String("reason", in.Reason))
	a.changes.add(k, ChangedWindow{Channel: k.Channel, Action: action, At: stamp(a.Now()), From: r.RemoteAddr, Reason: in.Reason})
	a.window(w, r, k)
}

// ChangedWindow is the last change of a window by POST /v1/windows/open or close.
type ChangedWindow struct {
	Channel string `json:"channel"`
	Action  string `json:"action"` // open or close
	At      string `json:"at"`
	From    string `json:"from"` // the caller's address
	Reason  string `json:"reason"`
}

// windowChanges are the newest changes of windows that this gateway made since it started; the
// audit records have all.
type windowChanges struct {
	mu    sync.Mutex
	of    map[window.Key]ChangedWindow
	order []window.Key // the oldest first
}

// maxChanges bounds what is remembered.
const maxChanges = 1000

func (c *windowChanges) add(k window.Key, change ChangedWindow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[window.Key]ChangedWindow{}
	}
	c.order = append(slices.DeleteFunc(c.order, func(other window.Key) bool { return other == k }), k)
	c.of[k] = change
	if len(c.order) > maxChanges {
		delete(c.of, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
}

// last returns the last change of a window, nil if none is known.
func (c *windowChanges) last(k window.Key) *ChangedWindow {
	c.mu.Lock()
	defer c.mu.Unlock()
	if change, found := c.of[k]; found {
		return &change
	}
	return nil
}

// Backfill is the body and the answer of POST /v1/backfill. Without Began the answer has the time
// by the gateway's clock, to be sent back as Began when the backfill is complete.
type Backfill struct {
	CorpID   string    `json:"corp_id"`
	Began    time.Time `json:"began,omitzero"`
	Channels []string  `json:"channels,omitempty"` // request: read to their end; answer: now complete
	Missed   []string  `json:"missed,omitempty"`   // answer: had losses during the backfill
	Unseen   []string  `json:"unseen,omitempty"`   // answer: known channels that are not among those read, and incomplete
}

// maxChannels is the maximum number of channels in one backfill.
const maxChannels = 10_000

// backfill records that a backfill that began at the given time is complete: every message that
// kf/sync_msg offers for its channels has passed through the gateway.
func (a *Admin) backfill(w http.ResponseWriter, r *http.Request) {
	var in Backfill
	if !read(w, r, &in) {
		return
	}
	if _, ok := a.key(w, "", in.CorpID, "", "-"); !ok {
		return
	}
	if in.Began.IsZero() {
		a.Windows.BeginBackfill()
		reply(w, http.StatusOK, Backfill{CorpID: in.CorpID, Began: a.Now()})
		return
	}
	if spare := window.Backlog - a.Windows.Length; in.Began.After(a.Now()) || a.Now().Sub(in.Began) > spare {
		fail(w, http.StatusBadRequest, "bad_time", fmt.Sprintf("kf/sync_msg reaches back %s, so a backfill must end within %s: begin again", window.Backlog, max(spare, 0)))
		return
	}
	if n := len(in.Channels); n == 0 || n > maxChannels || slices.ContainsFunc(in.Channels, func(c string) bool { return c == "" || len(c) > wecom.MaxID }) {
		fail(w, http.StatusBadRequest, "bad_channels", fmt.Sprintf("name the 1 to %d channels (open_kfid) that the backfill read to their end", maxChannels))
		return
	}
	missed, err := a.Windows.Backfilled(r.Context(), in.CorpID, in.Channels, in.Began)
	if err == nil {
		in.Unseen, err = a.completeCorp(r.Context(), in)
	}
	switch {
	case err != nil:
		storeAway(w, err)
	case len(missed) == len(in.Channels):
		fail(w, http.StatusConflict, "gap", "messages passed unrecorded while the backfill ran, as the gateway's log says: begin again")
	default:
		in.Channels, in.Missed = slices.DeleteFunc(in.Channels, func(c string) bool { return slices.Contains(missed, c) }), missed
		a.audit(r, "backfilled", zap.String("corp_id", in.CorpID), zap.Time("began", in.Began), zap.Int("channels", len(in.Channels)), zap.Int("missed", len(missed)))
		reply(w, http.StatusOK, in)
	}
}

// completeCorp ends the gap of a whole corp as far as all its known channels are complete. It
// returns those that a backfill did not read, and that are not.
func (a *Admin) completeCorp(ctx context.Context, read Backfill) (unseen []string, err error) {
	known, err := a.Gateway.Channels(ctx, read.CorpID)
	if err != nil {
		return nil, err
	}
	if err := a.Windows.CompleteCorp(ctx, read.CorpID, slices.Concat(known, read.Channels)); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(known, func(c string) bool { return slices.Contains(read.Channels, c) })
	return a.Windows.Incomplete(ctx, read.CorpID, others)
}

// Reloaded is the answer of POST /v1/reload.
type Reloaded struct {
	Config   string   `json:"config"`             // hash of the configuration in force now
	Done     bool     `json:"reloaded"`           // false: the reload is held
	Changed  []string `json:"changed"`            // configuration keys; none if the reload is held
	Warnings []string `json:"warnings,omitempty"` // side effects that the operator may not expect
	Held     *Held    `json:"held,omitempty"`     // why it must be confirmed; the configuration before it stays in force
}

// Held tells why a reload must be confirmed. It is confirmed by a second POST /v1/reload with
// Confirm as If-Match.
type Held struct {
	Reason  string   `json:"reason"` // accounts_removed, standings_change or only_account_ends
	Why     string   `json:"why"`    // in words
	Removed int      `json:"removed"`
	Before  int      `json:"accounts_before"`
	After   int      `json:"accounts_after"`
	Names   []string `json:"names"` // of the first removed accounts
	Confirm string   `json:"confirm"`
	Already bool     `json:"held_already"` // the same was held before this request
}

// heldReload is the answer about a held reload: an error, so that a script notices it, with all
// that is needed to confirm it.
type heldReload struct {
	Failure
	Reloaded
}

// reload reads the configuration again. With If-Match it does so only while the configuration in
// force has that hash, so that two operators do not overwrite each other's change, or confirms a
// held reload.
func (a *Admin) reload(w http.ResponseWriter, r *http.Request) {
	if !isJSON(w, r) {
		return
	}
	done, err := a.Gateway.Reload(strings.Trim(r.Header.Get("If-Match"), `"`))
	switch {
	case errors.Is(err, ErrOtherVersion):
		fail(w, http.StatusPreconditionFailed, "changed", "another configuration is in force: "+done.Config)
		return
	case errors.Is(err, ErrNotHeld):
		fail(w, http.StatusPreconditionFailed, "changed", "the files, or the configuration in force, have changed since the reload was held: reload without If-Match, and see what it would do now")
		return
	case err != nil:
		fail(w, http.StatusUnprocessableEntity, "bad_config", err.Error()+"\nthe previous configuration stays in force")
		return
	}
	if done.Held != nil {
		a.audit(r, "reload held", zap.String("why", done.Held.Why))
		held := heldReload{Reloaded: done}
		held.Error.Code = "held"
		held.Error.Message = done.Held.Why + "\nthe previous configuration stays in force until the accounts are back, or the reload is confirmed: replygate reload --confirm " + done.Held.Confirm + ", or this tag as If-Match"
		w.Header().Set("ETag", `"`+done.Held.Confirm+`"`)
		reply(w, http.StatusConflict, held)
		return
	}
	a.audit(r, "configuration reloaded", zap.Strings("changed", done.Changed))
	_, at := a.Gateway.GateSince()
	a.reloaded.note(at, r.RemoteAddr)
	w.Header().Set("ETag", `"`+done.Config+`"`)
	reply(w, http.StatusOK, done)
}

// key validates the ids of a window. If they are invalid it answers the request, with where in
// front of the message, and returns false.
func (a *Admin) key(w http.ResponseWriter, where, corp, channel, customer string) (window.Key, bool) {
	switch {
	case a.Gateway.Gate().Accounts.Find(corp) == nil:
		fail(w, http.StatusBadRequest, "unknown_corp", where+"corp_id is not in accounts; nothing was recorded")
	case customer == "" || len(customer) > wecom.MaxID || len(channel) > wecom.MaxID:
		fail(w, http.StatusBadRequest, "bad_customer", fmt.Sprintf("%scustomer must have 1 to %d bytes, channel at most as many; nothing was recorded", where, wecom.MaxID))
	default:
		return window.Key{Corp: corp, Channel: channel, Customer: customer}, true
	}
	return window.Key{}, false
}

// audit logs a change with the address of the caller.
func (a *Admin) audit(r *http.Request, what string, fields ...zap.Field) {
	a.Audit.Info(what, append(fields, zap.String("from", r.RemoteAddr))...)
}

// isJSON reports whether the Content-Type is JSON, and answers the request if it is not. Browsers
// do not let a page of another site send this type without a preflight, which the API does not
// answer.
func isJSON(w http.ResponseWriter, r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "not_json", "send Content-Type: application/json")
		return false
	}
	return true
}

// read decodes one JSON object without unknown members. If that fails it answers the request and
// returns false.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if !isJSON(w, r) {
		return false
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	why := ""
	if err != nil {
		why = whyNoJSON(err)
	} else if _, more := dec.Token(); !errors.Is(more, io.EOF) {
		why = "something follows the JSON object"
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("send at most %d bytes", maxBody))
	case why != "":
		fail(w, http.StatusBadRequest, "bad_json", "the body cannot be read: "+why)
	default:
		return true
	}
	return false
}
