package wecom

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Message is a message that a customer sent, as kf/sync_msg reports it.
type Message struct {
	Channel  string // open_kfid
	Customer string // external_userid
	At       time.Time
}

// Failure is a reply that WeCom accepted and then did not deliver.
type Failure struct {
	Channel  string
	Customer string
	Type     int // FailedWindow, FailedCount or FailedRefused
	At       time.Time
}

// Reply is a message to a customer that a page reports, or one that was taken back.
type Reply struct {
	Channel  string
	Customer string // "" if it cannot be read: then nobody can tell who was answered on the channel
	At       time.Time
	ID       string // msgid of the message
	Back     bool   // a reply of any kind was not delivered, or a servicer recalled it; At is the time of the event
}

// The types of msg_send_fail events that concern the customer (DOC 94670); the others concern the
// account.
const (
	FailedWindow  = 4  // the customer's last message is over 48 h old
	FailedCount   = 6  // five messages were sent since the customer's last one
	FailedRefused = 10 // the customer refuses messages
)

// Page is one answer of kf/sync_msg.
type Page struct {
	Errcode    int       // if not 0, all other fields are empty
	Messages   []Message // sent by customers (origin 3), in the order of the page
	Codes      []Code    // welcome_codes and msg_codes
	Failures   []Failure
	Replies    []Reply // of servicers (origin 5), and those that were taken back
	Unreadable []Unreadable
	Skipped    int    // unreadable items that are neither from a customer nor events
	Next       string // next_cursor
	More       bool   // has_more
}

// Unreadable is an item that lacks, or has in an unreadable form, what the gateway needs of it. ID,
// Channel and At are zero where they cannot be read either.
type Unreadable struct {
	ID      string    // msgid
	Channel string    // open_kfid
	At      time.Time // send_time
	Message bool      // the item is or may be a customer's message
	Code    bool      // the item contains or may contain a one-time code
}

// maxUnreadable bounds Page.Unreadable. WeCom's longest page has 1,000 items (DOC 94670).
const maxUnreadable = 1000

// ReadPage parses an answer of kf/sync_msg (DOC 94670). Events, servicers' messages, items of
// unknown kinds and an empty page with has_more are normal. If the page is not a JSON object, or is
// cut or broken, ReadPage returns what it could read with ErrUnreadable: the page may contain more
// messages of customers.
//
// It streams item by item, since a page may have tens of megabytes. An unreadable item does not
// affect the others if the beginning of the next one can be found.
func ReadPage(r io.Reader) (Page, error) {
	p := pageReader{answerScanner: newAnswerScanner(r), dec: jsontext.NewDecoder(new(bytes.Buffer))}
	err := p.page()
	switch {
	case p.Errcode != CodeOK:
		return Page{Errcode: p.Errcode}, nil
	case p.unclear:
		return Page{}, ErrUnreadable
	case err != nil:
		return p.Page, ErrUnreadable
	}
	return p.Page, nil
}

// pageReader parses a page.
type pageReader struct {
	Page
	*answerScanner
	unclear bool // the errcode is unreadable
	dec     *jsontext.Decoder
	buf     bytes.Buffer // the input of dec
	item    []byte       // the item being read, with control characters masked
}

// page parses the members of a page.
func (p *pageReader) page() error {
	if p.skipMark(); p.peek() != '{' {
		return errNoEnd
	}
	p.at++
	var bad error // an error after which the page goes on
	for {
		switch p.peek() {
		case ',':
			p.at++
		case '"':
			if err := p.member(); errors.Is(err, errNoEnd) {
				return err
			} else if err != nil {
				bad = err
			}
		case '}':
			p.at++
			if p.peek() != 0 && (p.rescanned > 0 || p.nextItem(nil)) {
				return errNoEnd // a broken item closed the page early
			}
			return bad
		default:
			return errNoEnd
		}
	}
}

// member parses one member of a page.
func (p *pageReader) member() error {
	name, err := p.value(true)
	if err != nil {
		return err
	}
	what := text(maskControls(bytes.Clone(name)))
	if p.peek() != ':' {
		return errNoEnd
	}
	p.at++
	if what == "msg_list" && p.peek() == '[' {
		return p.list()
	}
	v, err := p.value(what == "msg_list" || what == "errcode" || what == "next_cursor" || what == "has_more")
	if err != nil {
		return err
	}
	return p.take(what, maskControls(bytes.Clone(v)))
}

