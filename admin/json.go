package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// whyNoJSON says why a body could not be decoded, in terms of JSON and not of Go.
func whyNoJSON(err error) string {
	var syntax *json.SyntaxError
	var other *json.UnmarshalTypeError
	var instant *time.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON at byte %d: %v", syntax.Offset, syntax)
	case errors.As(err, &other) && other.Field == "":
		return fmt.Sprintf("it must be %s, not %s", kindOf(other.Type), article(other.Value))
	case errors.As(err, &other):
		return fmt.Sprintf("%s: want %s, not %s", other.Field, kindOf(other.Type), article(other.Value))
	case errors.As(err, &instant):
		return fmt.Sprintf("%q is not an instant like 2026-11-22T10:00:00+08:00", instant.Value)
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return "there is no member " + name
	}
	if strings.Contains(err.Error(), "Time.UnmarshalJSON") {
		return "an instant must be a string like 2026-11-22T10:00:00+08:00"
	}
	return "a value has the wrong type"
}

// kindOf names the JSON that a Go type is read from.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "an object"
	}
	return "a whole number"
}

// article puts an article before what encoding/json calls a value: "string", "number 1.5", "array".
func article(value string) string {
	switch kind, number, _ := strings.Cut(value, " "); kind {
	case "number":
		if number != "" {
			return "the number " + number
		}
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	}
	return "a " + value
}
