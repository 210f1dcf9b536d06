package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	xlanguage "golang.org/x/text/language"

	"replygate/config"
)

// languageCodes are the languages of the pages, as in ?lang= and policy.language.
var languageCodes = []string{config.English, config.Chinese}

// matcher chooses a language by Accept-Language; matched are the languages of its tags. Those who
// read traditional characters get the simplified ones.
var (
	matcher = xlanguage.NewMatcher([]xlanguage.Tag{xlanguage.English, xlanguage.SimplifiedChinese, xlanguage.TraditionalChinese})
	matched = []string{config.English, config.Chinese, config.Chinese}
)

// languageCookie keeps the language that a person has chosen.
const languageCookie = "replygate-lang"

// phrase is a text with placeholders like {name}. One is used where n is 1; Chinese has only other.
type phrase struct{ One, Other string }

// UnmarshalYAML reads a text, or a mapping of one and other.
func (p *phrase) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&p.Other)
	}
	var forms struct{ One, Other string }
	if err := node.Decode(&forms); err != nil {
		return err
	}
	*p = forms
	return nil
}

// texts has the texts of one language by key.
type texts map[string]phrase

// readTexts reads the texts of a language. In all of them {hours} is the length of a window.
func readTexts(code string, window time.Duration) (texts, error) {
	name := "texts." + code + ".yaml"
	data, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	t := texts{}
	if err := yaml.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	hours := strconv.FormatFloat(window.Hours(), 'f', -1, 64)
	for key, p := range t {
		p.Other = strings.ReplaceAll(p.Other, "{hours}", hours)
		t[key] = p
	}
	return t, nil
}

// text returns the text of a key with its placeholders filled in; values are pairs of a name and a
// value. A key without a text, like the reason of a newer gateway, is shown by its last part.
func (t texts) text(key string, values ...any) string {
	p, ok := t[key]
	if !ok {
		return key[strings.LastIndexByte(key, '.')+1:]
	}
	s := p.Other
	filled := map[string]string{}
	for i := 0; i+1 < len(values); i += 2 {
		value := values[i+1]
		if n, isPointer := value.(*int); isPointer {
			value = *n
		}
		if n, isInt := value.(int); isInt && n == 1 && p.One != "" {
			s = p.One
		}
		filled[fmt.Sprint(values[i])] = plain(value)
	}
	return fill(s, filled)
}

// fill fills in placeholders. Between a value that ends in a Latin letter or digit and a Chinese
// character it puts a space, as between such characters anywhere.
func fill(s string, values map[string]string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "{")
		name, after, closed := strings.Cut(rest, "}")
		value, known := values[name]
		switch out.WriteString(before); {
		case !found:
			return out.String()
		case !closed || !known:
			out.WriteByte('{')
			s = rest
			continue
		}
		out.WriteString(value)
		last, _ := utf8.DecodeLastRuneInString(value)
		next, _ := utf8.DecodeRuneInString(after)
		if last < utf8.RuneSelf && (unicode.IsLetter(last) || unicode.IsDigit(last)) && unicode.Is(unicode.Han, next) {
			out.WriteByte(' ')
		}
		s = after
	}
}

// has reports whether a key has a text.
func (t texts) has(key string) bool { _, ok := t[key]; return ok }

// plain writes a value in a text.
func plain(v any) string {
	if n, isInt := v.(int); isInt {
		return number(n)
	}
	return fmt.Sprint(v)
}

// number writes a number with a comma between thousands.
func number(n int) string {
	s := strconv.Itoa(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// left writes how long something lasts, with one or two units.
func (t texts) left(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	days, hours, minutes, seconds := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60, int(d/time.Second)%60
	switch {
	case days >= 8:
		return t.text("left.days", "n", days)
	case days >= 2:
		return t.text("left.days_hours", "d", days, "h", hours)
	case d >= time.Hour:
		return t.text("left.hours", "h", int(d/time.Hour), "m", minutes)
	}
	return fmt.Sprintf("%d:%02d", minutes, seconds)
}

// chooseLanguage returns the language of a request: by ?lang=, which is remembered, the cookie, the
// browser's languages, or policy.language.
func (c *Console) chooseLanguage(w http.ResponseWriter, r *http.Request) *language {
	if l := c.languages[r.URL.Query().Get("lang")]; l != nil {
		http.SetCookie(w, &http.Cookie{Name: languageCookie, Value: l.code, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.overTLS(r)})
		return l
	}
	if cookie, err := r.Cookie(languageCookie); err == nil && c.languages[cookie.Value] != nil {
		return c.languages[cookie.Value]
	}
	if tags, _, err := xlanguage.ParseAcceptLanguage(r.Header.Get("Accept-Language")); err == nil && len(tags) > 0 {
		if _, i, confidence := matcher.Match(tags...); confidence > xlanguage.No {
			return c.languages[matched[i]]
		}
	}
	if l := c.languages[c.Language()]; l != nil {
		return l
	}
	return c.languages[config.English]
}
