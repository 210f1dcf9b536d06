package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Setting is one value of a configuration, and where it comes from.
type Setting struct {
	Key    string // dotted, with the index of list items
	Value  any    // bool, int or string; of a secret whether it is set; of a URL no query
	Secret bool
	From   Position // zero: it is the default
}

// Settings lists all values of the configuration in the order of Config: outside lists also those
// that have their default, in lists only those that are given.
func (c *Config) Settings() []Setting {
	l := settingsList{config: c}
	l.walk(reflect.ValueOf(*c), "")
	return l.all
}

type settingsList struct {
	config *Config
	all    []Setting
}

func (l *settingsList) walk(v reflect.Value, path string) {
	switch {
	case v.Type() == reflect.TypeFor[Word](), isScalar(v.Type()):
		l.add(v, path)
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			l.walk(v.Elem(), path)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			l.walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			name, field := v.Type().Field(i).Tag.Get("yaml"), v.Field(i)
			switch {
			case field.Type() == reflect.TypeFor[None]() && field.Bool(): // the word replaces the mapping
				from, _ := l.origin(path)
				l.all = append(l.all, Setting{Key: path, Value: "none", From: from})
			case name != "" && name != "-":
				l.walk(field, join(path, strings.TrimSuffix(name, "[]")))
			}
		}
	}
}

func (l *settingsList) add(v reflect.Value, path string) {
	from, given := l.origin(path)
	if inList := strings.Contains(path, "["); inList && !given && v.IsZero() {
		return
	}
	if path == "policy.ruleset" && len(l.config.Policy.Rulesets) > 0 { // the list form is given
		return
	}
	secret := v.Type() == reflect.TypeFor[Secret]()
	l.all = append(l.all, Setting{Key: path, Value: plainValue(v), Secret: secret, From: from})
}

// origin returns where a value was given. An item of a list that has no position of its own is
// where the list is.
func (l *settingsList) origin(path string) (at Position, given bool) {
	if at, given = l.config.where[path]; given {
		return at, true
	}
	for strings.HasSuffix(path, "]") {
		path = path[:strings.LastIndexByte(path, '[')]
		if at, given = l.config.where[path]; given {
			return at, true
		}
	}
	return Position{}, false
}

// plainValue is a value as a file would give it, and of a secret whether it is set.
func plainValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Secret:
		return map[bool]string{true: "set", false: "unset"}[x != ""]
	case Word:
		return x.Text
	case Size:
		return x.String()
	case time.Duration:
		return shortDuration(x)
	case time.Time:
		return x.Format(time.RFC3339)
	case *int:
		return *x
	case string:
		return shownText(x)
	case bool, int:
		return x
	}
	return fmt.Sprint(v.Interface())
}

// shownText is a text, and of a URL what is no secret: webhooks take tokens in the query.
func shownText(text string) string {
	u := httpURL(text)
	if u == nil || !hasExtras(u) {
		return text
	}
	shown := u.Scheme + "://"
	if u.User != nil {
		shown += url.PathEscape(u.User.Username()) + ":***@"
	}
	if shown += u.Host + u.EscapedPath(); u.RawQuery != "" {
		shown += "?***"
	}
	return shown
}

// shortDuration writes a duration without the units that are zero: 48h instead of 48h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