// take records the value of a member of a page.
func (p *pageReader) take(name string, v jsontext.Value) (err error) {
	switch name {
	case "msg_list":
		if string(v) != "null" {
			return ErrUnreadable
		}
	case "errcode":
		p.Errcode, err = errcode(v)
		p.unclear = err != nil
	case "next_cursor":
		p.Next = text(v)
	case "has_more":
		n, _ := number(v)
		p.More = n != 0 || string(v) == "true"
	}
	return nil
}

// list parses msg_list.
func (p *pageReader) list() error {
	p.at++ // [
	for {
		switch p.peek() {
		case 0:
			return errNoEnd
		case ']':
			p.at++
			return nil
		case ',':
			p.at++
			continue
		}
		v, err := p.value(true)
		if err == errTooLong {
			p.addUnreadable(Unreadable{Message: true, Code: true})
			continue
		}
		p.add(v, err == nil)
		if err == nil && strings.IndexByte(",]{\x00", p.peek()) < 0 { // the item did not end there
			p.addUnreadable(Unreadable{Message: true, Code: true})
			v, err = nil, errNoEnd
		}
		if err != nil && !p.nextItem(v) || len(p.Unreadable) > maxUnreadable {
			return errNoEnd
		}
	}
}

// add records one item of msg_list. Of an item that is not whole, the part that could be read shows
// what may be lost.
func (p *pageReader) add(v []byte, whole bool) {
	if !bytes.HasPrefix(v, []byte{'{'}) { // not an object
		if !whole || !jsontext.Value(maskControls(bytes.Clone(v))).IsValid(lenient) {
			p.addUnreadable(Unreadable{Message: true, Code: true})
		}
		return
	}
	it, err := p.readItem(v)
	whole = whole && err == nil
	switch origin, known := integer(it.origin); {
	case known && origin == originCustomer:
		p.addMessage(&it, whole)
	case known && origin == originEvent || !known && it.isEvent:
		p.addEvent(&it, whole)
	case known && origin == originServicer:
		p.addReply(&it, whole)
	case known:
		if !whole {
			p.Skipped++
		}
	case !whole || it.origin != nil: // may be anything
		p.addUnreadable(it.unreadable(true, true))
	}
}

// addUnreadable records an item that cannot be read.
func (p *pageReader) addUnreadable(u Unreadable) { p.Unreadable = append(p.Unreadable, u) }

// The origins of items (DOC 94670).
const (
	originCustomer = 3 // sent by the customer
	originEvent    = 4
	originServicer = 5 // sent by a servicer in the client
)

// item is the readable part of an item of msg_list.
type item struct {
	id, channel, customer string
	at                    time.Time // zero if it cannot be read
	origin                []byte    // raw JSON; nil if absent or null
	isEvent               bool
	event                 event
}

// event is the member "event" of an item.
type event struct {
	kind, channel, customer string
	welcome, code           oneTime
	change, fail            int64  // -1 if it cannot be read
	message                 string // msgid of the message that failed, or was recalled by a servicer
}

// oneTime is a one-time code in an event.
type oneTime struct {
	text    string
	present bool // there is a value, readable or not
}

// readItem parses an item. On an error, it holds the members before the broken one.
func (p *pageReader) readItem(v []byte) (it item, err error) {
	p.item = maskControls(append(p.item[:0], v...))
	p.buf = *bytes.NewBuffer(p.item)
	p.dec.Reset(&p.buf, lenient)
	err = readMembers(p.dec, func(name string) error {
		if name == "event" && p.dec.PeekKind() == '{' {
			it.isEvent = true
			it.event = event{change: -1, fail: -1}
			return readMembers(p.dec, func(name string) error { return it.event.read(p.dec, name) })
		}
		v, err := p.dec.ReadValue()
		if err != nil {
			return err
		}
		switch name {
		case "msgid":
			it.id = text(v)
		case "open_kfid":
			it.channel = id(v)
		case "external_userid":
			it.customer = id(v)
		case "send_time":
			it.at, _ = seconds(v)
		case "origin":
			it.origin = nil
			if v.Kind() != 'n' {
				it.origin = bytes.Clone(v)
			}
		}
		return nil
	})
	return it, err
}

