package wecom

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Paths of the calls that answer a customer. Messages on events are greetings and answer nobody.
const (
	PathSendMsg    = "/cgi-bin/kf/send_msg"
	PathSendLegacy = "/cgi-bin/kf/send" // names the customer in receiver.id, and no channel
)

// AnswersCustomer returns the path by which a call answers a customer if WeCom takes it, "" if it
// does not.
func AnswersCustomer(r Route) string { return r.MayMean(PathSendMsg, PathSendLegacy) }

// ReadRecipient returns whom a call to one of these paths answers, from the beginning of its body.
// ok is false if that does not name the customer, and the channel where there is one, or names
// several. It is no judgement: WeCom has taken the call.
func ReadRecipient(path string, body []byte) (channel, customer string, ok bool) {
	dec := jsontext.NewDecoder(bytes.NewReader(maskControls(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))), lenient)
	if dec.PeekKind() != '{' {
		return "", "", false
	}
	several := false
	put := func(to *string, v jsontext.Value) {
		if got := id(v); *to == "" {
			*to = got
		} else if got != *to {
			several = true
		}
	}
	// An error is the end of what is there: what was read until then counts.
	_ = readMembers(dec, func(name string) error {
		if path == PathSendLegacy && name == "receiver" && dec.PeekKind() == '{' {
			return readMembers(dec, func(name string) error {
				v, err := dec.ReadValue()
				if err == nil && name == "id" {
					put(&customer, v)
				}
				return err
			})
		}
		v, err := dec.ReadValue()
		switch {
		case err != nil:
		case path == PathSendMsg && name == "touser":
			put(&customer, v)
		case path == PathSendMsg && name == "open_kfid":
			put(&channel, v)
		}
		return err
	})
	return channel, customer, !several && customer != "" && (channel != "" || path == PathSendLegacy)
}

// ReadMessageID returns the msgid in WeCom's answer to a reply, and whether WeCom took the reply.
func ReadMessageID(answer []byte) (id string, taken bool) {
	if id, usual := bytes.CutPrefix(answer, replyTaken); usual && bytes.HasSuffix(id, []byte(`"}`)) {
		if id = id[:len(id)-2]; isPlainToken(string(id)) && !bytes.ContainsAny(id, `"\\`) {
			return string(id), true
		}
	}
	var a struct {
		Errcode jsontext.Value `json:"errcode"`
		ID      jsontext.Value `json:"msgid"`
	}
	if ReadAnswer(answer, &a) != nil {
		return "", false
	}
	code, err := errcode(a.Errcode)
	return text(a.ID), err == nil && code == CodeOK
}

// replyTaken is how an answer of WeCom to a reply begins (DOC 94677).
var replyTaken = []byte(`{"errcode":0,"errmsg":"ok","msgid":"`)
