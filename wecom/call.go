package wecom

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode"
)

// Route is what the path of a call can mean.
type Route struct {
	// Path is the canonical path: as sent, but with doubled slashes and a doubled /cgi-bin, which
	// real SDKs send, collapsed. An ambiguous path is kept as sent.
	Path string
	// Endpoint is the only meaning of a plain path, nil if the path is ambiguous.
	Endpoint *Endpoint
	// Readings are the endpoints that lenient servers might route an ambiguous path to. It is empty
	// for a plain path.
	Readings []*Endpoint
}

// Ambiguous reports whether the path has more than one reading. A call with an ambiguous path must
// not pass if any reading is judged; otherwise the path is forwarded as sent.
func (r Route) Ambiguous() bool { return r.Endpoint == nil }

// MayMean returns the first of some paths that the path means, or can be read as; "" if there is
// none.
func (r Route) MayMean(paths ...string) string {
	for _, path := range paths {
		if r.Path == path || slices.ContainsFunc(r.Readings, func(e *Endpoint) bool { return e.Path == path }) {
			return path
		}
	}
	return ""
}

// ReadPath reads the path of a request target as it was sent, without the query.
//
// A path is plain if it is in the catalogue, or consists of lower-case letters, digits, '_', '-'
// and single or doubled slashes and does not end in a slash. It is unconfirmed whether WeCom
// accepts other letter case, dots, escapes or a trailing slash: such paths are ambiguous.
func ReadPath(raw []byte) Route {
	if e, ok := catalogue[string(raw)]; ok { // the common case, without an allocation
		return Route{Path: e.Path, Endpoint: e}
	}
	if !plain(raw) {
		return Route{Path: string(raw), Readings: lenientEndpoints(raw)}
	}
	path := canonical(string(raw))
	return Route{Path: path, Endpoint: Lookup(path)}
}

func plain(raw []byte) bool {
	if len(raw) == 0 || raw[0] != '/' || len(raw) > 1 && raw[len(raw)-1] == '/' {
		return false
	}
	for _, c := range raw {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '/' || c == '-') {
			return false
		}
	}
	return true
}

// canonical collapses doubled slashes and a doubled /cgi-bin.
func canonical(path string) string {
	path = singleSlashes(path)
	for strings.HasPrefix(path, "/cgi-bin/cgi-bin/") {
		path = path[len("/cgi-bin"):]
	}
	return path
}

func singleSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
}

