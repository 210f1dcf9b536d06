package contacts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Reason is why an account has no current count.
type Reason string

// The reasons.
const (
	NoSecret    Reason = "no_secret"   // the gateway has no secret to count with, and no bot walked contact_list to its end
	Pending     Reason = "pending"     // the gateway has not counted yet
	Stale       Reason = "stale"       // the count is older than three times meter.every
	Refused     Reason = "refused"     // WeCom refused a call
	Limited     Reason = "limited"     // WeCom's limit of calls was reached
	Unreachable Reason = "unreachable" // WeCom did not answer
	Unreadable  Reason = "unreadable"  // an answer is not as WeCom documents it
	Incomplete  Reason = "incomplete"  // no pass came to its end
	Interrupted Reason = "interrupted" // the gateway stopped, or another one took over
)

// Failure is an attempt to count that gave no count. The zero Failure is none.
type Failure struct {
	Reason  Reason
	Errcode int // of Refused and Limited
	At      time.Time
}

func (f Failure) Error() string { return f.Why() + ": " + f.Remedy() }

// Why says what went wrong.
func (f Failure) Why() string {
	switch f.Reason {
	case NoSecret:
		return "the gateway has no secret to count the contacts with, and no bot has read contact_list to its end through the gateway"
	case Pending:
		return "the contacts are not counted yet"
	case Stale:
		return "the count is older than three times meter.every"
	case Refused:
		return fmt.Sprintf("WeCom refuses contact_list or its token (errcode %d)", f.Errcode)
	case Limited:
		return fmt.Sprintf("WeCom limits the calls of contact_list (errcode %d)", f.Errcode)
	case Unreachable:
		return "WeCom did not answer contact_list"
	case Unreadable:
		return "an answer of contact_list could not be read"
	case Interrupted:
		return "the count was interrupted, because the gateway stopped or another one took over"
	}
	return "no pass over contact_list came to its end"
}

// remedies say what to do about errcodes of gettoken and contact_list (DOC 90313, 99434).
var remedies = map[int]string{
	40001: "put the secret of an app of this corp into secrets.contact: WeCom does not know the one given",
	40013: "correct accounts[].corp_id: WeCom does not know it",
	41002: "correct accounts[].corp_id: WeCom does not know it",
	42009: notThisApp,
	48002: notThisApp,
	48001: notThisApp,
	60011: notThisApp,
	84074: notThisApp,
	48006: "open the app in WeCom once: an app that nobody uses loses its rights",
	60020: "add the address of the gateway, or of upstream.proxy, to the trusted IPs of the app in WeCom's console",
	43009: "have the corp verified in WeCom's console",
}

const notThisApp = "in WeCom's console add the app to those that may call the customer contact API, and put its secret into secrets.contact; provider-built and third-party apps cannot call contact_list"

// Remedy says what to do.
func (f Failure) Remedy() string {
	switch f.Reason {
	case NoSecret:
		return "give the account secrets.contact_file, or contacts.total with contacts.counted_at, or let a bot read contact_list to its end with a token that it fetched through the gateway"
	case Pending:
		return "wait, or count now: replygate contacts count --corp CORP"
	case Stale:
		return "see why it is not counted anew, or count now: replygate contacts count --corp CORP"
	case Refused:
		if text := remedies[f.Errcode]; text != "" {
			return text
		}
		return "look the errcode up in WeCom's documentation; until it is solved, give contacts.total with contacts.counted_at"
	case Limited:
		return "the gateway tries again by itself; have bots call contact_list less often"
	case Unreachable:
		return "check upstream.url and the network; the gateway tries again by itself"
	case Unreadable:
		return "compare WeCom's answer with its documentation; until then give contacts.total with contacts.counted_at"
	}
	return "the gateway tries again by itself"
}

// encode writes the reason and errcode for Redis, like "refused 48002".
func (f Failure) encode() string { return fmt.Sprintf("%s %d", f.Reason, f.Errcode) }

// parseFailure reads what encode wrote, with the time in unix ms.
func parseFailure(text, at string) Failure {
	reason, code, _ := strings.Cut(text, " ")
	errcode, err1 := strconv.Atoi(code)
	ms, err2 := strconv.ParseInt(at, 10, 64)
	if reason == "" || errors.Join(err1, err2) != nil {
		return Failure{}
	}
	return Failure{Reason: Reason(reason), Errcode: errcode, At: time.UnixMilli(ms)}
}
