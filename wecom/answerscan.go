package wecom

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// answerScanner splits a stream of the platform's JSON into values. It tracks strings and brackets
// only and does not validate the values, so that one broken item of a page does not lose the items
// after it.
//
// It scans each byte once, except for up to maxRescan bytes in total, which it scans again after a
// value whose end cannot be found.
type answerScanner struct {
	r         io.Reader // nil: all input is in buf
	buf       []byte
	at        int    // buf[:at] is scanned
	from      int    // offset in buf of the value being kept, -1 for none
	open      []byte // stack of open brackets
	rescanned int    // bytes that were scanned twice

	bounded bool // the value being kept is dropped beyond maxValue bytes
	long    bool // it was dropped
}

const (
	scanChunk = 32 << 10
	maxRescan = 4 << 20
	maxValue  = 1 << 20 // WeCom's items have a few kilobytes
	maxNested = 10_000  // nesting of brackets, the limit of jsontext
)

var (
	errNoEnd   = errors.New("the JSON is broken")         // the end of a value cannot be found
	errTooLong = errors.New("a value is longer than any") // it ended, and was not kept
)

func newAnswerScanner(r io.Reader) *answerScanner { return &answerScanner{r: r, from: -1} }

// more reports whether there is a byte at s.at, reading from r if needed. The value being kept
// stays in buf.
func (s *answerScanner) more() bool {
	if s.at < len(s.buf) {
		return true
	}
	if s.r == nil {
		return false
	}
	if s.bounded && s.at-s.from >= maxValue {
		s.bounded, s.long, s.from = false, true, -1
	}
	switch {
	case s.from < 0:
		s.buf, s.at = s.buf[:0], 0
	case s.from > 0:
		s.buf = s.buf[:copy(s.buf, s.buf[s.from:])]
		s.at, s.from = len(s.buf), 0
	}
	s.buf = slices.Grow(s.buf, scanChunk)
	for s.r != nil {
		n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err != nil { // an aborted stream ends here
			s.r = nil
		}
		if n > 0 {
			return true
		}
	}
	return false
}

// peek skips white space and control characters and returns the next byte without consuming it, 0
// at the end.
func (s *answerScanner) peek() byte {
	for s.more() {
		if c := s.buf[s.at]; c > ' ' {
			return c
		}
		s.at++
	}
	return 0
}

// skipMark skips a byte order mark.
func (s *answerScanner) skipMark() {
	for _, c := range []byte("\xEF\xBB\xBF") {
		if s.peek() != c {
			return
		}
		s.at++
	}
}

// value consumes the next value. With keep it returns the raw text, valid until the next read;
// without, nil. If the end of the value cannot be found it returns what was read with errNoEnd. A
// kept value of more than maxValue bytes is dropped with errTooLong.
func (s *answerScanner) value(keep bool) (v []byte, err error) {
	c := s.peek()
	if !keep {
		return nil, s.skip(c)
	}
	s.from, s.bounded, s.long = s.at, true, false
	err = s.skip(c)
	s.bounded = false
	if !s.long {
		v, s.from = s.buf[s.from:s.at], -1
	} else if err == nil {
		err = errTooLong
	}
	return v, err
}

// skip consumes a value that begins with c.
func (s *answerScanner) skip(c byte) error {
	switch c {
	case '"':
		return s.quoted()
	case '{', '[':
		return s.nested()
	}
	return s.bare()
}

// quoted consumes a string, which may contain any byte.
func (s *answerScanner) quoted() error {
	s.at++
	for escaped := false; s.more(); {
		i := s.at
		for ; i < len(s.buf); i++ {
			c := s.buf[i]
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				s.at = i + 1
				return nil
			}
		}
		s.at = i
	}
	return errNoEnd
}

