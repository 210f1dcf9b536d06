package wecom

import (
	"bytes"
	"errors"
)

// scanner is a pull parser of JSON text (RFC 8259). It is strict about structure and accepts any
// bytes inside strings: real bots send raw control characters, invalid UTF-8 and unpaired
// surrogates.
type scanner struct {
	text []byte
	at   int // offset of the next byte
}

// depthLimit is the maximum nesting of a judged body. WeCom's samples have at most eight levels.
const depthLimit = 64

// The structural errors of JSON text. Their texts are shown to callers, so they quote nothing.
var (
	errCut    = errors.New("cut short")
	errDeep   = errors.New("too deep")
	errComma  = errors.New("a comma, a colon or a bracket is missing or misplaced")
	errValue  = errors.New("a value is not one of JSON's: a string in double quotes, a number, true, false or null")
	errName   = errors.New("a name is not a string in double quotes")
	errEscape = errors.New("a string holds an escape that JSON does not have")
)

// peek skips white space and returns the next byte without consuming it, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// atEnd reports whether all text is consumed.
func (s *scanner) atEnd() bool { return s.at >= len(s.text) }

// orCut returns errCut at the end of the text, err elsewhere.
func (s *scanner) orCut(err error) error {
	if s.atEnd() {
		return errCut
	}
	return err
}

// accept consumes the next byte if it is c.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// value consumes the next value of any kind and returns its raw text, a part of s.text.
func (s *scanner) value() ([]byte, error) {
	s.peek()
	from := s.at
	err := s.skip(1)
	return s.text[from:s.at], err
}

// skip consumes a value; depth is the nesting level of the value itself, 1 below the top object.
func (s *scanner) skip(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, _, err := s.string()
		return err
	case c == '{':
		return s.skipObject(depth)
	case c == '[':
		return s.skipArray(depth)
	case c == '-' || c >= '0' && c <= '9':
		return s.skipNumber()
	}
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(literal)) {
			s.at += len(literal)
			return nil
		}
	}
	return s.orCut(errValue)
}

func (s *scanner) skipObject(depth int) error {
	if depth >= depthLimit {
		return errDeep
	}
	s.at++ // {
	for first := true; ; first = false {
		if more, err := s.next('}', first); !more {
			return err
		}
		if _, _, err := s.name(); err != nil {
			return err
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray(depth int) error {
	if depth >= depthLimit {
		return errDeep
	}
	s.at++ // [
	for first := true; ; first = false {
		if more, err := s.next(']', first); !more {
			return err
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

// members calls read for each member of the object that comes next, until read returns false. inner
// is the raw text of the name between its quotes.
func (s *scanner) members(read func(inner, value []byte) bool) error {
	if !s.accept('{') {
		return s.orCut(errValue)
	}
	for first := true; ; first = false {
		if more, err := s.next('}', first); !more {
			return err
		}
		inner, _, err := s.name()
		if err != nil {
			return err
		}
		value, err := s.value()
		if err != nil || !read(inner, value) {
			return err
		}
	}
}

// next advances to the next member or item of an object or array whose closing bracket is end. more
// is false after the last one, which it consumes, and on an error.
func (s *scanner) next(end byte, first bool) (more bool, err error) {
	switch c := s.peek(); {
	case c == end:
		s.at++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.orCut(errComma)
	}
	s.at++
	if s.peek() == end {
		return false, errComma
	}
	return true, nil
}

// name consumes a member name and its colon. It returns the raw text between the quotes, and
// whether that contains escapes.
func (s *scanner) name() (inner []byte, escaped bool, err error) {
	if s.peek() != '"' {
		return nil, false, s.orCut(errName)
	}
	if inner, escaped, err = s.string(); err != nil {
		return nil, false, err
	}
	if !s.accept(':') {
		return nil, false, s.orCut(errComma)
	}
	return inner, escaped, nil
}

// string consumes the string that begins here and returns the raw text between its quotes.
func (s *scanner) string() (inner []byte, escaped bool, err error) {
	from := s.at + 1
	for at, quote := from, -1; ; {
		if quote < at {
			i := bytes.IndexByte(s.text[at:], '"')
			if i < 0 {
				s.at = len(s.text)
				return nil, false, errCut
			}
			quote = at + i
		}
		slash := bytes.IndexByte(s.text[at:quote], '\\')
		if slash < 0 {
			s.at = quote + 1
			return s.text[from:quote], escaped, nil
		}
		escaped = true
		length := escapeLength(s.text[at+slash:])
		if length == 0 {
			return nil, false, errEscape
		}
		at += slash + length
	}
}

// escapeLength returns the length of the escape at the start of text, 0 if JSON does not have it.
func escapeLength(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(text) < 6 {
			return 0
		}
		for _, c := range text[2:6] {
			if hexDigit(c) < 0 {
				return 0
			}
		}
		return 6
	}
	return 0
}

// skipNumber consumes a number such as -1.5e+3. A leading zero before other digits is an error.
func (s *scanner) skipNumber() error {
	if s.text[s.at] == '-' {
		s.at++
	}
	zero := s.at < len(s.text) && s.text[s.at] == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		return s.orCut(errValue)
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if s.digits() == 0 {
			return s.orCut(errValue)
		}
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'e' {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return s.orCut(errValue)
		}
	}
	return nil
}

func (s *scanner) digits() (n int) {
	for ; s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'; s.at++ {
		n++
	}
	return n
}

// tooDeep reports whether text, which need not be valid JSON, nests deeper than depthLimit.
func tooDeep(text []byte) bool {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= depthLimit {
		return false // the common case
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > depthLimit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
