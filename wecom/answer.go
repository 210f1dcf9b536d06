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

// The errcodes that the gateway reads or answers with. Those of WeCom are from DOC 90313 and from
// DOC 94677 (kf); the others have six digits and begin with 990, followed by the HTTP status.
const (
	CodeOK            = 0
	CodeBusy          = -1     // system busy: SDKs retry
	CodeRateLimited   = 45009  // too many calls within a minute, hour or day
	CodeParameter     = 40058  // bad parameter
	CodeNoToken       = 41001  // access_token missing
	CodeTokenExpired  = 42001  // access_token expired: SDKs fetch a new one
	CodeFrequency     = 45009  // too many calls of this API by this corp (DOC 90454)
	CodeConcurrency   = 45033  // too many calls of this API by this corp at the same time
	CodeNoPermission  = 48002  // API forbidden
	CodeReplyCount    = 95001  // five messages were sent since the customer's last one
	CodeReplyWindow   = 95002  // the customer's last message is over 48 h old
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

// lenient are the options for answers of the platform. A page must not be lost because of one
// invalid character in a customer's text. maskControls replaces control characters before, which no
// option allows.
var lenient = json.JoinOptions(
	jsontext.AllowInvalidUTF8(true),
	jsontext.AllowDuplicateNames(true),
)

// ErrUnreadable reports an answer in another format than the platform documents.
var ErrUnreadable = errors.New("the answer is not readable JSON")

// ReadAnswer decodes the JSON object of an answer into v, as leniently as clients do. Use a
// jsontext.Value for members that WeCom sends sometimes as numbers and sometimes as strings. Any
// failure is ErrUnreadable.
func ReadAnswer(answer []byte, v any) error {
	o, _, err := object(answer)
	if err != nil || json.Unmarshal(o, v, lenient) != nil {
		return ErrUnreadable
	}
	return nil
}

// ReadErrcode returns the errcode of an answer. An answer without one is a success: a few old calls
// omit it. An answer that is not a JSON object is ErrUnreadable.
func ReadErrcode(body []byte) (int, error) {
	if bytes.HasPrefix(body, success) && body[len(body)-1] == '}' { // the common case
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

// errcode parses an errcode; absent and null are CodeOK.
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

// number parses a number, also one in quotes, with a fraction or with an exponent.
func number(v jsontext.Value) (float64, bool) {
	s := string(v)
	if v.Kind() == '"' {
		s = strings.TrimSpace(text(v))
	}
	if strings.Trim(s, "+-.0123456789eE") != "" { // ParseFloat also accepts hex, Inf and NaN
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// integer parses a whole number below 2^53.
func integer(v jsontext.Value) (int64, bool) {
	f, ok := number(v)
	return int64(f), ok && f == math.Trunc(f) && math.Abs(f) < 1<<53
}

// seconds parses a time in unix seconds, from 1 to 2^33.
func seconds(v jsontext.Value) (time.Time, bool) {
	f, ok := number(v)
	if !ok || f < 1 || f >= 1<<33 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// text returns the unescaped text of a string, "" for any other value.
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
