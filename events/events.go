// Package events keeps one log of what an operator should hear of in time: chats that close
// unanswered, accounts that stop, gaps in the records. The log is in Redis, shared by all gateways,
// and readers follow it by position.
//
// It does not judge calls, and no event has the text of a message.
package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The types of events.
const (
	WindowClosing      = "window.closing"
	ClosedUnanswered   = "window.closed_unanswered"
	AccountExpiresSoon = "account.expires_soon"
	AccountStopsSoon   = "account.stops_soon"
	StandingChanged    = "account.standing_changed"
	ContactsThreshold  = "contacts.threshold"
	ContactsMoved      = "contacts.moved"
	ChannelBypassed    = "channel.bypassed"
	RecordsGap         = "records.gap"
	RecordsComplete    = "records.complete"
	StoreDown          = "store.down"
	StoreUp            = "store.up"
	ClockSkew          = "clock.skew"
	ConfigReloaded     = "config.reloaded"
	ConfigRejected     = "config.rejected"
	ShadowDigest       = "rule.shadow_digest"
	DecisionRefused    = "decision.refused" // only for those who name it
	WebhookDisabled    = "webhook.disabled"
	Test               = "test" // sent on request, never logged
)

// Types returns all types of events.
func Types() []string {
	return []string{
		WindowClosing, ClosedUnanswered, AccountExpiresSoon, AccountStopsSoon, StandingChanged, ContactsThreshold, ContactsMoved, ChannelBypassed,
		RecordsGap, RecordsComplete, StoreDown, StoreUp, ClockSkew, ConfigReloaded, ConfigRejected, ShadowDigest,
		DecisionRefused, WebhookDisabled, Test,
	}
}

// Patterns returns what can select events: all, the families, and the types.
func Patterns() []string {
	all := []string{"*"}
	for _, name := range Types() {
		family, _, dotted := strings.Cut(name, ".")
		if pattern := family + ".*"; dotted && !slices.Contains(all, pattern) {
			all = append(all, pattern)
		}
	}
	return append(all, Types()...)
}

// Event is something that happened, before it is in the log.
type Event struct {
	Type string
	At   time.Time // when it happened
	Corp string    // whom it concerns; "": every account
	// Key is what makes the event one of its own besides its type. The id is made of both, so the same
	// fact has the same id, whichever gateway finds it.
	Key  []string
	Data any

	// Field and Value are set for a fact that lasts, like a standing: the event is logged only if what
	// is known in Field is still Was, and then Value is known. An event without a type only makes
	// Value known.
	Field, Was, Value string
}

// maxEvent bounds the JSON of an event.
const maxEvent = 20 << 10

// ID returns the id of the event.
func (e *Event) ID() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{e.Type}, e.Key...), "\x00")))
	return "evt_" + hex.EncodeToString(sum[:12])
}

// envelope is the JSON of an event, after Standard Webhooks 1.0.0.
type envelope struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	ID        string `json:"id"`
	Data      any    `json:"data"`
}

// Encode returns the JSON of the event.
func (e *Event) Encode() ([]byte, error) {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false) // people read it too
	if err := to.Encode(envelope{e.Type, Stamp(e.At), e.ID(), e.Data}); err != nil {
		return nil, err
	}
	if text.Len() > maxEvent {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", e.Type, text.Len(), maxEvent)
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

// Stamp formats a time as RFC 3339 in UTC, to the millisecond; "" if it is zero.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// Filter selects events.
type Filter struct {
	Types []string // full types, or a family like window.*; nil: all but decision.refused
	Corps []string // nil: all; events that concern every account always match
}

// Matches reports whether the filter selects an entry of the log.
func (f *Filter) Matches(e *Entry) bool {
	if f.Corps != nil && e.Corp != "" && !slices.Contains(f.Corps, e.Corp) {
		return false
	}
	if f.Types == nil {
		return e.Type != DecisionRefused
	}
	return slices.ContainsFunc(f.Types, func(pattern string) bool { return ofType(pattern, e.Type) })
}

func ofType(pattern, name string) bool {
	family, all := strings.CutSuffix(pattern, "*")
	return pattern == name || all && strings.HasPrefix(name, family) && (family != "" || name != DecisionRefused)
}

// CheckType returns an error if a pattern selects no type of event.
func CheckType(pattern string) error {
	family, all := strings.CutSuffix(pattern, "*")
	if all && family != "" && !strings.HasSuffix(family, ".") || !slices.ContainsFunc(Types(), func(name string) bool { return ofType(pattern, name) }) {
		return fmt.Errorf("there is no type of events %.40q: write one like %s, or a family like window.*", pattern, WindowClosing)
	}
	return nil
}
