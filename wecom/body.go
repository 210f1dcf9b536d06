package wecom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Facts are what the gateway reads from a judged call: whom it reaches, and how.
type Facts struct {
	Channel   string   // open_kfid, "" if the call names none
	Customers []string // external_userids, in the order given
	Groups    []string // chat_ids
	Code      string   // one-time code or task id that stands for a recipient
	MsgType   string
	Implicit  bool       // the call reaches customers that it does not name
	Also      Capability // a second capability that the call has because of its body, or ""
}

// MaxID is the length in bytes of the longest id that a call may carry.
const MaxID = 128

// maxRecipients bounds the ids of one call; WeCom's own longest list has 10,000 (add_msg_template).
const maxRecipients = 10_000

// depthLimit bounds the nesting of a judged body. WeCom's deepest samples have about eight levels.
const depthLimit = 64

// ReadFacts reads a judged call of e strictly. The body must have exactly one reading: one JSON object,
// valid UTF-8, no name twice at any depth, nothing behind it, and no name that differs from one we read
// by letter case or escapes alone. An error says what is wrong, without quoting the call.
func (e *Endpoint) ReadFacts(query, body []byte) (Facts, error) {
	var f Facts
	for i := range e.fields.query {
		q := &e.fields.query[i]
		v, found, err := one(query, q.path[0])
		if err != nil {
			return Facts{}, fmt.Errorf("the query can be read as carrying %s twice", q.path[0])
		}
		if !found {
			continue
		}
		if err := f.take(q, v); err != nil {
			return Facts{}, err
		}
	}
	if len(e.fields.body) > 0 {
		if err := e.readBody(body, &f); err != nil {
			return Facts{}, err
		}
	}
	if e.fields.implicit && len(f.Customers) == 0 && len(f.Groups) == 0 {
		f.Implicit = true
	}
	return f, nil
}

var decoders = sync.Pool{New: func() any { return &decoder{dec: jsontext.NewDecoder(new(bytes.Buffer))} }}

type decoder struct {
	dec *jsontext.Decoder
	buf bytes.Buffer
}

func (e *Endpoint) readBody(body []byte, f *Facts) error {
	if len(body) == 0 {
		return errors.New("the body is empty; it must be a JSON object")
	}
	if tooDeep(body) {
		return fmt.Errorf("the JSON of the body nests deeper than %d levels", depthLimit)
	}
	d := decoders.Get().(*decoder)
	defer func() {
		d.buf = bytes.Buffer{}
		decoders.Put(d)
	}()
	d.buf = *bytes.NewBuffer(body)
	d.dec.Reset(&d.buf)
	if d.dec.PeekKind() != '{' {
		if _, err := d.dec.ReadToken(); err != nil {
			return jsonError(err)
		}
		return errors.New("the body is not a JSON object")
	}
	if err := e.readObject(d.dec, "", f); err != nil {
		return err
	}
	if _, err := d.dec.ReadToken(); err != io.EOF {
		return errors.New("something follows the JSON object in the body")
	}
	return nil
}

