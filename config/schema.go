package config

import (
	"reflect"
	"strings"
	"time"
)

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for editors. It is
// derived from the types; words lists the allowed values of some keys, by dotted key without list
// indexes, like "policy.rules.action". It accepts more than Parse, since it cannot relate one value
// to another.
func Schema(words map[string][]string) map[string]any {
	s := schemaBuilder{words: words}
	root := s.object(reflect.TypeFor[Config](), "")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "replygate configuration"
	return root
}

type schemaBuilder struct{ words map[string][]string }

// envReference matches a value that the environment fills in.
const envReference = `\$\{[^}]*\}`

// value returns the schema of a value of type t at a dotted path.
func (s schemaBuilder) value(t reflect.Type, path string) map[string]any {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|ms|s|m|h))+$|^0$|` + envReference, "description": "a duration with its unit, like 300ms or 48h"}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "description": "an instant with its zone, like 2026-10-01T00:00:00+08:00"}
	case reflect.TypeFor[Percent]():
		return map[string]any{"type": "string", "pattern": `^[0-9]+%$|` + envReference, "description": "a percent with its sign, like 90%"}
	case reflect.TypeFor[Fraction]():
		return map[string]any{"type": "string", "pattern": `^[0-9.]+%$|` + envReference, "description": "a percent with its sign, like 1% or 0.1%"}
	case reflect.TypeFor[Size]():
		return map[string]any{"type": "string", "pattern": `^[0-9]+ ?(B|KB|MB|GB)$|` + envReference, "description": "a size with its unit, like 64KB or 1MB"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.value(t.Elem(), path)
	case reflect.Slice:
		list := map[string]any{"type": "array", "minItems": 1, "items": s.value(t.Elem(), path)}
		if mayBeEmpty(path) {
			delete(list, "minItems")
		}
		return list
	case reflect.Struct:
		if t != reflect.TypeFor[Word]() {
			return s.object(t, path)
		}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": []string{"integer", "string"}, "pattern": envReference}
	}
	if known := s.words[path]; known != nil {
		return map[string]any{"anyOf": []any{map[string]any{"enum": known}, map[string]any{"type": "string", "pattern": envReference}}}
	}
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

// object returns the schema of a mapping. A key with a list form accepts either form.
func (s schemaBuilder) object(t reflect.Type, path string) map[string]any {
	properties := map[string]any{}
	for name, i := range fieldsByKey(t) {
		field := t.Field(i)
		if name == positionField || name == noneField {
			continue
		}
		plain := strings.TrimSuffix(name, "[]")
		value := s.value(field.Type, join(path, plain))
		if other, both := properties[plain]; both {
			value = map[string]any{"anyOf": listLast(other, value)}
		}
		properties[plain] = value
		if hasFile(field.Type) {
			holds := "the file that holds it"
			if field.Type.Kind() == reflect.Slice {
				holds = "the file that holds them, one a line"
			}
			properties[plain+"_file"] = map[string]any{"type": "string", "description": holds}
		}
	}
	mapping := map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	if _, ok := fieldsByKey(t)[noneField]; ok {
		return map[string]any{"anyOf": []any{map[string]any{"enum": []string{"none"}}, mapping}}
	}
	return mapping
}

// listLast orders the two forms of a key, the list form last.
func listLast(a, b any) []any {
	if a.(map[string]any)["type"] == "array" {
		return []any{b, a}
	}
	return []any{a, b}
}
