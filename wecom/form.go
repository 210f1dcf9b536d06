package wecom

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// CheckForm returns an error if a server that trusts the Content-Type of a call of e could parse
// its JSON body as a form with other values. types holds all lines of that header, in any letter
// case: such a server may use any of them.
//
// Many bots send JSON as application/x-www-form-urlencoded (curl -d, PHP, Java, Python), so the
// type alone is not an error.
func (e *Endpoint) CheckForm(types string, body []byte) error {
	types = strings.ToLower(types)
	switch {
	case !declaresForm(types):
		return nil
	case strings.Contains(types, "multipart") && holdsPart(types, body):
		return errors.New("the body can also be read as a multipart form; send it as JSON alone")
	}
	return e.checkURLEncoded(body)
}

// ExplainForm returns why a body cannot be read: that it is a form, or else err.
func ExplainForm(types string, body []byte, err error) error {
	s := scanner{text: bytes.TrimPrefix(body, byteOrderMark)}
	if declaresForm(strings.ToLower(types)) && len(body) > 0 && s.peek() != '{' && looksLikeForm(body) {
		return errors.New("the body is a form; send JSON with Content-Type: application/json")
	}
	return err
}

// looksLikeForm reports whether a body that is not a JSON object begins like a form.
func looksLikeForm(body []byte) bool {
	name, _, found := bytes.Cut(body, []byte{'='})
	return bytes.HasPrefix(body, []byte("--")) || found && isPlain(name) && !bytes.ContainsAny(name, `[{"`)
}

// declaresForm reports whether a server could take types, in lower case, as those of a form.
func declaresForm(types string) bool {
	return strings.Contains(types, "form") || strings.Contains(types, "urlenc") || strings.Contains(types, "multipart")
}

// checkURLEncoded returns an error if the body, parsed as a URL-encoded form, has a field that
// ReadFacts reads too, with another value than the JSON member.
func (e *Endpoint) checkURLEncoded(body []byte) error {
	members := map[string]jsonText{} // by name: a body may repeat a field a hundred thousand times
	for rest := body; len(rest) > 0; {
		end := bytes.IndexAny(rest, "&;")
		pair := rest
		if end >= 0 {
			pair, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		key, value, _ := bytes.Cut(pair, []byte{'='})
		for i := range e.fields.body {
			name := e.fields.body[i].path[0]
			if e.fields.body[i].role == roleTyped || !sameName(key, name) {
				continue
			}
			if _, known := members[name]; !known {
				members[name] = textInJSON(body, name)
			}
			if members[name] != (jsonText{unescape(string(value), true), true}) {
				return fmt.Errorf("the body is declared as a form, and parsed as one it has another value for %s; send Content-Type: application/json", name)
			}
		}
	}
	return nil
}

// jsonText is the text of a JSON value.
type jsonText struct {
	text  string
	found bool // the value exists and is a string or a list of exactly one string
}

// textInJSON returns the text of the first member of a JSON object that has the name.
func textInJSON(object []byte, name string) (t jsonText) {
	s := scanner{text: bytes.TrimPrefix(object, byteOrderMark)}
	_ = s.members(func(inner, value []byte) bool {
		if string(inner) != name {
			return true
		}
		t = readText(value)
		return false
	})
	return t
}

// readText returns the text of a JSON value.
func readText(value []byte) jsonText {
	if value[0] == '[' {
		value = bytes.TrimSpace(value[1 : len(value)-1])
	}
	s := scanner{text: value}
	item, err := s.value()
	if err != nil || !s.atEnd() || item[0] != '"' {
		return jsonText{}
	}
	return jsonText{string(unescapeJSON(item[1 : len(item)-1])), true}
}

// maxBoundaries limits how many boundaries are searched for. Real headers name one.
const maxBoundaries = 8

// holdsPart reports whether a body may contain a part of a multipart form (RFC 7578): a delimiter
// made from a boundary in types, or a Content-Disposition header.
func holdsPart(types string, body []byte) bool {
	lower := bytes.ToLower(body)
	if bytes.Contains(lower, []byte("content-disposition")) {
		return true
	}
	if strings.Count(types, "boundary") > maxBoundaries {
		return true
	}
	for rest := types; ; {
		_, after, found := strings.Cut(rest, "boundary")
		if !found {
			return false
		}
		rest = after
		_, value, _ := strings.Cut(after, "=")
		value = strings.TrimLeft(value, " \t")
		if quoted, isQuoted := strings.CutPrefix(value, `"`); isQuoted {
			value, _, _ = strings.Cut(quoted, `"`)
		} else if end := strings.IndexAny(value, "; \t,"); end >= 0 {
			value = value[:end]
		}
		if bytes.Contains(lower, []byte("--"+value)) || bytes.Contains(lower, []byte("--"+strings.Trim(value, "'"))) {
			return true
		}
	}
}
