package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"replygate/config"
	"replygate/gate"
	"replygate/wecom"
)

// CallbackCheck says what of a callback fits one of the configured callback URLs.
type CallbackCheck struct {
	Path  string          `json:"path"`
	Fits  bool            `json:"fits"`
	Cause wecom.Cause     `json:"cause,omitempty"` // what the gateway would log
	Parts []CallbackMatch `json:"parts"`
}

// CallbackMatch is what one part of a callback says.
type CallbackMatch struct {
	Part  string `json:"part"` // token, key, receive_id, age or message
	Match Match  `json:"match"`
	Says  string `json:"says"`
}

// Match tells whether a part fits.
type Match string

// The values of Match.
const (
	Fits      Match = "fits"
	Differs   Match = "differs"
	CannotSay Match = "unknown" // because the message cannot be decrypted
)

// CheckCallback compares a callback with every callback URL of a configuration, in their order, for
// an operator who looks for a mistake. It says no token, no key, and nothing that a customer wrote.
func CheckCallback(g *gate.Gate, sealed wecom.Sealed, now time.Time) ([]CallbackCheck, error) {
	x := callbackChecker{gate: g, callbacks: g.Config.Callbacks, sealed: sealed, now: now}
	for _, cb := range x.callbacks {
		crypt, err := wecom.NewCrypt(cb.Token.Reveal(), cb.EncodingAESKey.Reveal())
		if err != nil {
			return nil, fmt.Errorf("callback %s: %w", cb.Path, err)
		}
		x.fits = append(x.fits, sealed.Fit(crypt, cb.ReceiveIDs, now))
	}
	all := make([]CallbackCheck, len(x.callbacks))
	for i := range all {
		all[i] = x.check(i)
	}
	return all, nil
}

// callbackChecker has a callback, and how it fits each of the configured ones.
type callbackChecker struct {
	gate      *gate.Gate
	callbacks []config.Callback
	fits      []wecom.Fit
	sealed    wecom.Sealed
	now       time.Time
}

// check compares with the callback URL i.
func (x callbackChecker) check(i int) CallbackCheck {
	f := x.fits[i]
	out := CallbackCheck{Path: x.callbacks[i].Path, Cause: f.Cause()}
	message, cause := x.message(f)
	if out.Cause == "" {
		out.Cause = cause
	}
	out.Fits = out.Cause == ""
	out.Parts = []CallbackMatch{
		{"token", matchOf(f.Token), x.token(i)},
		{"key", matchOf(f.Key), x.key(i)},
		{"receive_id", whereKnown(f, f.ReceiveID), x.receiveID(i)},
		{"age", matchOf(f.Age), x.age()},
		{"message", whereKnown(f, cause == ""), message},
	}
	return out
}

func matchOf(fits bool) Match {
	if fits {
		return Fits
	}
	return Differs
}

// whereKnown is matchOf for what only a decrypted message tells.
func whereKnown(f wecom.Fit, fits bool) Match {
	if !f.Key {
		return CannotSay
	}
	return matchOf(fits)
}

func (x callbackChecker) token(i int) string {
	f := x.fits[i]
	others := x.others(i, func(f wecom.Fit) bool { return f.Token })
	switch {
	case f.Token:
		return "the signature is by this token"
	case others != "":
		return "the signature is by the token of " + others + ": the callback was meant for that path, or the two tokens are mixed up"
	case f.Key:
		return "the signature is by no configured token, but the key fits: copy the token from WeCom's console again"
	}
	return "the signature is by no configured token: copy the token from WeCom's console again, unless the callback is a forgery, or its query was changed on the way"
}

func (x callbackChecker) key(i int) string {
	f := x.fits[i]
	others := x.others(i, func(f wecom.Fit) bool { return f.Key })
	switch {
	case f.Key:
		return "this key decrypts it"
	case others != "":
		return "it is encrypted with the key of " + others + ": the callback was meant for that path, or the two keys are mixed up"
	case f.Token:
		return "no configured key decrypts it, but the token fits: copy the EncodingAESKey from WeCom's console again"
	}
	return "no configured key decrypts it"
}

func (x callbackChecker) receiveID(i int) string {
	f := x.fits[i]
	if !f.Key {
		return "known once it can be decrypted"
	}
	is := "it is for " + x.corp(f.Receiver)
	if f.Receiver == "" {
		is += ", as a robot's is"
	}
	if f.ReceiveID {
		return is
	}
	for j, cb := range x.callbacks {
		for _, id := range cb.ReceiveIDs {
			if j != i && id == f.Receiver {
				return fmt.Sprintf("%s, which %s lists: set that path in WeCom's console, or add the id to receive_ids of %s", is, cb.Path, x.callbacks[i].Path)
			}
		}
	}
	if f.Receiver == "" {
		return fmt.Sprintf(`%s, which no receive_ids lists: add "" to those of %s if this is a robot`, is, x.callbacks[i].Path)
	}
	return fmt.Sprintf("%s, which no receive_ids lists: add it to those of %s if this is the corp, suite or provider that you expect", is, x.callbacks[i].Path)
}

func (x callbackChecker) age() string {
	off, ok := x.sealed.Off(x.now)
	if !ok {
		return "the timestamp is not a time in Unix seconds: WeCom does not send that, so the query was changed on the way"
	}
	is := off.Abs().Round(time.Second).String() + " in the past"
	if off > 0 {
		is = off.Round(time.Second).String() + " in the future"
	}
	switch {
	case off.Abs() < time.Second:
		return "sent within the last second"
	case off.Abs() <= wecom.CallbackSkew:
		return is
	case off > 0:
		return is + ": the clock of this machine is slow, or --at is too early"
	}
	return is + ": if it came just now, the clock of this machine is fast; if it is from a log, give --at and the time at which it came"
}

// message says what the gateway reads in a decrypted message, and what of it does not fit.
func (x callbackChecker) message(f wecom.Fit) (string, wecom.Cause) {
	if !f.Key {
		return "known once it can be decrypted", ""
	}
	if x.sealed.Echo == x.sealed.Encrypt {
		return "the text by which WeCom verifies the URL", ""
	}
	event, err := wecom.ReadCallback(f.Message)
	if err != nil {
		return "it is not a message as WeCom documents them", wecom.CauseMalformed
	}
	_, cause := classify(x.gate, f.Receiver, event, x.now)
	switch {
	case cause != "":
		return fmt.Sprintf("it reports on %s, but is for %s, which may report on itself alone", x.corp(event.Corp), x.corp(f.Receiver)), cause
	case event.Corp == "":
		return "it names no company", ""
	case x.gate.Accounts.Find(event.Corp) == nil:
		return fmt.Sprintf("it reports on %s, which is not in accounts: nothing of it is recorded", x.corp(event.Corp)), ""
	}
	return "it reports on " + x.corp(event.Corp), ""
}

// others names the other callback URLs that a part fits.
func (x callbackChecker) others(i int, fits func(wecom.Fit) bool) string {
	var paths []string
	for j, f := range x.fits {
		if j != i && fits(f) {
			paths = append(paths, x.callbacks[j].Path)
		}
	}
	return strings.Join(paths, ", ")
}

// corp is an id, with the name of its account if it has one. Another one is quoted, since it is
// what the sender wrote.
func (x callbackChecker) corp(id string) string {
	switch a := x.gate.Accounts.Find(id); {
	case a == nil:
		return strconv.Quote(id[:min(len(id), wecom.MaxID)])
	case a.Name == "":
		return id
	default:
		return fmt.Sprintf("%s (account %s)", id, a.Name)
	}
}
