package record

import (
	"bytes"
	"encoding/json"
)

// Member returns a member of a line of JSON as text: a string unquoted, another value as it is. It
// is "" if the line has none. If objects inside the line have members of this name, the first one
// counts, so members of the line itself must precede those.
func Member(line []byte, name string) string { return string(Raw(line, name)) }

// Raw is Member without a copy: what it returns is part of the line, unless that has escapes.
func Raw(line []byte, name string) []byte {
	var space [32]byte
	pattern := append(append(append(space[:0], '"'), name...), '"', ':') // in a string, its quotes would be escaped
	i := bytes.Index(line, pattern)
	if i < 0 {
		return nil
	}
	value := line[i+len(pattern):]
	if len(value) == 0 || value[0] != '"' {
		return value[:max(bytes.IndexAny(value, ",}]\n"), 0)]
	}
	end := bytes.IndexByte(value[1:], '"') + 1
	if end < 1 {
		return nil
	}
	if bytes.IndexByte(value[:end], '\\') < 0 {
		return value[1:end]
	}
	var text string
	_ = json.NewDecoder(bytes.NewReader(value)).Decode(&text) // "" if the line is damaged
	return []byte(text)
}
