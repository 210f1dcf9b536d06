package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Changes returns the dotted keys whose values differ between two configurations, in the order of
// Config. Positions do not matter, and a list is one key. The result is never nil, since it becomes
// a JSON array.
func (c *Config) Changes(other *Config) []string {
	keys := []string{}
	compare(reflect.ValueOf(*c), reflect.ValueOf(*other), "", &keys)
	return keys
}

func compare(a, b reflect.Value, path string, keys *[]string) {
	if a.Kind() == reflect.Struct && !isScalar(a.Type()) && a.Type() != reflect.TypeFor[Word]() {
		for i := range a.NumField() {
			if name := strings.TrimSuffix(a.Type().Field(i).Tag.Get("yaml"), "[]"); name != "" && name != "-" {
				compare(a.Field(i), b.Field(i), join(path, name), keys)
			}
		}
		return
	}
	if canonical(a) != canonical(b) && (len(*keys) == 0 || (*keys)[len(*keys)-1] != path) {
		*keys = append(*keys, path)
	}
}

// canonical encodes a value for comparison, without the positions in it.
func canonical(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[Position]():
		return ""
	case v.Type() == reflect.TypeFor[Secret]():
		return v.Interface().(Secret).Reveal()
	case v.Kind() == reflect.Pointer && v.IsNil():
		return "nil"
	case v.Kind() == reflect.Pointer:
		return canonical(v.Elem())
	case v.Kind() == reflect.Struct && !isScalar(v.Type()):
		var b strings.Builder
		for i := range v.NumField() {
			fmt.Fprintf(&b, "%q,", canonical(v.Field(i)))
		}
		return b.String()
	case v.Kind() == reflect.Slice:
		var b strings.Builder
		for i := range v.Len() {
			fmt.Fprintf(&b, "%q,", canonical(v.Index(i)))
		}
		return b.String()
	}
	return fmt.Sprint(v.Interface())
}

// restartKeys are the keys and sections that a reload does not apply: listeners, connections, files
// and what is sized at the start.
var restartKeys = []string{"listen", "admin", "upstream", "redis", "journal", "window",
	"log.format", "log.decisions", "log.max_size", "log.max_files", "log.ids", "log.ids_key", "shutdown", "limits.streamed_body", "console", "traces"}

// NeedsRestart returns the given keys that take effect only after a restart.
func NeedsRestart(keys []string) (found []string) {
	for _, k := range keys {
		if k == "window.observe" {
			continue
		}
		for _, f := range restartKeys {
			if k == f || strings.HasPrefix(k, f+".") {
				found = append(found, k)
			}
		}
	}
	return found
}