// lenientEndpoints lists the endpoints that a lenient server could route an ambiguous path to.
func lenientEndpoints(raw []byte) []*Endpoint {
	var all []*Endpoint
	for _, p := range lenientPaths(raw) {
		if e := Lookup(p); !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all
}

// lenientPaths lists the canonical paths that a lenient server could read an ambiguous path as.
// Escapes are decoded until none is left, letters are lower-cased and backslashes become slashes.
// Path parameters are kept or cut in either of two ways, dots are kept, dropped or resolved, blanks
// at the ends are kept or trimmed, and the text after '#', '?' or NUL is kept or cut.
func lenientPaths(raw []byte) []string {
	paths := []string{strings.ReplaceAll(strings.ToLower(decodeFully(string(raw))), `\`, "/")}
	for _, ways := range leniency {
		var read []string
		for _, p := range paths {
			for _, way := range ways {
				if p := way(p); !slices.Contains(read, p) { // most variants change nothing
					read = append(read, p)
				}
			}
		}
		paths = read
	}
	for i, p := range paths {
		paths[i] = canonical("/" + strings.Trim(canonical(p), "/"))
	}
	return paths
}

// leniency lists the normalisation steps of lenient servers, with the variants of each step.
var leniency = [][]func(string) string{
	{asIs, cutEnd},
	{asIs, cutSegmentParams, cutAtFirstParam},
	{asIs, dropDots, resolveDots},
	{asIs, strings.TrimSpace},
}

func asIs(path string) string { return path }

func cutEnd(path string) string {
	if i := strings.IndexAny(path, "#?\x00"); i >= 0 {
		return path[:i]
	}
	return path
}

// decodeFully decodes percent escapes (RFC 3986, section 2.1) until none is left. Escapes never
// overlap, so their order does not matter: one pass that checks the end of the output after each
// byte is linear in the length of s.
func decodeFully(s string) string {
	first := strings.IndexByte(s, '%')
	if first < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:first]...)
	for i := first; i < len(s); i++ {
		out = append(out, s[i])
		for n := len(out); endsInEscape(out); n = len(out) {
			out = append(out[:n-3], byte(hexDigit(out[n-2])<<4|hexDigit(out[n-1])))
		}
	}
	return string(out)
}

func endsInEscape(b []byte) bool {
	n := len(b)
	return n >= 3 && b[n-3] == '%' && hexDigit(b[n-2]) >= 0 && hexDigit(b[n-1]) >= 0
}

// unescape decodes the well-formed percent escapes once, and '+' as a space if plus is set. Other
// bytes are kept.
func unescape(s string, plus bool) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
		case s[i] == '+' && plus:
			out = append(out, ' ')
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func cutAtFirstParam(p string) string {
	p, _, _ = strings.Cut(p, ";")
	return p
}

func cutSegmentParams(p string) string {
	if strings.IndexByte(p, ';') < 0 {
		return p
	}
	out := make([]byte, 0, len(p))
	cut := false
	for i := range len(p) {
		switch p[i] {
		case ';':
			cut = true
		case '/':
			cut = false
		}
		if !cut {
			out = append(out, p[i])
		}
	}
	return string(out)
}

func dropDots(p string) string {
	out := make([]byte, 0, len(p)+1)
	for s := range strings.SplitSeq(p, "/") {
		if s = strings.Trim(s, ". "); s != "" {
			out = append(append(out, '/'), s...)
		}
	}
	return orRoot(out)
}

func resolveDots(p string) string {
	out := make([]byte, 0, len(p)+1)
	for s := range strings.SplitSeq(p, "/") {
		switch s {
		case "", ".":
		case "..":
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
		default:
			out = append(append(out, '/'), s...)
		}
	}
	return orRoot(out)
}

func orRoot(path []byte) string {
	if len(path) == 0 {
		return "/"
	}
	return string(path)
}

// errRepeated reports a query that some server could read as carrying a parameter twice, or under a
// variant of its name.
var errRepeated = errors.New("the query can be read as carrying the parameter twice")

// singleParam returns the decoded value of a query parameter. It fails with errRepeated if the
// parameter occurs twice, in other letter case or with escapes in its name, or after a ';', which
// some servers treat as '&'.
func singleParam(query []byte, name string) (value string, found bool, err error) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		key, val, _ := bytes.Cut(pair, []byte{'='})
		plain := string(key) == name
		if plain && found || holdsName(pair, name, plain) {
			return "", false, errRepeated
		}
		if plain {
			found = true
			value = unescape(string(val), true)
		}
	}
	return value, found, nil
}

// holdsName reports whether a server that also splits at ';' would find name in pair. plain says
// that pair begins with the plain name, which does not count.
func holdsName(pair []byte, name string, plain bool) bool {
	for first := true; len(pair) > 0; first = false {
		var part []byte
		part, pair, _ = bytes.Cut(pair, []byte{';'})
		key, _, _ := bytes.Cut(part, []byte{'='})
		if !(first && plain) && sameName(key, name) {
			return true
		}
	}
	return false
}

// sameName reports whether a lenient server could read key as name: after decoding, in any letter
// case, with blanks around it, cut at NUL, or with the "[]" that PHP uses for lists.
func sameName(key []byte, name string) bool {
	if len(key) < len(name) {
		return false
	}
	k := strings.TrimFunc(decodeFully(unescape(string(key), true)), func(r rune) bool { return r <= ' ' || unicode.IsSpace(r) })
	k, _, _ = strings.Cut(k, "[")
	k, _, _ = strings.Cut(k, "\x00")
	return strings.EqualFold(k, name)
}
