package wecom

import (
	"bytes"
	"errors"
	"io"
	"strconv"
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

// lenient reads the platform's own answers: it is WeCom that wrote them, and what matters of a page must
// not be lost because of one odd character in a customer's text.
var lenient = json.JoinOptions(
	jsontext.AllowInvalidUTF8(true),
	jsontext.AllowDuplicateNames(true),
)

// ErrUnreadable says that an answer is not what the platform documents.
var ErrUnreadable = errors.New("the answer is not readable JSON")

// ReadErrcode returns the errcode of an answer. An answer without one is a success, as those of a few
// old calls are; one that is no JSON object is ErrUnreadable.
func ReadErrcode(body []byte) (int, error) {
	if bytes.HasPrefix(body, success) && body[len(body)-1] == '}' { // as nearly every answer begins
		return CodeOK, nil
	}
	var a struct {
		Errcode int `json:"errcode"`
	}
	if err := json.Unmarshal(body, &a, lenient); err != nil {
		return 0, ErrUnreadable
	}
	return a.Errcode, nil
}

var success = []byte(`{"errcode":0,`)

// Message is a customer's own message as kf/sync_msg reports it.
type Message struct {
	Channel  string // open_kfid
	Customer string // external_userid
	At       time.Time
}

// Failure is a reply that WeCom had taken and did not deliver.
type Failure struct {
	Channel  string
	Customer string
	Type     int // one of the three below
	At       time.Time
}

// What a msg_send_fail event says of the customer's window (DOC 94670); other types are about the account.
const (
	FailedWindow  = 4  // the session was over 48 h old
	FailedCount   = 6  // more than five messages since the customer's own
	FailedRefused = 10 // the customer refuses messages
)

// Page is what one answer of kf/sync_msg says.
type Page struct {
	Messages []Message // the customers' own, origin 3, in the page's order
	Codes    []Code    // welcome_codes and msg_codes
	Failures []Failure
	Skipped  int // items of origin 3 that lack an id or a time
}

// originCustomer marks an item that the customer wrote (DOC 94670: 3 customer, 4 event, 5 servicer).
const originCustomer = 3

// ReadPage reads an answer of kf/sync_msg (DOC 94670). Events, servicers' messages and items of unknown
// shape are normal and give nothing; an empty page with has_more is too. A page that is no JSON, or
// whose msg_list is no array, is ErrUnreadable: customers' messages may be in it.
//
// It reads as it goes, an item at a time: a page may be tens of megabytes long.
func ReadPage(r io.Reader) (Page, error) {
	dec := jsontext.NewDecoder(r, lenient)
	if dec.PeekKind() != '{' {
		return Page{}, ErrUnreadable
	}
	var page Page
	_, _ = dec.ReadToken()
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return Page{}, ErrUnreadable
		}
		if name.String() != "msg_list" {
			if dec.SkipValue() != nil {
				return Page{}, ErrUnreadable
			}
			continue
		}
		if err := page.readList(dec); err != nil {
			return Page{}, ErrUnreadable
		}
	}
	if _, err := dec.ReadToken(); err != nil { // }
		return Page{}, ErrUnreadable
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return Page{}, ErrUnreadable
	}
	return page, nil
}

func (p *Page) readList(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '[':
	default:
		return ErrUnreadable
	}
	_, _ = dec.ReadToken()
	for dec.PeekKind() != ']' {
		item, err := dec.ReadValue()
		if err != nil {
			return err
		}
		p.add(item)
	}
	_, err := dec.ReadToken()
	return err
}

// add takes one item of msg_list: a message if the customer wrote it, or what an event says.
func (p *Page) add(item jsontext.Value) {
	var it struct {
		Channel  jsontext.Value `json:"open_kfid"`
		Customer jsontext.Value `json:"external_userid"`
		SendTime jsontext.Value `json:"send_time"`
		Origin   jsontext.Value `json:"origin"`
		Event    jsontext.Value `json:"event"`
	}
	if item.Kind() != '{' || json.Unmarshal(item, &it, lenient) != nil {
		return
	}
	origin, _ := integer(it.Origin)
	seconds, ok := integer(it.SendTime)
	ok = ok && seconds > 0
	if it.Event.Kind() == '{' && origin != originCustomer {
		if ok {
			p.addEvent(it.Event, time.Unix(seconds, 0))
		}
		return
	}
	if origin != originCustomer {
		return
	}
	m := Message{Channel: text(it.Channel), Customer: text(it.Customer), At: time.Unix(seconds, 0)}
	if !ok || m.Customer == "" || len(m.Customer) > MaxID || len(m.Channel) > MaxID {
		p.Skipped++
		return
	}
	p.Messages = append(p.Messages, m)
}

// addEvent takes what matters of an event. Its ids stand inside it.
func (p *Page) addEvent(event jsontext.Value, at time.Time) {
	var e struct {
		Type     jsontext.Value `json:"event_type"`
		Channel  jsontext.Value `json:"open_kfid"`
		Customer jsontext.Value `json:"external_userid"`
		Welcome  jsontext.Value `json:"welcome_code"`
		Code     jsontext.Value `json:"msg_code"`
		Change   jsontext.Value `json:"change_type"`
		Fail     jsontext.Value `json:"fail_type"`
	}
	if json.Unmarshal(event, &e, lenient) != nil {
		return
	}
	c := Code{Channel: text(e.Channel), Customer: text(e.Customer), At: at}
	change, _ := integer(e.Change)
	switch kind := text(e.Type); {
	case kind == "enter_session":
		c.Text, c.Kind = text(e.Welcome), EnterSession
	case kind == "session_status_change" && change == 1:
		c.Text, c.Kind = text(e.Code), SessionTaken
	case kind == "session_status_change" && change == 3:
		c.Text, c.Kind = text(e.Code), SessionEnded
	case kind == "msg_send_fail":
		p.addFailure(Failure{Channel: c.Channel, Customer: c.Customer, At: at}, e.Fail)
	}
	if c.good() {
		p.Codes = append(p.Codes, c)
	}
}

func (p *Page) addFailure(f Failure, kind jsontext.Value) {
	n, ok := integer(kind)
	f.Type = int(n)
	if ok && (n == FailedWindow || n == FailedCount || n == FailedRefused) && f.Customer != "" && max(len(f.Customer), len(f.Channel)) <= MaxID {
		p.Failures = append(p.Failures, f)
	}
}

// integer reads a number, also one in quotes.
func integer(v jsontext.Value) (int64, bool) {
	s := string(v)
	if v.Kind() == '"' {
		s = text(v)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
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
