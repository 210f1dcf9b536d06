package wecom

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

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

// What a msg_send_fail event says of the customer's window (DOC 94670); other types are about the
// account.
const (
	FailedWindow  = 4  // the session was over 48 h old
	FailedCount   = 6  // more than five messages since the customer's own
	FailedRefused = 10 // the customer refuses messages
)

// Page is what one answer of kf/sync_msg says.
type Page struct {
	Errcode    int       // of an answer that is no success: it says nothing else
	Messages   []Message // the customers' own, origin 3, in the page's order
	Codes      []Code    // welcome_codes and msg_codes
	Failures   []Failure
	Unreadable []Unreadable
	Skipped    int    // items that cannot be read, and that no customer wrote
	Next       string // next_cursor
	More       bool   // has_more
}

// Unreadable is an item that does not say, in a way that can be read, what the gateway must know of
// it.
type Unreadable struct {
	ID      string    // msgid
	Channel string    // open_kfid
	At      time.Time // send_time
	Message bool      // it is, or may be, a customer's message
	Code    bool      // it holds, or may hold, a one-time code
}

// maxUnreadable bounds what is kept of items that cannot be read. WeCom's longest page has 1,000
// items.
const maxUnreadable = 1000

// ReadPage reads an answer of kf/sync_msg (DOC 94670). Events, servicers' messages and items of
// unknown kinds are normal and give nothing; an empty page with has_more is too. Where the page is
// no JSON object, or breaks off, it returns what it could read with ErrUnreadable: there may be
// other messages of customers in it.
//
// It reads as it goes, an item at a time: a page may be tens of megabytes long. An item that cannot
// be read loses itself alone, if it can be told where the next one begins.
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

// pageReader reads a page.
type pageReader struct {
	Page
	*answerScanner
	unclear bool // whether the answer is a success
	dec     *jsontext.Decoder
	buf     bytes.Buffer // of dec
	item    []byte       // the one that is read, legible for dec
}

// page reads the members of a page.
func (p *pageReader) page() error {
	if p.skipMark(); p.peek() != '{' {
		return errNoEnd
	}
	p.at++
	var bad error // that the page goes on after
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
				return errNoEnd // a broken item seems to have ended the page early
			}
			return bad
		default:
			return errNoEnd
		}
	}
}

// member reads a member of a page.
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

// take takes the value of a member of a page.
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

// list reads msg_list.
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

// add takes one item of msg_list: a message if the customer wrote it, or what an event says. Where
// it is not whole, what could be read of it says what is lost.
func (p *pageReader) add(v []byte, whole bool) {
	if !bytes.HasPrefix(v, []byte{'{'}) { // it is no item at all
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
	case known: // a servicer's, or of a kind to come
		if !whole {
			p.Skipped++
		}
	case !whole || it.origin != nil: // it may be anything
		p.addUnreadable(it.unreadable(true, true))
	}
}

// lose notes an item that cannot be read.
func (p *pageReader) addUnreadable(u Unreadable) { p.Unreadable = append(p.Unreadable, u) }

// The origins of items (DOC 94670); 5 is a servicer.
const (
	originCustomer = 3 // the customer wrote it
	originEvent    = 4
)

// item is what an item of msg_list says, as far as it can be read.
type item struct {
	id, channel, customer string
	at                    time.Time // zero if it cannot be read
	origin                []byte    // as it stands there; nil if it does not
	isEvent               bool
	event                 event
}

// event is what the member event of an item says.
type event struct {
	kind, channel, customer string
	welcome, code           oneTime
	change, fail            int64 // -1 if it cannot be read
}

// oneTime is a one-time code as it stands in an event.
type oneTime struct {
	text    string
	present bool // also if it cannot be read
}

// readItem reads the members of an item, up to the first that cannot be read.
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

// read reads the member of an event that comes next.
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
	}
	return nil
}

func readOneTime(v jsontext.Value) oneTime {
	return oneTime{text: text(v), present: len(v) > 0 && v.Kind() != 'n' && string(v) != `""`}
}

// readMembers reads the object that comes next: read reads the value of each member.
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

// id reads an id, "" if it is none.
func id(v jsontext.Value) string {
	if s := text(v); len(s) <= MaxID {
		return s
	}
	return ""
}

// unreadable is the item as one that cannot be read.
func (it *item) unreadable(message, code bool) Unreadable {
	u := Unreadable{ID: it.id, Channel: it.channel, At: it.at, Message: message, Code: code}
	if u.Channel == "" {
		u.Channel = it.event.channel
	}
	return u
}

// addMessage takes a customer's message.
func (p *pageReader) addMessage(it *item, whole bool) {
	if !whole || it.channel == "" || it.customer == "" || it.at.IsZero() {
		p.addUnreadable(it.unreadable(true, false))
		return
	}
	p.Messages = append(p.Messages, Message{Channel: it.channel, Customer: it.customer, At: it.at})
}

// addEvent takes what matters of an event. Its ids stand inside it.
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
	}
	switch {
	case c.valid() && c.Channel != "" && !it.at.IsZero():
		p.Codes = append(p.Codes, c)
	case lost && len(c.Text) <= MaxCode: // no code that WeCom gives out is longer
		p.addUnreadable(it.unreadable(false, true))
	}
}

func (p *pageReader) addFailure(f Failure) {
	if t := f.Type; (t == FailedWindow || t == FailedCount || t == FailedRefused) && f.Channel != "" && f.Customer != "" && !f.At.IsZero() {
		p.Failures = append(p.Failures, f)
	}
}
