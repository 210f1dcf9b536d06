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
	r := readers.Get().(*reader)
	defer r.done()
	for i := range e.fields.query {
		q := &e.fields.query[i]
		v, found, err := one(query, q.path[0])
		if err != nil {
			return Facts{}, fmt.Errorf("the query can be read as carrying %s twice", q.path[0])
		}
		if !found {
			continue
		}
		if err := r.take(q, []byte(v)); err != nil {
			return Facts{}, err
		}
	}
	if len(e.fields.body) > 0 {
		if err := r.body(e, body); err != nil {
			return Facts{}, err
		}
	}
	f := r.facts()
	if e.fields.implicit && len(f.Customers) == 0 && len(f.Groups) == 0 {
		f.Implicit = true
	}
	return f, nil
}

// reader reads a call. What that names lies in text until all is known, so that the strings of Facts
// are parts of one.
type reader struct {
	dec *jsontext.Decoder
	buf bytes.Buffer // of dec

	implicit          bool
	also              Capability
	text              []byte
	named             []named // in the order given
	customers, groups int     // of named
}

// named is something that a call names.
type named struct {
	role Role
	end  int // in the text; it begins where the one before ends
}

var readers = sync.Pool{New: func() any { return &reader{dec: jsontext.NewDecoder(new(bytes.Buffer))} }}

// keptIDs bounds the memory that a reader keeps for other calls.
const keptIDs = 256

// done keeps the memory of a reader for other calls.
func (r *reader) done() {
	*r = reader{dec: r.dec, text: r.text[:0], named: r.named[:0]}
	if cap(r.named) > keptIDs || cap(r.text) > keptIDs*MaxID {
		r.text, r.named = nil, nil
	}
	readers.Put(r)
}

// facts are what was read.
func (r *reader) facts() Facts {
	f := Facts{Implicit: r.implicit, Also: r.also}
	if r.customers > 0 {
		f.Customers = make([]string, 0, r.customers)
	}
	if r.groups > 0 {
		f.Groups = make([]string, 0, r.groups)
	}
	text, from := string(r.text), 0
	for _, n := range r.named {
		s := text[from:n.end]
		from = n.end
		switch n.role {
		case roleCustomer:
			f.Customers = append(f.Customers, s)
		case roleGroup:
			f.Groups = append(f.Groups, s)
		case roleChannel:
			f.Channel = s
		case roleCode:
			f.Code = s
		case roleMsgType:
			f.MsgType = s
		}
	}
	return f
}

// body reads a body.
func (r *reader) body(e *Endpoint, body []byte) error {
	if len(body) == 0 {
		return errors.New("the body is empty; it must be a JSON object")
	}
	if tooDeep(body) {
		return fmt.Errorf("the JSON of the body nests deeper than %d levels", depthLimit)
	}
	r.buf = *bytes.NewBuffer(body)
	r.dec.Reset(&r.buf)
	if r.dec.PeekKind() != '{' {
		if _, err := r.dec.ReadToken(); err != nil {
			return jsonError(err)
		}
		return errors.New("the body is not a JSON object")
	}
	if err := r.object(&e.fields, ""); err != nil {
		return err
	}
	if _, err := r.dec.ReadToken(); err != io.EOF {
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

// object walks one object; outer is the name of the member that holds it, "" at the top.
func (r *reader) object(fs *fields, outer string) error {
	if _, err := r.dec.ReadToken(); err != nil { // {
		return jsonError(err)
	}
	for {
		if r.dec.PeekKind() == '}' {
			_, err := r.dec.ReadToken()
			return jsonError(err)
		}
		raw, err := r.dec.ReadValue()
		if err != nil {
			return jsonError(err)
		}
		name, err := fs.known(raw, outer)
		if err != nil {
			return err
		}
		switch {
		case name == "":
			err = jsonError(r.dec.SkipValue())
		case outer == "" && fs.holds(name):
			if r.dec.PeekKind() != '{' {
				return fmt.Errorf("%s must be an object", name)
			}
			err = r.object(fs, name)
		default:
			err = r.field(fs, outer, name)
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

// field reads the value of a member into every field that stands there.
func (r *reader) field(fs *fields, outer, name string) error {
	value, err := r.dec.ReadValue()
	if err != nil {
		return jsonError(err)
	}
	for i := range fs.body {
		fd := &fs.body[i]
		if fd.at(outer) != name || outer == "" && len(fd.path) == 2 {
			continue
		}
		if err := r.value(fd, name, value); err != nil {
			return err
		}
	}
	return nil
}

// value takes a JSON value for a field.
func (r *reader) value(fd *field, name string, value jsontext.Value) error {
	switch kind := value.Kind(); {
	case kind == 'n': // null is as good as absent
		return nil
	case fd.role == roleEveryone:
		if s := string(value); s != "0" && s != "false" {
			r.implicit = true
		}
		return nil
	case fd.list && kind == '[':
		return r.list(fd, name, value)
	case !fd.list && kind == '"':
		s, err := unquote(value)
		if err != nil {
			return err
		}
		return r.take(fd, s)
	case fd.role == roleAlso: // present in a shape we do not know: it counts
		r.also = fd.value
		return nil
	case fd.list:
		return fmt.Errorf("%s must be an array of strings", name)
	}
	return fmt.Errorf("%s must be a string", name)
}

// list takes an array for a field.
func (r *reader) list(fd *field, name string, value jsontext.Value) error {
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
		if err := r.take(fd, s); err != nil {
			return err
		}
	}
	return nil
}

// unquote returns what a JSON string says, as a part of it where it can.
func unquote(v jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	u, err := jsontext.AppendUnquote(nil, v)
	return u, jsonError(err)
}

// take files one value under its role.
func (r *reader) take(fd *field, s []byte) error {
	if fd.role == roleAlso {
		if fd.equal == "" && len(s) > 0 || fd.equal != "" && bytes.EqualFold(bytes.TrimSpace(s), []byte(fd.equal)) {
			r.also = fd.value
		}
		return nil
	}
	if len(s) == 0 {
		return nil
	}
	if fd.role != roleCode && len(s) > MaxID {
		return fmt.Errorf("%s is longer than the %d bytes of any WeCom id", strings.Join(fd.path, "."), MaxID)
	}
	if r.customers+r.groups >= maxRecipients {
		return fmt.Errorf("the call names more than %d recipients", maxRecipients)
	}
	switch fd.role {
	case roleMember:
		r.implicit = true
		return nil
	case roleEveryone:
		r.implicit = r.implicit || string(s) != "0"
		return nil
	case roleCustomer:
		r.customers++
	case roleGroup:
		r.groups++
	}
	r.text = append(r.text, s...)
	r.named = append(r.named, named{role: fd.role, end: len(r.text)})
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