// read parses the next member of an event.
func (e *event) read(dec *jsontext.Decoder, name string) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	whole := func() int64 {
		if n, ok := integer(v); ok {
			return n
		}
		return -1
	}
	switch name {
	case "event_type":
		e.kind = text(v)
	case "open_kfid":
		e.channel = id(v)
	case "external_userid":
		e.customer = id(v)
	case "welcome_code":
		e.welcome = readOneTime(v)
	case "msg_code":
		e.code = readOneTime(v)
	case "change_type":
		e.change = whole()
	case "fail_type":
		e.fail = whole()
	case "fail_msgid", "recall_msgid":
		e.message = text(v)
	}
	return nil
}

func readOneTime(v jsontext.Value) oneTime {
	return oneTime{text: text(v), present: len(v) > 0 && v.Kind() != 'n' && string(v) != `""`}
}

// readMembers parses the next object. It calls read to consume the value of each member.
func readMembers(dec *jsontext.Decoder, read func(name string) error) error {
	if _, err := dec.ReadToken(); err != nil { // {
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if err := read(name.String()); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken() // }
	return err
}

// id returns an id, "" for any other value.
func id(v jsontext.Value) string {
	if s := text(v); len(s) <= MaxID {
		return s
	}
	return ""
}

// unreadable converts an item that cannot be used.
func (it *item) unreadable(message, code bool) Unreadable {
	u := Unreadable{ID: it.id, Channel: it.channel, At: it.at, Message: message, Code: code}
	if u.Channel == "" {
		u.Channel = it.event.channel
	}
	return u
}

// addMessage records a customer's message.
func (p *pageReader) addMessage(it *item, whole bool) {
	if !whole || it.channel == "" || it.customer == "" || it.at.IsZero() {
		p.addUnreadable(it.unreadable(true, false))
		return
	}
	p.Messages = append(p.Messages, Message{Channel: it.channel, Customer: it.customer, At: it.at})
}

// addEvent records the code or the failure in an event. The ids are members of the event.
func (p *pageReader) addEvent(it *item, whole bool) {
	e := &it.event
	c, lost := Code{Channel: e.channel, Customer: e.customer, At: it.at}, false
	switch {
	case !whole:
		p.addUnreadable(it.unreadable(false, true))
		return
	case e.kind == "enter_session":
		c.Text, c.Kind, lost = e.welcome.text, EnterSession, e.welcome.present
	case e.kind == "session_status_change" && e.change == 1:
		c.Text, c.Kind, lost = e.code.text, SessionTaken, e.code.present
	case e.kind == "session_status_change" && e.change == 3:
		c.Text, c.Kind, lost = e.code.text, SessionEnded, e.code.present
	case e.kind == "session_status_change":
		lost = e.change < 0 && e.code.present
	case e.kind == "msg_send_fail":
		p.addFailure(Failure{Channel: e.channel, Customer: e.customer, At: it.at, Type: int(e.fail)})
		p.addTakenBack(it)
	case e.kind == "servicer_recall_msg":
		p.addTakenBack(it)
	}
	switch {
	case c.valid() && c.Channel != "" && !it.at.IsZero():
		p.Codes = append(p.Codes, c)
	case lost && len(c.Text) <= MaxCode: // WeCom's codes are never longer
		p.addUnreadable(it.unreadable(false, true))
	}
}

func (p *pageReader) addFailure(f Failure) {
	if t := f.Type; (t == FailedWindow || t == FailedCount || t == FailedRefused) && f.Channel != "" && f.Customer != "" && !f.At.IsZero() {
		p.Failures = append(p.Failures, f)
	}
}

// addReply records a servicer's message.
func (p *pageReader) addReply(it *item, whole bool) {
	if !whole {
		p.Skipped++
	}
	r := Reply{Channel: it.channel, Customer: it.customer, At: it.at, ID: it.id}
	if it.at.IsZero() || it.channel == "" {
		r.Customer = ""
	}
	p.Replies = append(p.Replies, r)
}

// addTakenBack records that a message did not reach the customer, or no longer.
func (p *pageReader) addTakenBack(it *item) {
	if e := &it.event; e.channel != "" && e.customer != "" && e.message != "" && !it.at.IsZero() {
		p.Replies = append(p.Replies, Reply{Channel: e.channel, Customer: e.customer, At: it.at, ID: e.message, Back: true})
	}
}
