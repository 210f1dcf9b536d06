package config

import (
	"reflect"
	"strings"
	"time"
)

// Schema is the JSON Schema (draft 2020-12) of a configuration file, for editors. It is made from
// the types; words lists what certain keys may say, by dotted key without the numbers of lists,
// like "policy.rules.action". It knows less than Parse: what a value must be beside another one it
// cannot tell.
func Schema(words map[string][]string) map[string]any {
	s := schemer{words: words}
	root := s.object(reflect.TypeFor[Config](), "")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "replygate configuration"
	return root
}

type schemer struct{ words map[string][]string }

// reference matches what the environment will fill in.
const reference = `\$\{[^}]*\}`

// of is the schema of a value.
func (s schemer) of(t reflect.Type, path string) map[string]any {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|ms|s|m|h))+$|^0$|` + reference, "description": "a duration with its unit, like 300ms or 48h"}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "description": "an instant with its zone, like 2026-10-01T00:00:00+08:00"}
	case reflect.TypeFor[Size]():
		return map[string]any{"type": "string", "pattern": `^[0-9]+ ?(B|KB|MB|GB)$|` + reference, "description": "a size with its unit, like 64KB or 1MB"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem(), path)
	case reflect.Slice:
		return map[string]any{"type": "array", "minItems": 1, "items": s.of(t.Elem(), path)}
	case reflect.Struct:
		if t != reflect.TypeFor[Word]() {
			return s.object(t, path)
		}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": []string{"integer", "string"}, "pattern": reference}
	}
	if known := s.words[path]; known != nil {
		return map[string]any{"anyOf": []any{map[string]any{"enum": known}, map[string]any{"type": "string", "pattern": reference}}}
	}
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

// object is the schema of a mapping. A key that ends in [] is another form of the one without it.
func (s schemer) object(t reflect.Type, path string) map[string]any {
	properties := map[string]any{}
	for name, i := range keys(t) {
		field := t.Field(i)
		if name == "-at" {
			continue
		}
		plain := strings.TrimSuffix(name, "[]")
		value := s.of(field.Type, join(path, plain))
		if other, both := properties[plain]; both {
			value = map[string]any{"anyOf": sorted(other, value)}
		}
		properties[plain] = value
		if field.Type == reflect.TypeFor[Secret]() {
			properties[plain+"_file"] = map[string]any{"type": "string", "description": "the file that holds it"}
		}
	}
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
}

// sorted puts the form of a key as a list behind the other one.
func sorted(a, b any) []any {
	if a.(map[string]any)["type"] == "array" {
		return []any{b, a}
	}
	return []any{a, b}
}
