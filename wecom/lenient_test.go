package wecom_test

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"replygate/wecom"
)

// leniency describes a deliberately lenient server. Each of its options exists in the field.
type leniency struct {
	firstWins bool // the first of a repeated name counts, otherwise the last
	foldsCase bool
	trims     bool // trims names and values
	endsAtNUL bool // cuts names and values at NUL
	stopsAt   int  // index of the top-level member at which it stops and acts on those before; -1: none
}

// node is a value as a lenient server parses it.
type node struct {
	kind    byte // { [ " or the first byte of a literal
	text    string
	broken  bool // a string that some parser may reject
	items   []node
	names   []string
	at      []int // offset of each member
	members []node
}

// lenientParser parses anything similar to JSON. It shares no code with the package.
type lenientParser struct {
	b []byte
	i int
}

func (p *lenientParser) blanks() {
	for p.i < len(p.b) && strings.IndexByte(" \t\r\n", p.b[p.i]) >= 0 {
		p.i++
	}
}

func (p *lenientParser) value(depth int) (n node, ok bool) {
	p.blanks()
	if p.i >= len(p.b) || depth > 100 {
		return node{}, false
	}
	n.kind = p.b[p.i]
	switch n.kind {
	case '"':
		from := p.i
		n.text, ok = p.quoted()
		raw := string(p.b[from:p.i])
		n.broken = !utf8.ValidString(raw) || strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' }) ||
			strings.ContainsRune(n.text, utf8.RuneError)
		return n, ok
	case '[', '{':
		end := n.kind + 2
		for p.i++; ; {
			if p.blanks(); p.i >= len(p.b) {
				return n, true
			}
			switch c := p.b[p.i]; {
			case c == end:
				p.i++
				return n, true
			case c == ',':
				p.i++
				continue
			}
			if n.kind == '{' {
				at := p.i
				name, ok := p.quoted()
				if p.blanks(); !ok || p.i >= len(p.b) || p.b[p.i] != ':' {
					return n, true
				}
				p.i++
				n.names, n.at = append(n.names, name), append(n.at, at)
				v, ok := p.value(depth + 1)
				if n.members = append(n.members, v); !ok {
					return n, true
				}
				continue
			}
			v, ok := p.value(depth + 1)
			if !ok {
				return n, true
			}
			n.items = append(n.items, v)
		}
	}
	from := p.i
	for p.i < len(p.b) && strings.IndexByte(",]} \t\r\n", p.b[p.i]) < 0 {
		p.i++
	}
	n.text = string(p.b[from:p.i])
	return n, p.i > from
}

func (p *lenientParser) quoted() (string, bool) {
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		return "", false
	}
	var out []byte
	for p.i++; p.i < len(p.b); p.i++ {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return string(out), true
		case c == '\\' && p.i+1 < len(p.b):
			p.i++
			switch e := p.b[p.i]; e {
			case 'n':
				out = append(out, '\n')
			case 't':
				out = append(out, '\t')
			case 'r':
				out = append(out, '\r')
			case 'b':
				out = append(out, '\b')
			case 'f':
				out = append(out, '\f')
			case 'u':
				r := p.hex()
				if after := p.i + 1; utf16.IsSurrogate(r) && bytes.HasPrefix(p.b[after:], []byte(`\u`)) {
					p.i = after + 1
					if whole := utf16.DecodeRune(r, p.hex()); whole != utf8.RuneError {
						r = whole
					} else {
						p.i = after - 1
					}
				}
				out = utf8.AppendRune(out, r)
			default:
				out = append(out, e)
			}
		default:
			out = append(out, c)
		}
	}
	return string(out), false
}

// hex parses the four digits after \u and stops at the last one.
func (p *lenientParser) hex() (r rune) {
	if p.i+4 < len(p.b) {
		if n, err := strconv.ParseUint(string(p.b[p.i+1:p.i+5]), 16, 16); err == nil {
			r = rune(n)
			p.i += 4
		}
	}
	return r
}

// found is what a server that accepts a body acts on.
type found struct {
	customers     []string
	everybody     bool // customers that the call does not name
	channel, kind string
	addsContact   bool
}

// member returns the member that a server with h takes for name.
func (n node) member(name string, h leniency) (v node, ok bool) {
	for i, m := range n.members {
		if h.stopsAt >= 0 && n.at != nil && i >= h.stopsAt {
			break
		}
		if got := h.plain(n.names[i]); got == name || h.foldsCase && strings.EqualFold(got, name) {
			if v, ok = m, true; h.firstWins {
				return v, true
			}
		}
	}
	return v, ok
}

func (h leniency) plain(s string) string {
	if h.endsAtNUL {
		s, _, _ = strings.Cut(s, "\x00")
	}
	if h.trims {
		s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || unicode.IsSpace(r) })
	}
	return s
}

// reply returns what a server does with a body of kf/send_msg; ok is false if it rejects it.
func (h leniency) reply(top node) (f found, ok bool) {
	text := func(name string) string {
		v, _ := top.member(name, h)
		if v.kind != '"' {
			return ""
		}
		return h.plain(v.text)
	}
	f.channel, f.kind = text("open_kfid"), text("msgtype")
	if customer := text("touser"); customer != "" {
		f.customers = []string{customer}
	}
	kind := f.kind
	if h.foldsCase {
		kind = strings.ToLower(kind)
	}
	f.addsContact = kind == "business_card" || kind == "ca_link"
	return f, len(f.customers) > 0 && f.channel != "" && f.kind != ""
}

