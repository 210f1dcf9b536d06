package record

import (
	"bytes"
	"regexp"
	"slices"
	"sync/atomic"
)

// Redactor takes secrets out of text: the values of names that hold secrets in queries, headers and
// JSON, and secrets that it was told of, wherever they stand.
type Redactor struct {
	secrets atomic.Pointer[[][]byte]
}

// minSecret is the length in bytes of the shortest secret that is redacted wherever it occurs.
const minSecret = 6

// NewRedactor knows secrets beforehand: those of the configuration. One of fewer than six bytes is
// left alone: it would black out the words of the log.
func NewRedactor(secrets ...string) *Redactor {
	r := &Redactor{}
	r.secrets.Store(&[][]byte{})
	r.AddSecrets(secrets...)
	return r
}

// AddSecrets adds secrets, of a configuration that replaces another one. Those before stay known.
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

// redactedMark stands where a secret was.
var redactedMark = []byte("***")

// secretName matches the names of WeCom's credentials, in queries and JSON alike (tokens, secrets,
// keys and one-time codes of the server API), and the header of the admin API's keys.
const secretName = `(?:[a-z_]*access_token|[a-z_]*secret|encoding_?aes_?key|permanent_code|auth_code|suite_ticket|jsapi_ticket|session_key|pre_auth_code|register_code|response_code|welcome_code|msg_code|msg_signature|password|change_key|read_key|metrics_key|key|code|token|ticket)`

var (
	inQuery  = regexp.MustCompile(`(?i)((?:^|[?&; "'\\])` + secretName + `=)[^&\s"'\\,;)]+`)
	inJSON   = regexp.MustCompile(`(?i)(\\*"` + secretName + `\\*"\s*:\s*\\*")[^"\\]+`)
	inHeader = regexp.MustCompile(`(?i)((?:authorization|cookie)\\*"?\s*[:=]\s*\\*"?(?:bearer |basic )?)[^\s"\\,;]+`)
	bearer   = regexp.MustCompile(`(?i)(bearer )[^\s"\\,;]+`)
)

// mayContainSecret tells, fast, whether a text could hold a secret behind a name: behind '=', in JSON within
// a string, or in a header.
func mayContainSecret(text []byte) bool {
	if bytes.IndexByte(text, '=') >= 0 || bytes.IndexByte(text, '\\') >= 0 {
		return true
	}
	for _, header := range [][]byte{[]byte("Bearer "), []byte("bearer "), []byte("uthorization"), []byte("Cookie")} {
		if bytes.Contains(text, header) {
			return true
		}
	}
	return false
}

// hasSecretKey tells whether a JSON object could have a member with the name of a secret.
func hasSecretKey(text []byte) bool {
	for {
		i := bytes.Index(text, []byte(`":`))
		if i < 0 {
			return false
		}
		if i > 0 && endsLikeSecret(text[:i]) {
			return true
		}
		text = text[i+2:]
	}
}

// endsLikeSecret tells whether a member's name ends as those of secrets do.
func endsLikeSecret(name []byte) bool {
	var ends []string
	switch name[len(name)-1] {
	case 'n':
		ends = []string{"token"}
	case 't':
		ends = []string{"secret", "ticket"}
	case 'e':
		ends = []string{"_code", `"code`, "signature"}
	case 'd':
		ends = []string{"password"}
	case 'y':
		ends = []string{"_key", "eskey", `"key`}
	}
	for _, end := range ends {
		if bytes.HasSuffix(name, []byte(end)) {
			return true
		}
	}
	return false
}

// Redact returns the text without secrets, the text itself if it has none.
func (r *Redactor) Redact(text []byte) []byte {
	text = r.redactKnown(text)
	if !mayContainSecret(text) && !hasSecretKey(text) {
		return text
	}
	return redactNamed(text)
}

// RedactRecords is Redact for lines of a Log: the names of their members are the gateway's own.
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
