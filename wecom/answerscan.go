package wecom

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// answerScanner splits the platform's JSON into values, as a stream, without judging what is in
// them: it knows strings and brackets alone. So one odd item of a page does not lose those after
// it.
//
// It looks at each byte once, but for up to maxRescan bytes in all, which it looks at again after a
// value whose end cannot be told.
type answerScanner struct {
	r         io.Reader // nil: all is in buf
	buf       []byte
	at        int    // buf[:at] was looked at
	from      int    // where the value begins that is kept in buf; -1: none is
	open      []byte // the brackets that are open
	rescanned int    // bytes that were looked at twice

	bounded bool // what is kept is a value, of which no more than maxValue is kept
	long    bool // it was longer, and is not kept
}

const (
	scanChunk = 32 << 10
	maxRescan = 4 << 20
	maxValue  = 1 << 20 // WeCom's items have a few kilobytes
	maxNested = 10_000  // brackets within each other, as jsontext has it
)

var (
	errNoEnd   = errors.New("the JSON is broken")         // the end of a value cannot be told
	errTooLong = errors.New("a value is longer than any") // it ended, and was not kept
)

func newAnswerScanner(r io.Reader) *answerScanner { return &answerScanner{r: r, from: -1} }

// more tells whether there is a byte at s.at, and reads on for it. What is kept stays in buf.
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
		if err != nil { // a broken stream ends where it breaks
			s.r = nil
		}
		if n > 0 {
			return true
		}
	}
	return false
}

// peek returns the next byte that is no blank, 0 at the end. Control characters between values are
// blanks.
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

// value reads the value that comes next to its end, and returns it as it came. It is good until the
// next read; without keep it is nil. Where its end cannot be told, what was read of it comes with
// errNoEnd; one of more than maxValue bytes is errTooLong.
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

// skip reads a value that begins with c.
func (s *answerScanner) skip(c byte) error {
	switch c {
	case '"':
		return s.quoted()
	case '{', '[':
		return s.nested()
	}
	return s.bare()
}

// quoted reads a string. Every byte may stand in it.
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

// nested reads an object or an array. A string that anything else follows than JSON has it was not
// ended where it should be, or has a quote too many; brackets that do not match, or stand where a
// name must, belong to another item.
func (s *answerScanner) nested() error {
	s.open = s.open[:0]
	last := byte(0) // the last byte that was no blank
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

// bare reads a number or a literal.
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

// itemNames are the names that an item of msg_list begins with, as WeCom writes it and as sorted
// names would have it. No object within an item begins with one of them.
var itemNames = []string{"msgid", "open_kfid", "external_userid", "origin", "event"}

// nextItem goes on at the next item of msg_list after one that broke, of which v was read right
// before. In JSON that is not broken no text of a customer can look like the beginning of an item:
// its quotes are escaped.
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
		s.from = s.at // so that what is looked at stays in buf
		found := s.itemBegins()
		s.at, s.from = s.from, -1
		if found {
			return true
		}
	}
	return false
}

// itemBegins tells whether an item begins here.
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

// maskByte takes the place of a control character inside a string, which JSON forbids and WeCom
// sends: it is as long, and what decoders take for invalid UTF-8, so that no id with one can be
// read as another.
const maskByte = 0xFF

// maskControls makes what a answerScanner read of a value legible for a decoder, in place. No length
// changes.
func maskControls(v []byte) []byte {
	if !slices.ContainsFunc(v, func(c byte) bool { return c < ' ' }) { // as with nearly all of them
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

// object returns the JSON object that an answer is, legible for a decoder, and where it begins. A
// byte order mark before it and anything after it do not matter.
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