// tooDeep tells whether a body nests deeper than depthLimit. It need not be valid JSON.
func tooDeep(body []byte) bool {
	if bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= depthLimit {
		return false // as with nearly all of them
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
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

// readObject walks one object; outer is the name of the member that holds it, "" at the top.
func (e *Endpoint) readObject(dec *jsontext.Decoder, outer string, f *Facts) error {
	if _, err := dec.ReadToken(); err != nil { // {
		return jsonError(err)
	}
	for {
		if dec.PeekKind() == '}' {
			_, err := dec.ReadToken()
			return jsonError(err)
		}
		raw, err := dec.ReadValue()
		if err != nil {
			return jsonError(err)
		}
		name, err := e.fields.known(raw, outer)
		if err != nil {
			return err
		}
		switch {
		case name == "":
			err = jsonError(dec.SkipValue())
		case outer == "" && e.fields.holds(name):
			if dec.PeekKind() != '{' {
				return fmt.Errorf("%s must be an object", name)
			}
			err = e.readObject(dec, name, f)
		default:
			err = e.readField(dec, outer, name, f)
		}
		if err != nil {
			return err
		}
	}
}

// known returns the name we read that the quoted name raw is, "" if it is none. A name that only
// differs from one by letter case, or is spelt with escapes, has two readings.
func (fs *fields) known(raw jsontext.Value, outer string) (string, error) {
	inner := raw[1 : len(raw)-1]
	escaped := bytes.IndexByte(inner, '\\') >= 0
	if escaped {
		u, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return "", jsonError(err)
		}
		inner = u
	}
	for i := range fs.body {
		want := fs.body[i].at(outer)
		if want == "" {
			continue
		}
		if string(inner) == want && !escaped {
			return want, nil
		}
		if strings.EqualFold(string(inner), want) {
			return "", fmt.Errorf("a name in the body is %s in another spelling", want)
		}
	}
	return "", nil
}

// at returns the member name that leads to the field at the level of outer, "" if it is not there.
func (f *field) at(outer string) string {
	switch {
	case outer == "":
		return f.path[0]
	case len(f.path) == 2 && f.path[0] == outer:
		return f.path[1]
	}
	return ""
}

// holds tells whether a field stands inside the top-level member name.
func (fs *fields) holds(name string) bool {
	for i := range fs.body {
		if len(fs.body[i].path) == 2 && fs.body[i].path[0] == name {
			return true
		}
	}
	return false
}

// readField reads the value of a member into every field that stands there.
func (e *Endpoint) readField(dec *jsontext.Decoder, outer, name string, f *Facts) error {
	value, err := dec.ReadValue()
	if err != nil {
		return jsonError(err)
	}
	for i := range e.fields.body {
		fd := &e.fields.body[i]
		if fd.at(outer) != name || outer == "" && len(fd.path) == 2 {
			continue
		}
		if err := f.takeJSON(fd, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (f *Facts) takeJSON(fd *field, name string, value jsontext.Value) error {
	switch kind := value.Kind(); {
	case kind == 'n': // null is as good as absent
		return nil
	case fd.role == roleEveryone:
		if s := string(value); s != "0" && s != "false" {
			f.Implicit = true
		}
		return nil
	case fd.list && kind == '[':
		return f.takeList(fd, name, value)
	case !fd.list && kind == '"':
		s, err := unquote(value)
		if err != nil {
			return err
		}
		return f.take(fd, s)
	case fd.role == roleAlso: // present in a shape we do not know: it counts
		f.Also = fd.value
		return nil
	case fd.list:
		return fmt.Errorf("%s must be an array of strings", name)
	}
	return fmt.Errorf("%s must be a string", name)
}

func (f *Facts) takeList(fd *field, name string, value jsontext.Value) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(value))
	if _, err := dec.ReadToken(); err != nil { // [
		return jsonError(err)
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return jsonError(err)
		}
		if v.Kind() != '"' {
			return fmt.Errorf("%s must be an array of strings", name)
		}
		s, err := unquote(v)
		if err != nil {
			return err
		}
		if err := f.take(fd, s); err != nil {
			return err
		}
	}
	return nil
}

func unquote(v jsontext.Value) (string, error) {
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), nil
	}
	u, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return "", jsonError(err)
	}
	return string(u), nil
}

// take files one value under its role.
func (f *Facts) take(fd *field, s string) error {
	if fd.role == roleAlso {
		if fd.equal == "" && s != "" || fd.equal != "" && strings.EqualFold(strings.TrimSpace(s), fd.equal) {
			f.Also = fd.value
		}
		return nil
	}
	if s == "" {
		return nil
	}
	if fd.role != roleCode && len(s) > MaxID {
		return fmt.Errorf("%s is longer than the %d bytes of any WeCom id", strings.Join(fd.path, "."), MaxID)
	}
	if len(f.Customers)+len(f.Groups) >= maxRecipients {
		return fmt.Errorf("the call names more than %d recipients", maxRecipients)
	}
	switch fd.role {
	case roleCustomer:
		f.Customers = append(f.Customers, s)
	case roleGroup:
		f.Groups = append(f.Groups, s)
	case roleChannel:
		f.Channel = s
	case roleMember:
		f.Implicit = true
	case roleEveryone:
		f.Implicit = f.Implicit || s != "0"
	case roleCode:
		f.Code = s
	case roleMsgType:
		f.MsgType = s
	}
	return nil
}

// jsonError tells what is wrong with a body without quoting it: message text and ids stay out of logs.
func jsonError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("a name stands twice in one object of the body")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON of the body is cut short")
	}
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		return fmt.Errorf("the body is not valid JSON at byte %d", s.ByteOffset)
	}
	return errors.New("the body is not valid JSON")
}
