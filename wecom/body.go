package wecom

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Facts are the properties of a judged call that rules depend on: the recipients and the kind of
// message.
type Facts struct {
	Channel   string   // open_kfid, "" if the call names none
	Customers []string // external_userids, in the order given
	Groups    []string // chat_ids
	Code      string   // one-time code or task id that identifies the recipient
	MsgType   string
	Implicit  bool       // the call reaches customers that it does not name
	Also      Capability // a second capability, given by the body, or ""
	Lenient   bool       // the body is not strictly valid JSON, so it must not be rewritten
}

// MaxID is the maximum length in bytes of an id.
const MaxID = 128

// maxRecipients is the maximum number of ids in one call. WeCom's longest list, of
// add_msg_template, has 10,000 (DOC 92135).
const maxRecipients = 10_000

// ReadFacts parses a judged call of e. A call that two servers could read differently is ambiguous:
// the error says what is wrong with it, without quoting the call.
//
// The body must be one JSON object with nothing after it. Names and values that are read must occur
// once, without anything that parsers treat differently. The rest may be as malformed as bots send
// it, with one exception: some parsers stop at a malformed member and act on what came before it.
// So nothing malformed may precede a recipient if the call would then reach somebody else.
func (e *Endpoint) ReadFacts(query, body []byte) (Facts, error) {
	r := readers.Get().(*reader)
	defer r.done()
	for i := range e.fields.query {
		q := &e.fields.query[i]
		v, found, err := singleParam(query, q.path[0])
		if err != nil {
			return Facts{}, fmt.Errorf("the query can be read as carrying %s twice", q.path[0])
		}
		if !found {
			continue
		}
		if err := checkQueryValue(v); err != nil {
			return Facts{}, fmt.Errorf("%s in the query %w", q.path[0], err)
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
	f.Lenient = e.fields.rest != nil && !jsontext.Value(body).IsValid()
	return f, nil
}

// checkQueryValue is checkPlain for a decoded query value, which some servers decode twice.
func checkQueryValue(v string) error {
	if strings.IndexByte(v, '%') >= 0 {
		return errors.New("is escaped twice")
	}
	return checkPlain([]byte(v))
}

// reader parses one call. It collects the names in ids, so that all strings of Facts share one
// allocation.
type reader struct {
	scanner // of the body

	implicit          bool
	also              Capability
	ids               []byte  // concatenated
	named             []named // in the order of the call
	customers, groups int     // how many of named

	chooses    bool // a call that names nobody reaches recipients of WeCom's choice
	scoped     bool // a field makes the call ignore the customers that it names
	recipients int  // recipients of any kind so far
	stopped    bool // a parser may have stopped before this point and acted on a partial body
}

// named is one value that a call names.
type named struct {
	role Role
	end  int // offset in ids; the value begins at the end of the previous one
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// keptIDs is the capacity, in ids, that a pooled reader may keep.
const keptIDs = 256

// done returns the reader to the pool.
func (r *reader) done() {
	*r = reader{ids: r.ids[:0], named: r.named[:0]}
	if cap(r.named) > keptIDs || cap(r.ids) > keptIDs*MaxID {
		r.ids, r.named = nil, nil
	}
	readers.Put(r)
}

// facts returns what was read.
func (r *reader) facts() Facts {
	f := Facts{Implicit: r.implicit, Also: r.also}
	if r.customers > 0 {
		f.Customers = make([]string, 0, r.customers)
	}
	if r.groups > 0 {
		f.Groups = make([]string, 0, r.groups)
	}
	text, from := string(r.ids), 0
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

// body parses a body.
func (r *reader) body(e *Endpoint, body []byte) error {
	if len(body) == 0 {
		return errors.New("the body is empty; it must be a JSON object")
	}
	r.scanner = scanner{text: body}
	r.chooses = e.fields.implicit
	if bytes.HasPrefix(body, byteOrderMark) {
		r.at = len(byteOrderMark)
		r.stop()
	}
	if r.peek() != '{' {
		if _, err := r.value(); err != nil {
			return whyUnreadable(body, err)
		}
		return errors.New("the body is not a JSON object")
	}
	if err := r.object(&e.fields, ""); err != nil {
		return whyUnreadable(body, err)
	}
	if r.peek(); !r.atEnd() {
		return errors.New("something follows the JSON object in the body")
	}
	if r.scoped && (r.customers > 0 || r.groups == 0) {
		r.implicit = true
	}
	return nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// stop notes that some parser may reject what comes next and act on the members before it. A
// recipient that is named later would then be ambiguous.
func (r *reader) stop() {
	r.stopped = r.stopped || r.chooses || r.recipients > 0
}

// found counts a recipient. It fails if a parser may have stopped earlier.
func (r *reader) found() error {
	r.recipients++
	if r.stopped {
		return errTooLate
	}
	return nil
}

var errTooLate = errors.New("the recipients follow a part of the body at which some parsers stop; name the recipients first")

// object parses one object; outer is the name of the member that holds it, "" at the top.
func (r *reader) object(fs *fields, outer string) error {
	var seen uint64 // bit i: the field fs.body[i] occurred
	r.at++          // {
	for first := true; ; first = false {
		if more, err := r.next('}', first); !more {
			return err
		}
		inner, escaped, err := r.name()
		if err != nil {
			return err
		}
		i, err := fs.known(inner, escaped, outer)
		switch {
		case err != nil:
			return err
		case i < 0:
			r.stop()
			if err := r.skip(1); err != nil {
				return err
			}
			continue
		case seen&(1<<i) != 0:
			return fmt.Errorf("%s occurs twice in the body", fs.body[i].at(outer))
		}
		seen |= 1 << i
		if err := r.member(fs, outer, i); err != nil {
			return err
		}
	}
}

// member parses the value of a member with the name of fs.body[i]. Several fields may share it.
func (r *reader) member(fs *fields, outer string, i int) error {
	name := fs.body[i].at(outer)
	if outer == "" && len(fs.body[i].path) == 2 {
		switch {
		case r.peek() == '{':
			return r.object(fs, name)
		case fs.body[i].role == roleTyped:
			r.stop()
			return r.skip(1)
		}
		return fmt.Errorf("%s must be an object", name)
	}
	value, err := r.value()
	if err != nil {
		return err
	}
	for j := range fs.body {
		if fd := &fs.body[j]; fd.at(outer) == name {
			if err := r.read(fd, name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// known returns the index of the first field with the name inner inside the member outer, -1 if
// there is none. A name that a lenient parser could take for that of a field is an error.
func (fs *fields) known(inner []byte, escaped bool, outer string) (int, error) {
	ambiguous := escaped || !isPlain(inner)
	for i := range fs.body {
		want := fs.body[i].at(outer)
		switch {
		case want == "":
		case !ambiguous && string(inner) == want:
			return i, nil
		case !ambiguous && len(inner) != len(want):
		case ambiguous && strings.EqualFold(lenientName(inner), want), !ambiguous && strings.EqualFold(string(inner), want):
			return -1, fmt.Errorf("a name in the body is a variant of %s, by letter case, escapes, blanks or control characters", want)
		}
	}
	return -1, nil
}

// isPlain reports whether s is printable ASCII without blanks, which every parser reads alike.
func isPlain(s []byte) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// lenientName returns a name as a lenient parser reads it: unescaped, cut at NUL and trimmed.
func lenientName(inner []byte) string {
	name, _, _ := strings.Cut(string(unescapeJSON(inner)), "\x00")
	return strings.TrimFunc(name, isBlank)
}

// isBlank reports whether a parser may drop a rune: white space, control and format characters, and
// the replacement character.
func isBlank(c rune) bool {
	return c <= ' ' || unicode.IsSpace(c) || unicode.In(c, unicode.Cc, unicode.Cf) || c == utf8.RuneError
}

// at returns the member name of the field inside the member outer, "" if it is not in there.
func (f *field) at(outer string) string {
	switch {
	case outer == "":
		return f.path[0]
	case len(f.path) == 2 && f.path[0] == outer:
		return f.path[1]
	}
	return ""
}

// read parses the value of a field.
func (r *reader) read(fd *field, name string, value []byte) error {
	switch kind := value[0]; {
	case fd.role == roleTyped:
		if !fd.fits(value) {
			r.stop()
		}
		return nil
	case kind == 'n': // null counts as absent, but some parsers stop at it
		r.stop()
		return nil
	case fd.role == roleEveryone:
		if s := string(value); s != "0" && s != "false" && s != `"0"` && s != `""` {
			r.implicit = true
			return r.found()
		}
		return nil
	case fd.role == roleAlso && fd.equal == "":
		if string(value) != `""` {
			r.also = fd.value
			if !isCleanString(value) {
				r.stop()
			}
		}
		return nil
	case fd.list && kind == '[':
		return r.list(fd, name, value)
	case !fd.list && kind == '"':
		s, err := plainString(value)
		if err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		return r.take(fd, s)
	case fd.list:
		return fmt.Errorf("%s must be an array of strings", name)
	}
	return fmt.Errorf("%s must be a string", name)
}

// list parses the array of strings of a field.
func (r *reader) list(fd *field, name string, value []byte) error {
	items := scanner{text: value, at: 1}
	for first := true; ; first = false {
		if more, err := items.next(']', first); !more {
			return err
		}
		v, err := items.value()
		if err != nil {
			return err
		}
		if v[0] != '"' {
			return fmt.Errorf("%s must be an array of strings", name)
		}
		s, err := plainString(v)
		if err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		if err := r.take(fd, s); err != nil {
			return err
		}
	}
}

// fits reports whether a value has the type of the field and no parser can reject it.
func (f *field) fits(value []byte) bool {
	if f.value == "bool" {
		return value[0] == 't' || value[0] == 'f'
	}
	return isCleanString(value)
}

// isCleanString reports whether every parser accepts a JSON value as a string.
func isCleanString(value []byte) bool { return value[0] == '"' && jsontext.Value(value).IsValid() }

// The errors of values that parsers read differently.
var (
	errNotUTF8 = errors.New("is not UTF-8, probably GBK; send UTF-8")
	errBroken  = errors.New("holds half of a surrogate pair, or a character that was replaced for being broken")
	errBlank   = errors.New("holds a blank or a control character")
)

// plainString returns the unescaped text of a JSON string, without a copy where there is no escape.
// A string that parsers read differently is an error: C parsers cut it at NUL, others trim blanks,
// and broken characters are dropped or replaced.
func plainString(v []byte) ([]byte, error) {
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		inner = unescapeJSON(inner)
	}
	return inner, checkPlain(inner)
}

// checkPlain returns an error if parsers read an unescaped value differently.
func checkPlain(s []byte) error {
	switch {
	case isPlain(s):
		return nil
	case !utf8.Valid(s):
		return errNotUTF8
	case bytes.ContainsRune(s, utf8.RuneError):
		return errBroken
	case bytes.ContainsFunc(s, isBlank):
		return errBlank
	}
	return nil
}

// unescapeJSON decodes the escapes of a JSON string, which must be well formed. An unpaired
// surrogate becomes U+FFFD.
func unescapeJSON(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...)
		}
		out, s = append(out, s[:i]...), s[i:]
		if s[1] != 'u' {
			out, s = append(out, shortEscapes[s[1]]), s[2:]
			continue
		}
		c, length := rune(hex4(s[2:6])), 6
		if utf16.IsSurrogate(c) {
			low := rune(-1)
			if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
				low = rune(hex4(s[8:12]))
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				length = 12
			}
		}
		out, s = utf8.AppendRune(out, c), s[length:]
	}
	return out
}

var shortEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func hex4(s []byte) (n int) {
	for _, c := range s {
		n = n<<4 | hexDigit(c)
	}
	return n
}

// take records one value according to the role of its field.
func (r *reader) take(fd *field, s []byte) error {
	if fd.role == roleAlso {
		if bytes.EqualFold(s, []byte(fd.equal)) {
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
	case roleScope:
		if string(s) == fd.equal {
			return nil
		}
		r.scoped = true
		return r.found()
	case roleMember:
		r.implicit = true
		return r.found()
	case roleCustomer:
		r.customers++
	case roleGroup:
		r.groups++
	}
	r.ids = append(r.ids, s...)
	r.named = append(r.named, named{role: fd.role, end: len(r.ids)})
	if fd.role == roleChannel || fd.role == roleMsgType {
		return nil
	}
	return r.found()
}

// whyUnreadable explains a structural error of a body without quoting it, so that message text and
// ids stay out of logs. Other errors are returned as they are.
func whyUnreadable(body []byte, err error) error {
	switch {
	case !slices.Contains(structural, err):
		return err
	case err == errDeep:
		return fmt.Errorf("the JSON of the body nests deeper than %d levels", depthLimit)
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
		return errors.New("the body is compressed; send it as plain JSON")
	case bytes.HasPrefix(body, []byte{0xff, 0xfe}), bytes.HasPrefix(body, []byte{0xfe, 0xff}), len(body) > 1 && (body[0] == 0 || body[1] == 0):
		return errors.New("the body is UTF-16; send UTF-8")
	case !utf8.Valid(body):
		return errors.New("the text is not UTF-8, probably GBK, and cannot be read as JSON; send UTF-8")
	case err == errCut:
		return errors.New("the JSON of the body is cut short")
	}
	return fmt.Errorf("the body is not valid JSON: %w", err)
}

// structural lists the errors of a scanner.
var structural = []error{errCut, errDeep, errComma, errValue, errName, errEscape}
