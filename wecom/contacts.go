package wecom

import (
	"bytes"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// ContactRow is a row of externalcontact/contact_list: one relation of a person to a member or a
// group. A person has a row for each (DOC 99434).
type ContactRow struct {
	TmpOpenID      string // identifies the person for four hours
	ExternalUserID string // of a customer, else ""
	IsCustomer     bool   // else a contact of members without the customer-contact right
	FollowUserID   string // the member who added the person, or the owner of the group
	ChatID         string // of a customer group, else ""
}

// ContactPage is one answer of externalcontact/contact_list.
type ContactPage struct {
	Errcode int // if not 0, all other fields are empty
	Rows    []ContactRow
	Next    string // next_cursor, "" on the last page
}

const (
	maxContactRows = 10_000 // by default a page has 1,000 (DOC 99434)
	maxCursor      = 1024   // bytes
)

// ReadContactPage parses an answer of externalcontact/contact_list (DOC 99434). A count of contacts
// decides whether an account is limited, so unlike ReadPage it is strict: a page with anything that
// could hide or add a person is ErrUnreadable as a whole. Control characters and invalid UTF-8 in
// names are normal, and so are unknown members and unreadable ids of members and groups.
//
// It streams row by row and reads each byte once.
func ReadContactPage(r io.Reader) (ContactPage, error) {
	p := contactReader{answerScanner: newAnswerScanner(r), dec: jsontext.NewDecoder(new(bytes.Buffer))}
	err := p.page()
	switch {
	case p.Errcode != CodeOK:
		return ContactPage{Errcode: p.Errcode}, nil
	case err != nil || p.partial || !p.seen["errcode"] || !p.seen["info_list"] && !p.seen["next_cursor"]:
		return ContactPage{}, ErrUnreadable
	}
	return p.ContactPage, nil
}

// ContactCursor returns the cursor of a call of externalcontact/contact_list, "" on the first page
// of a walk. ok is false if some server could read another cursor.
func ContactCursor(call Sent) (cursor string, ok bool) {
	values, ok := call.members("cursor")
	if _, inQuery, err := singleParam(call.Query, "cursor"); !ok || inQuery || err != nil {
		return "", false
	}
	v, found := values["cursor"]
	if !found {
		return "", true
	}
	return readCursor(v)
}

// readCursor returns the text of a cursor. Every reader must read the same text.
func readCursor(v jsontext.Value) (cursor string, ok bool) {
	if string(v) == `""` {
		return "", true
	}
	cursor = text(v)
	if cursor == "" || len(cursor) > maxCursor || checkPlain([]byte(cursor)) != nil {
		return "", false
	}
	return cursor, true
}

// contactReader parses a page of contacts.
type contactReader struct {
	ContactPage
	*answerScanner
	dec     *jsontext.Decoder
	buf     bytes.Buffer    // the input of dec
	seen    map[string]bool // the members of the page that were read and are not null
	partial bool            // WeCom read only a part of the call, perhaps without its cursor
}

// anyText accepts any text of a person's name. A repeated member is an error.
var anyText = jsontext.AllowInvalidUTF8(true)

// page parses the members of a page, after which nothing may follow.
func (p *contactReader) page() error {
	p.seen = map[string]bool{}
	if p.skipMark(); p.peek() != '{' {
		return ErrUnreadable
	}
	p.at++
	for first := true; ; first = false {
		more, err := p.next('}', first)
		if err == nil && more {
			err = p.member()
		}
		switch {
		case err != nil:
			return err
		case !more && p.peek() != 0:
			return ErrUnreadable
		case !more:
			return nil
		}
	}
}

// next advances to the next member or item of an object or array whose closing bracket is end. more
// is false after the last one, which it consumes.
func (p *contactReader) next(end byte, first bool) (more bool, err error) {
	switch c := p.peek(); {
	case c == end:
		p.at++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, ErrUnreadable
	}
	p.at++
	if p.peek() == end {
		return false, ErrUnreadable
	}
	return true, nil
}

// member parses one member of a page.
func (p *contactReader) member() error {
	v, err := p.valid()
	if err != nil || v.Kind() != '"' {
		return ErrUnreadable
	}
	name := text(v)
	if p.peek() != ':' {
		return ErrUnreadable
	}
	p.at++
	isList := name == "info_list" && p.peek() == '['
	switch name {
	case "errcode", "errmsg", "info_list", "next_cursor":
		if _, repeated := p.seen[name]; repeated {
			return ErrUnreadable
		}
		p.seen[name] = isList
	}
	if isList {
		return p.rows()
	}
	if v, err = p.valid(); err != nil || v.Kind() == 'n' {
		return err
	}
	return p.take(name, v)
}

// valid consumes the next value, which is valid until the next read.
func (p *contactReader) valid() (jsontext.Value, error) {
	v, err := p.value(true)
	if err != nil || !jsontext.Value(maskControls(v)).IsValid(anyText) {
		return nil, ErrUnreadable
	}
	return v, nil
}

// take records the value of a member of a page.
func (p *contactReader) take(name string, v jsontext.Value) (err error) {
	ok := true
	switch name {
	case "errcode":
		p.Errcode, err = errcode(v)
	case "errmsg": // WeCom acts on the members before the first that it cannot read (DOC 90313)
		p.partial = bytes.Contains(v, []byte("wrong json format"))
	case "info_list":
		ok = false
	case "next_cursor":
		p.Next, ok = readCursor(v)
	default:
		return nil
	}
	if !ok {
		return ErrUnreadable
	}
	p.seen[name] = true
	return err
}

// rows parses info_list.
func (p *contactReader) rows() error {
	p.at++ // [
	for first := true; ; first = false {
		more, err := p.next(']', first)
		if err != nil || !more {
			return err
		}
		v, err := p.value(true)
		if err != nil || len(p.Rows) >= maxContactRows {
			return ErrUnreadable
		}
		row, err := p.row(maskControls(v))
		if err != nil {
			return ErrUnreadable
		}
		p.Rows = append(p.Rows, row)
	}
}

// row parses one row. Only what identifies the person must be readable.
func (p *contactReader) row(v []byte) (row ContactRow, err error) {
	p.buf = *bytes.NewBuffer(v)
	p.dec.Reset(&p.buf, anyText)
	if p.dec.PeekKind() != '{' {
		return row, ErrUnreadable
	}
	err = readMembers(p.dec, func(name string) error {
		v, err := p.dec.ReadValue()
		if err != nil {
			return err
		}
		switch name {
		case "tmp_openid":
			row.TmpOpenID = plainID(v)
		case "external_userid":
			row.ExternalUserID = plainID(v)
		case "follow_userid":
			row.FollowUserID = plainID(v)
		case "chat_id":
			row.ChatID = plainID(v)
		case "is_customer":
			return readFlag(v, &row.IsCustomer)
		}
		return nil
	})
	if row.TmpOpenID == "" {
		return ContactRow{}, ErrUnreadable
	}
	return row, err
}

// plainID returns an id that every reader reads alike, "" for any other value.
func plainID(v jsontext.Value) string {
	if s := plainText(v); s != "" && len(s) <= MaxID { // the common case
		return s
	}
	s := id(v)
	if checkPlain([]byte(s)) != nil {
		return ""
	}
	return s
}

// readFlag parses a boolean, also one given as a number; null is false.
func readFlag(v jsontext.Value, into *bool) error {
	switch string(v) {
	case "true", "1":
		*into = true
	case "false", "0", "null":
		*into = false
	default:
		return ErrUnreadable
	}
	return nil
}
