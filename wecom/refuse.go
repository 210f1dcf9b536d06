package wecom

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Refusal is an answer of the gateway itself in WeCom's shape (DOC 90455): HTTP 200 and a JSON body
// with errcode and errmsg, which SDKs read; and a member of our own with the why, for programs.
type Refusal struct {
	Errcode    int
	Errmsg     string // a sentence: what, why, what to do
	Verdict    string
	Rule       string
	Reason     string
	DecisionID string
}

// AppendJSON appends the body of the answer to dst.
func (r Refusal) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"errcode":`...)
	dst = strconv.AppendInt(dst, int64(r.Errcode), 10)
	dst = AppendMember(dst, `,"errmsg":`, r.Errmsg)
	dst = append(dst, `,"replygate":{`...)
	dst = AppendMember(dst, `"verdict":`, r.Verdict)
	dst = AppendMember(dst, `,"rule":`, r.Rule)
	dst = AppendMember(dst, `,"reason":`, r.Reason)
	dst = AppendMember(dst, `,"decision_id":`, r.DecisionID)
	return append(dst, '}', '}')
}

// AppendMember appends a JSON string behind its name, which ends in a colon. Invalid UTF-8 becomes
// U+FFFD.
func AppendMember(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	if needsNoEscape(value) {
		return append(append(append(dst, '"'), value...), '"')
	}
	dst, _ = jsontext.AppendQuote(dst, value) // the error only tells of the U+FFFD
	return dst
}

// needsNoEscape tells whether a JSON string needs no escapes, as with nearly all that the gateway
// writes.
func needsNoEscape(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
