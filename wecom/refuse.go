package wecom

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Refusal is an answer of the gateway itself in WeCom's shape (DOC 90455): HTTP 200 and a JSON body with
// errcode and errmsg, which SDKs read; and a member of our own with the why, for programs.
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
	dst = member(dst, `,"errmsg":`, r.Errmsg)
	dst = append(dst, `,"replygate":{`...)
	dst = member(dst, `"verdict":`, r.Verdict)
	dst = member(dst, `,"rule":`, r.Rule)
	dst = member(dst, `,"reason":`, r.Reason)
	dst = member(dst, `,"decision_id":`, r.DecisionID)
	return append(dst, '}', '}')
}

// member appends a JSON string behind its name. Invalid UTF-8 becomes U+FFFD.
func member(dst []byte, name, value string) []byte {
	dst, _ = jsontext.AppendQuote(append(dst, name...), value) // the error only tells of the U+FFFD
	return dst
}
