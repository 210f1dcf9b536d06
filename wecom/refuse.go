package wecom

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Refusal is an answer of the gateway in WeCom's format (DOC 90455): HTTP 200 and a JSON body with
// errcode and errmsg, which SDKs read. The member "replygate" gives programs the reason.
type Refusal struct {
	Errcode    int
	Errmsg     string // a sentence: what was refused, why, and what to do
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

// AppendMember appends name, raw JSON that ends in a colon or is empty, and value as a JSON string.
// Invalid UTF-8 becomes U+FFFD.
func AppendMember(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	if needsNoEscape(value) {
		return append(append(append(dst, '"'), value...), '"')
	}
	dst, _ = jsontext.AppendQuote(dst, value) // the only error is invalid UTF-8, which is replaced
	return dst
}

// needsNoEscape reports whether s is a JSON string without escapes, the common case.
func needsNoEscape(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