// template returns what a server does with a body of add_msg_template. Without customers it chooses
// them.
func (h leniency) template(top node) (f found, ok bool) {
	inner := h
	inner.stopsAt = -1
	list, _ := top.member("external_userid", h)
	for _, item := range list.items {
		if id := inner.plain(item.text); item.kind == '"' && id != "" { // an empty id is nobody
			f.customers = append(f.customers, id)
		}
	}
	chat, _ := top.member("chat_type", h)
	kind := inner.plain(chat.text)
	f.everybody = len(f.customers) == 0 || kind != "" && kind != "single"
	return f, true
}

// stops returns the members at which a server may stop: those whose type is not checked, or that
// contain a broken string.
func stops(top node, checked func(name string, v node) bool) (all []int) {
	all = []int{-1}
	for i, m := range top.members {
		if !checked(top.names[i], m) {
			all = append(all, i)
		}
	}
	return all
}

// checkedInTemplate reports whether the type of a member of add_msg_template is checked.
func checkedInTemplate(name string, v node) bool {
	switch name {
	case "chat_type", "sender":
		return v.kind == '"' && !v.broken
	case "allow_select":
		return v.text == "true" || v.text == "false"
	case "external_userid", "chat_id_list":
		return v.kind == '['
	case "text":
		return v.kind == '{' && len(v.names) == 1 && v.names[0] == "content" && v.members[0].kind == '"' && !v.members[0].broken
	}
	return false
}

// FuzzReaders compares ReadFacts with lenient servers: every server that finds a recipient finds
// the one that is judged.
func FuzzReaders(f *testing.F) {
	for _, c := range cases(f, "wecom/bodies.tsv", 3) {
		f.Add([]byte(c[1]), "application/json")
	}
	for _, c := range sloppyBodies {
		f.Add([]byte(c.body), "application/x-www-form-urlencoded")
	}
	for _, c := range cases(f, "wecom/forms.tsv", 4) {
		f.Add([]byte(strings.ReplaceAll(c[2], `\n`, "\n")), c[1])
	}
	send, template := wecom.Lookup("/cgi-bin/kf/send_msg"), wecom.Lookup("/cgi-bin/externalcontact/add_msg_template")
	f.Fuzz(func(t *testing.T, body []byte, types string) {
		compareReaders(t, send, body, types, leniency.reply, func(name string, v node) bool {
			return slices.Contains([]string{"touser", "open_kfid", "msgtype"}, name) && v.kind == '"'
		})
		compareReaders(t, template, body, types, leniency.template, checkedInTemplate)
	})
}

func compareReaders(t *testing.T, e *wecom.Endpoint, body []byte, types string, act func(leniency, node) (found, bool), checked func(string, node) bool) {
	t.Helper()
	facts, err := e.ReadFacts(nil, body)
	if err == nil {
		err = e.CheckForm(types, body)
	}
	if err != nil {
		return
	}
	ours := found{customers: facts.Customers, everybody: facts.Implicit, channel: facts.Channel, kind: facts.MsgType, addsContact: facts.Also != ""}
	if ours.everybody || len(facts.Groups) > 0 {
		return // the decision does not depend on the customers
	}
	parse := lenientParser{b: bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))}
	top, _ := parse.value(0)
	for _, at := range stops(top, checked) {
		for bits := range 16 {
			h := leniency{bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0, at}
			if theirs, acts := act(h, top); acts && !same(ours, theirs) {
				t.Fatalf("%s %q:\nwe read   %+v\n%+v reads %+v", e.Path, body, ours, h, theirs)
			}
		}
	}
	if strings.Contains(strings.ToLower(types), "form") {
		compareForm(t, e, body, facts)
	}
}

// same reports whether b equals ours, or needs fewer capabilities.
func same(ours, b found) bool {
	return slices.Equal(ours.customers, b.customers) && ours.everybody == b.everybody && ours.channel == b.channel &&
		ours.kind == b.kind && (ours.addsContact || !b.addsContact)
}

// compareForm parses a body as a form. The last of a repeated name counts.
func compareForm(t *testing.T, e *wecom.Endpoint, body []byte, facts wecom.Facts) {
	t.Helper()
	want := map[string]string{"touser": "", "external_userid": "", "open_kfid": facts.Channel, "msgtype": facts.MsgType}
	if len(facts.Customers) == 1 {
		want["touser"], want["external_userid"] = facts.Customers[0], facts.Customers[0]
	}
	read := []string{"touser", "open_kfid", "msgtype"}
	if strings.HasSuffix(e.Path, "template") {
		read = []string{"external_userid"}
	}
	for pair := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '&' }) {
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil {
			continue
		}
		name, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(name)), "[")
		if got, err := url.QueryUnescape(value); err == nil && slices.Contains(read, name) && got != want[name] {
			t.Fatalf("%s %q: a form reader takes %q for %s, we read %q", e.Path, body, got, name, want[name])
		}
	}
}