// nested consumes an object or an array. A string with an unescaped quote or without a closing one
// shows by the byte after it, a missing bracket by one that does not match or is where a name must
// be: the rest then belongs to another item.
func (s *answerScanner) nested() error {
	s.open = s.open[:0]
	last := byte(0) // the previous byte that is not white space
	for s.more() {
		c := s.buf[s.at]
		switch {
		case c <= ' ':
			s.at++
			continue
		case c == '"':
			if err := s.quoted(); err != nil {
				return err
			}
			if strings.IndexByte(":,}]", s.peek()) < 0 {
				return errNoEnd
			}
			last = c
			continue
		case c == '{' || c == '[':
			if len(s.open) >= maxNested || last == '{' || last == ',' && s.open[len(s.open)-1] == '{' {
				return errNoEnd
			}
			s.open = append(s.open, c)
		case c == '}' || c == ']':
			if s.open[len(s.open)-1] != c-2 { // in ASCII two after its counterpart
				return errNoEnd
			}
			s.open = s.open[:len(s.open)-1]
		}
		s.at++
		if last = c; len(s.open) == 0 {
			return nil
		}
	}
	return errNoEnd
}

// bare consumes a number or a literal.
func (s *answerScanner) bare() error {
	length := 0
	for s.more() {
		if c := s.buf[s.at]; c <= ' ' || strings.IndexByte(`,:}]{["`, c) >= 0 {
			break
		}
		s.at++
		length++
	}
	if length == 0 {
		return errNoEnd
	}
	return nil
}

// itemNames are the names of the first member of an item of msg_list, in WeCom's order and with
// sorted names. No object inside an item begins with one of them.
var itemNames = []string{"msgid", "open_kfid", "external_userid", "origin", "event"}

// nextItem seeks the next item of msg_list after a broken one, of which v was just read. It reports
// whether there is one. A customer's text cannot look like an item, since its quotes are escaped.
func (s *answerScanner) nextItem(v []byte) bool {
	if s.rescanned += len(v); s.rescanned > maxRescan {
		return false
	}
	s.at -= max(len(v)-1, 0)
	for s.more() {
		if s.buf[s.at] != ',' {
			s.at++
			continue
		}
		s.at++
		s.from = s.at // keeps the bytes that itemBegins reads
		found := s.itemBegins()
		s.at, s.from = s.from, -1
		if found {
			return true
		}
	}
	return false
}

// itemBegins reports whether an item begins here.
func (s *answerScanner) itemBegins() bool {
	if s.peek() != '{' {
		return false
	}
	s.at++
	if s.peek() != '"' {
		return false
	}
	s.at++
	name := s.at - s.from
	for s.more() && s.buf[s.at] != '"' && s.at-s.from-name < 16 {
		s.at++
	}
	return s.more() && s.buf[s.at] == '"' && slices.Contains(itemNames, string(s.buf[s.from+name:s.at]))
}

// maskByte replaces a control character inside a string, which JSON forbids and WeCom sends. It is
// invalid UTF-8, so that an id with a control character never equals another id.
const maskByte = 0xFF

// maskControls replaces the control characters of a value in place, so that a decoder accepts it:
// by maskByte in strings and by a space elsewhere.
func maskControls(v []byte) []byte {
	if !slices.ContainsFunc(v, func(c byte) bool { return c < ' ' }) { // the common case
		return v
	}
	quoted, escaped := false, false
	for i, c := range v {
		switch {
		case c < ' ' && quoted:
			v[i], escaped = maskByte, false
		case c < ' ':
			v[i] = ' '
		case escaped:
			escaped = false
		case c == '\\':
			escaped = quoted
		case c == '"':
			quoted = !quoted
		}
	}
	return v
}

// object returns a decodable copy of the JSON object in an answer, and its offset. A byte order
// mark before the object and anything after it are ignored.
func object(answer []byte) (v []byte, start int, err error) {
	s := &answerScanner{buf: answer, from: -1}
	if s.skipMark(); s.peek() != '{' {
		return nil, 0, ErrUnreadable
	}
	start = s.at
	if v, err = s.value(true); err != nil {
		return nil, 0, ErrUnreadable
	}
	return maskControls(bytes.Clone(v)), start, nil
}
