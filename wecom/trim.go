package wecom

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// TrimBody returns a copy of the body of a call of e with some customers removed from its list. The
// body must be one that ReadFacts accepts. All other bytes are kept.
func (e *Endpoint) TrimBody(body []byte, without []string) ([]byte, error) {
	f := e.fields.list()
	if f == nil {
		return nil, errors.New("the call cannot name several customers")
	}
	start, end, err := findMember(body, f.path[0])
	if err != nil || start == end {
		return nil, errors.New("the list of customers is not where it was read")
	}
	kept, err := listWithout(body[start:end], without)
	if err != nil {
		return nil, err
	}
	return slices.Concat(body[:start], kept, body[end:]), nil
}

// listWithout returns a JSON array of strings without some of them.
func listWithout(list []byte, without []string) ([]byte, error) {
	removed := make(map[string]bool, len(without)) // both lists may have thousands of ids
	for _, id := range without {
		removed[id] = true
	}
	items, out := scanner{text: list, at: 1}, []byte{'['}
	for first := true; ; first = false {
		more, err := items.next(']', first)
		if !more {
			return append(out, ']'), err
		}
		v, err := items.value()
		if err != nil {
			return nil, err
		}
		if v[0] != '"' {
			return nil, errors.New("the list of customers holds other values than strings")
		}
		id, err := plainString(v)
		if err != nil {
			return nil, err
		}
		if removed[string(id)] {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, v...)
	}
}

// ReportRest returns WeCom's answer to a call of e with rest, the customers whom the call did not
// reach, added in the format that WeCom uses for that call. An answer with an errcode is returned
// unchanged, since the call reached nobody. An answer that is not a JSON object is returned
// unchanged with ErrUnreadable.
func (e *Endpoint) ReportRest(answer []byte, rest []string) ([]byte, error) {
	code, err := ReadErrcode(answer)
	if err != nil || e.fields.rest == nil {
		return answer, ErrUnreadable
	}
	if code != CodeOK {
		return answer, nil
	}
	name := e.fields.rest.path[0]
	legible, before, err := object(answer)
	if err != nil {
		return answer, ErrUnreadable
	}
	start, end, err := findMember(legible, name)
	if err != nil {
		return answer, ErrUnreadable
	}
	start, end = start+int64(before), end+int64(before)
	if start == end { // absent: add it as the first member
		open := before + 1
		list := e.restItems(nil, rest)
		out := slices.Concat(answer[:open], []byte(`"`+name+`":[`), list, []byte{']'})
		if bytes.TrimSpace(answer[open:])[0] != '}' {
			out = append(out, ',')
		}
		return append(out, answer[open:]...), nil
	}
	list := bytes.TrimSpace(answer[start:end])
	if list[0] != '[' { // null
		return slices.Concat(answer[:start], []byte{'['}, e.restItems(nil, rest), []byte{']'}, answer[end:]), nil
	}
	items := bytes.TrimSpace(list[1 : len(list)-1])
	return slices.Concat(answer[:start], []byte{'['}, e.restItems(items, rest), []byte{']'}, answer[end:]), nil
}

// restItems appends ids to the items of a list: strings, or objects with an errcode.
func (e *Endpoint) restItems(items []byte, ids []string) []byte {
	out := slices.Clone(items)
	for _, id := range ids {
		if len(out) > 0 {
			out = append(out, ',')
		}
		if e.fields.rest.value == "" {
			out = AppendMember(out, "", id)
			continue
		}
		code, err := strconv.Atoi(string(e.fields.rest.value))
		if err != nil {
			panic("BUG: recipients.tsv: the value of a rest is no errcode")
		}
		out = AppendMember(append(out, '{'), `"external_userid":`, id)
		out = append(strconv.AppendInt(append(out, `,"errcode":`...), int64(code), 10), '}')
	}
	return out
}

// findMember returns the start and end offsets of the value of the last member with the name in a
// JSON object, both 0 if there is none.
func findMember(object []byte, name string) (start, end int64, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(object), lenient)
	if dec.PeekKind() != '{' {
		return 0, 0, ErrUnreadable
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, 0, ErrUnreadable
	}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return 0, 0, ErrUnreadable
		}
		found := key.String() == name
		v, err := dec.ReadValue()
		if err != nil {
			return 0, 0, ErrUnreadable
		}
		if found {
			end = dec.InputOffset()
			start = end - int64(len(v))
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, 0, ErrUnreadable
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return 0, 0, ErrUnreadable
	}
	return start, end, nil
}
