package wecom

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Codes of WeCom that the gateway gives or reads (DOC 90313, and the kf pages).
const (
	CodeOK            = 0
	CodeBusy          = -1     // system busy: SDKs try again
	CodeParameter     = 40058  // bad parameter
	CodeNoToken       = 41001  // access_token missing
	CodeTokenExpired  = 42001  // access_token expired: SDKs fetch a new one
	CodeNoPermission  = 48002  // API forbidden
	CodeReplyCount    = 95001  // more than five messages since the customer's own
	CodeReplyWindow   = 95002  // more than 48 h since the customer's own message
	CodeSessionEnded  = 95013  // the session has ended
	CodeSessionState  = 95018  // the session's state forbids it, or more than 48 h
	CodeAmbiguous     = 990400 // the gateway's own, with HTTP 400
	CodeTooLarge      = 990413 // the gateway's own, with HTTP 413
	CodeTargetTooLong = 990414 // the gateway's own, with HTTP 414
	CodeServerFault   = 990500 // the gateway's own, with HTTP 500
	CodeUnreachable   = 990502 // the gateway's own, with HTTP 502
	CodeNoPath        = 990404 // the gateway's own, with HTTP 404 and 405
	CodeForged        = 990403 // the gateway's own, with HTTP 403
	CodeStoreAway     = 990503 // the gateway's own, with HTTP 503
	CodeNoAnswer      = 990504 // the gateway's own, with HTTP 504
	CodeHeadTooLarge  = 990431 // the gateway's own, with HTTP 431
	CodeClientTimeout = 990408 // the gateway's own, with HTTP 408
)

// lenient reads the platform's own answers: it is WeCom that wrote them, and what matters of a page
// must not be lost because of one odd character in a customer's text. Control characters, which it
// cannot allow, are neutralised before.
var lenient = json.JoinOptions(
	jsontext.AllowInvalidUTF8(true),
	jsontext.AllowDuplicateNames(true),
)

// ErrUnreadable says that an answer is not what the platform documents.
var ErrUnreadable = errors.New("the answer is not readable JSON")

// ReadAnswer reads the JSON object that an answer is into v, as leniently as clients do. Where
// WeCom may write a number as a string, or the other way round, v has a jsontext.Value.
func ReadAnswer(answer []byte, v any) error {
	o, _, err := object(answer)
	if err != nil || json.Unmarshal(o, v, lenient) != nil {
		return ErrUnreadable
	}
	return nil
}

// ReadErrcode returns the errcode of an answer. An answer without one is a success, as those of a
// few old calls are; one that is no JSON object is ErrUnreadable.
func ReadErrcode(body []byte) (int, error) {
	if bytes.HasPrefix(body, success) && body[len(body)-1] == '}' { // as nearly every answer begins
		return CodeOK, nil
	}
	var a struct {
		Errcode jsontext.Value `json:"errcode"`
	}
	if ReadAnswer(body, &a) != nil {
		return 0, ErrUnreadable
	}
	return errcode(a.Errcode)
}

var success = []byte(`{"errcode":0,`)

// errcode reads the errcode of an answer.
func errcode(v jsontext.Value) (int, error) {
	if len(v) == 0 || v.Kind() == 'n' {
		return CodeOK, nil
	}
	n, ok := integer(v)
	if !ok {
		return 0, ErrUnreadable
	}
	return int(n), nil
}

// number reads a number, also one in quotes, with a fraction or with an exponent.
func number(v jsontext.Value) (float64, bool) {
	s := string(v)
	if v.Kind() == '"' {
		s = strings.TrimSpace(text(v))
	}
	if strings.Trim(s, "+-.0123456789eE") != "" { // what else ParseFloat takes
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// integer reads a whole number.
func integer(v jsontext.Value) (int64, bool) {
	f, ok := number(v)
	return int64(f), ok && f == math.Trunc(f) && math.Abs(f) < 1<<53
}

// seconds reads an instant that is given in unix seconds.
func seconds(v jsontext.Value) (time.Time, bool) {
	f, ok := number(v)
	if !ok || f < 1 || f >= 1<<33 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// text reads a string, "" for any other value.
func text(v jsontext.Value) string {
	if v.Kind() != '"' {
		return ""
	}
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}
