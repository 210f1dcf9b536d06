package record

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// Redactor replaces secrets in text with ***: the values of keys that hold secrets in queries,
// headers and JSON, and wherever they occur the secrets that it was given. It may be used
// concurrently, but calls of AddSecrets must not overlap.
type Redactor struct {
	secrets atomic.Pointer[[][]byte]
}

// minSecret is the length in bytes of the shortest secret that is redacted wherever it occurs.
const minSecret = 6

// NewRedactor returns a Redactor for secrets, usually those of the configuration. It ignores
// secrets shorter than six bytes, which would match ordinary words.
func NewRedactor(secrets ...string) *Redactor {
	r := &Redactor{}
	r.secrets.Store(&[][]byte{})
	r.AddSecrets(secrets...)
	return r
}

// AddSecrets adds the secrets of a new configuration. Those added before remain.
func (r *Redactor) AddSecrets(secrets ...string) {
	all := slices.Clone(*r.secrets.Load())
	for _, s := range secrets {
		if len(s) >= minSecret && !slices.ContainsFunc(all, func(k []byte) bool { return string(k) == s }) {
			all = append(all, []byte(s))
		}
	}
	slices.SortFunc(all, func(a, b []byte) int { return len(b) - len(a) }) // one may hold another
	r.secrets.Store(&all)
}

// redactedMark replaces a secret.
var redactedMark = []byte("***")

// secretName matches the names of WeCom's credentials in queries and JSON (tokens, secrets, keys
// and one-time codes of the server API), and those of the gateway's own keys.
const secretName = `(?:[a-z_]*access_token|[a-z_]*secret|encoding_?aes_?key|permanent_code|auth_code|suite_ticket|jsapi_ticket|session_key|pre_auth_code|register_code|response_code|welcome_code|msg_code|msg_signature|password|change_key|read_key|metrics_key|key|code|token|ticket)`

// In a record, a quote after a secret's name may also end the string that holds the name. JSON then
// goes on with one of ",:}]", with which no secret begins, so what is replaced stays in its string.
var (
	inQuery  = regexp.MustCompile(`(?i)((?:^|[?&; "'\\])` + secretName + `=)[^&\s"'\\,;)]+`)
	inJSON   = regexp.MustCompile(`(?i)(\\*"` + secretName + `\\*"\s*:\s*\\*")(?:[^\s"\\,:}\]]|\\+/)(?:[^"\\]|\\+/)*`)
	inHeader = regexp.MustCompile(`(?i)((?:authorization|cookie)(?:\\*")?\s*[:=]\s*(?:\\*")?(?:bearer |basic )?)[^\s"\\,;:}\]][^\s"\\,;]*`)
	bearer   = regexp.MustCompile(`(?i)(bearer )[^\s"\\,;]+`)
)

// mayContainSecret reports, faster than the expressions, whether a text can match inQuery, inHeader
// or bearer, or inJSON within a JSON string.
func mayContainSecret(text []byte) bool {
	return bytes.IndexByte(text, '=') >= 0 || bytes.IndexByte(text, '\\') >= 0 ||
		containsFold(text, "authorization", 'z') || containsFold(text, "cookie", 'k') || containsFold(text, "bearer ", 'b')
}

// containsFold reports whether a text contains a lower-case word in any letter case. It searches
// for rare, the letter of the word that is the rarest in records.
func containsFold(text []byte, word string, rare byte) bool {
	offset := strings.IndexByte(word, rare)
	for _, letter := range []byte{rare, rare - 'a' + 'A'} {
		for from := 0; ; from++ {
			i := bytes.IndexByte(text[from:], letter)
			if i < 0 {
				break
			}
			from += i
			start := from - offset
			if start >= 0 && start+len(word) <= len(text) && equalFold(text[start:start+len(word)], word) {
				return true
			}
		}
	}
	return false
}

// equalFold reports whether a text is a lower-case ASCII word in any letter case.
func equalFold(text []byte, word string) bool {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// hasSecretKey reports whether a text can match inJSON outside a JSON string.
func hasSecretKey(text []byte) bool {
	for from := 0; ; from++ {
		i := bytes.IndexByte(text[from:], ':')
		if i < 0 {
			return false
		}
		from += i
		name, quoted := bytes.CutSuffix(bytes.TrimRight(text[:from], " \t\n\f\r"), []byte{'"'})
		if quoted && endsLikeSecret(name) {
			return true
		}
	}
}

// secretEndings has an ending for each name that secretName matches, by its last letter.
var secretEndings = map[byte][]string{
	'n': {"token"},
	't': {"secret", "ticket"},
	'e': {"_code", `"code`, "signature"},
	'd': {"password"},
	'y': {"_key", "eskey", `"key`},
}

// endsLikeSecret reports whether a key ends like those that secretName matches.
func endsLikeSecret(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	for _, end := range secretEndings[name[len(name)-1]|0x20] {
		if len(name) >= len(end) && equalFold(name[len(name)-len(end):], end) {
			return true
		}
	}
	return false
}

// Redact returns the text with its secrets replaced, or the text itself if it has none.
func (r *Redactor) Redact(text []byte) []byte {
	text = r.redactKnown(text)
	if !mayContainSecret(text) && !hasSecretKey(text) {
		return text
	}
	return redactNamed(text)
}

// RedactRecords is a faster Redact for lines of a Log. It does not look for secrets under the
// lines' own JSON keys, which never hold any, but does within their values.
func (r *Redactor) RedactRecords(lines []byte) []byte {
	lines = r.redactKnown(lines)
	if !mayContainSecret(lines) {
		return lines
	}
	return redactNamed(lines)
}

func (r *Redactor) redactKnown(text []byte) []byte {
	for _, s := range *r.secrets.Load() {
		if bytes.Contains(text, s) {
			text = bytes.ReplaceAll(text, s, redactedMark)
		}
	}
	return text
}

func redactNamed(text []byte) []byte {
	for _, p := range []*regexp.Regexp{inQuery, inJSON, inHeader, bearer} {
		if p.Match(text) {
			text = p.ReplaceAll(text, []byte("${1}***"))
		}
	}
	return text
}
