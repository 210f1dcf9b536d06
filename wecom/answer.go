package wecom

import (
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
	CodeAmbiguous     = 990400 // the gateway's own, with HTTP 400
	CodeTooLarge      = 990413 // the gateway's own, with HTTP 413
	CodeTargetTooLong = 990414 // the gateway's own, with HTTP 414
	CodeServerFault   = 990500 // the gateway's own, with HTTP 500
	CodeUnreachable   = 990502 // the gateway's own, with HTTP 502
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
	var a struct {
		Errcode int `json:"errcode"`
	}
	if err := json.Unmarshal(body, &a, lenient); err != nil {
		return 0, ErrUnreadable
	}
	return a.Errcode, nil
}

// Token is an access token as gettoken hands it out.
type Token struct {
	Value string
	Life  time.Duration // 7,200 s as a rule
}

// ReadTokenAnswer reads the answer of gettoken (DOC 91039). found is false if WeCom gave no token.
func ReadTokenAnswer(body []byte) (t Token, found bool) {
	var a struct {
		Errcode     int    `json:"errcode"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if json.Unmarshal(body, &a, lenient) != nil || a.Errcode != CodeOK || a.AccessToken == "" {
		return Token{}, false
	}
	life := time.Duration(min(max(a.ExpiresIn, 0), 86400)) * time.Second
	return Token{Value: a.AccessToken, Life: life}, life > 0
}

// ReadCorpID returns the corpid of a gettoken query, "" if there is none or more than one reading.
func ReadCorpID(query []byte) string {
	corp, _, err := one(query, "corpid")
	if err != nil || len(corp) > MaxID {
		return ""
	}
	return corp
}

// Message is a customer's own message as kf/sync_msg reports it.
type Message struct {
	Channel  string // open_kfid
	Customer string // external_userid
	At       time.Time
}

// Page is what one answer of kf/sync_msg says.
type Page struct {
	Messages []Message // the customers' own, origin 3, in the page's order
	Skipped  int       // items of origin 3 that lack an id or a time
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

// add takes one item of msg_list if the customer wrote it.
func (p *Page) add(item jsontext.Value) {
	var it struct {
		Channel  jsontext.Value `json:"open_kfid"`
		Customer jsontext.Value `json:"external_userid"`
		SendTime jsontext.Value `json:"send_time"`
		Origin   jsontext.Value `json:"origin"`
	}
	if item.Kind() != '{' || json.Unmarshal(item, &it, lenient) != nil {
		return
	}
	if n, ok := integer(it.Origin); !ok || n != originCustomer {
		return
	}
	sent, ok := integer(it.SendTime)
	m := Message{Channel: text(it.Channel), Customer: text(it.Customer), At: time.Unix(sent, 0)}
	if !ok || sent <= 0 || m.Customer == "" || len(m.Customer) > MaxID || len(m.Channel) > MaxID {
		p.Skipped++
		return
	}
	p.Messages = append(p.Messages, m)
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
