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
	// Path is the canonical path: as sent, but with doubled slashes and a doubled /cgi-bin made single,
	// which real SDKs send. Of an odd path it is the path as sent.
	Path string
	// Endpoint is the one meaning of a plain path, nil for an odd one.
	Endpoint *Endpoint
	// Readings are what lenient servers might take an odd path for. Empty for a plain one.
	Readings []*Endpoint
}

// Odd tells that the path has more than one reading: a judged one must not pass, any other goes on as
// it came.
func (r Route) Odd() bool { return r.Endpoint == nil }

// ReadPath reads the path of a request target as it was sent, without the query.
//
// A path is plain if it stands in the catalogue, or is made of lower-case letters, digits, '_', '-' and
// single or doubled slashes and does not end in one. Whether WeCom itself takes other letter
// case, dots, escapes or a trailing slash is unconfirmed, so all of those are odd.
func ReadPath(raw []byte) Route {
	if e, ok := catalogue[string(raw)]; ok { // no allocation: the common case
		return Route{Path: e.Path, Endpoint: e}
	}
	if !plain(raw) {
		return Route{Path: string(raw), Readings: readings(raw)}
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

// canonical makes doubled slashes and doubled /cgi-bin single.
func canonical(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	for strings.HasPrefix(path, "/cgi-bin/cgi-bin/") {
		path = path[len("/cgi-bin"):]
	}
	return path
}

// readings lists the endpoints that some lenient server could take an odd path for: with escapes
// decoded until none is left, any letter case, backslashes as slashes, path parameters kept or cut in
// either of two ways, dots kept, dropped or resolved, blanks at the end kept or trimmed, and the text
// behind '#', '?' or NUL kept or cut.
func readings(raw []byte) []*Endpoint {
	var all []*Endpoint
	decoded := strings.ReplaceAll(strings.ToLower(decodeFully(string(raw))), `\`, "/")
	for _, end := range []func(string) string{keep, cutEnd} {
		for _, params := range []func(string) string{keep, cutSegmentParams, cutAtFirstParam} {
			for _, dots := range []func(string) string{keep, dropDots, resolveDots} {
				for _, blanks := range []func(string) string{keep, strings.TrimSpace} {
					path := blanks(dots(params(end(decoded))))
					path = canonical("/" + strings.Trim(canonical(path), "/"))
					if e := Lookup(path); !slices.Contains(all, e) {
						all = append(all, e)
					}
				}
			}
		}
	}
	return all
}

func keep(path string) string { return path }

func cutEnd(path string) string {
	if i := strings.IndexAny(path, "#?\x00"); i >= 0 {
		return path[:i]
	}
	return path
}

// decodeFully undoes percent escapes until none is left.
func decodeFully(s string) string {
	for strings.Contains(s, "%") {
		d := unescape(s, false)
		if d == s {
			return s
		}
		s = d
	}
	return s
}

// unescape decodes the percent escapes that are well formed, and '+' as a blank if plus is set.
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
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

func dropDots(p string) string {
	var kept []string
	for s := range strings.SplitSeq(p, "/") {
		if s = strings.Trim(s, ". "); s != "" {
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func resolveDots(p string) string {
	var kept []string
	for s := range strings.SplitSeq(p, "/") {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// ErrAmbiguousCredential says that a query can be read as carrying another token than the first look
// shows: two of them, or one whose name is spelt in another case or with escapes.
var ErrAmbiguousCredential = errors.New("the query can be read as carrying more than one access_token")

// ReadToken returns the access_token of a query as WeCom would see it, decoded, or "" if there is none.
// WeCom takes a token from the query alone, of POST calls too; one in a body is not a credential.
func ReadToken(query []byte) (string, error) {
	if bytes.IndexByte(query, '#') >= 0 { // a fragment hides the rest from some servers
		return "", ErrAmbiguousCredential
	}
	token, found, err := one(query, "access_token")
	if err != nil || !found {
		return "", err
	}
	return token, nil
}

// one returns the value of the parameter called name. It is an error if the parameter stands there
// twice, if its name is spelt in another case or with escapes, or if it follows a ';', which some
// servers take for an '&'.
func one(query []byte, name string) (value string, found bool, err error) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		key, val, _ := bytes.Cut(pair, []byte{'='})
		plain := string(key) == name
		if plain && found || hidesName(pair, name, plain) {
			return "", false, ErrAmbiguousCredential
		}
		if plain {
			found = true
			value = unescape(string(val), true)
		}
	}
	return value, found, nil
}

// hidesName tells whether a server that splits at ';' too would find name in pair, besides the plain
// one at its beginning.
func hidesName(pair []byte, name string, plain bool) bool {
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

// sameName tells whether a lenient server could take key for name: after decoding, in any case, with
// blanks around it, or with the "[]" that PHP takes for a list.
func sameName(key []byte, name string) bool {
	if len(key) < len(name) {
		return false
	}
	k := strings.TrimFunc(decodeFully(unescape(string(key), true)), func(r rune) bool { return r <= ' ' || unicode.IsSpace(r) })
	k, _, _ = strings.Cut(k, "[")
	k, _, _ = strings.Cut(k, "\x00")
	return strings.EqualFold(k, name)
}
