package window

import (
	"fmt"
	"strings"
)

// Key identifies a window. Ids are case-sensitive.
type Key struct {
	Corp     string
	Channel  string // open_kfid, "" where there is none
	Customer string // external_userid
}

// redisKey returns the window's key in Redis. The whole identity is the hash tag, so all keys of
// one customer are in one slot of a Cluster.
func (k Key) redisKey(prefix string) string {
	return string(k.appendRedisKey(make([]byte, 0, len(prefix)+len(k.Corp)+len(k.Channel)+len(k.Customer)+16), prefix))
}

// appendRedisKey appends the window's key in Redis.
func (k Key) appendRedisKey(b []byte, prefix string) []byte {
	b = append(b, prefix...)
	b = k.appendIDs(append(b, "window:{"...))
	return append(b, '}')
}

// appendIDs appends corp:channel:customer.
func (k Key) appendIDs(b []byte) []byte {
	b = appendEncoded(b, k.Corp)
	b = appendEncoded(append(b, ':'), k.Channel)
	return appendEncoded(append(b, ':'), k.Customer)
}

// parseKey is the inverse of redisKey. ok is false for any other key.
func parseKey(prefix, s string) (k Key, ok bool) {
	s, ok = strings.CutPrefix(s, prefix+"window:{")
	if !ok {
		return Key{}, false
	}
	s, ok = strings.CutSuffix(s, "}")
	if !ok {
		return Key{}, false
	}
	return parseIDs(strings.Split(s, ":"))
}

// parseIDs decodes corp, channel and customer.
func parseIDs(parts []string) (Key, bool) {
	ids := [3]string{}
	if len(parts) != len(ids) {
		return Key{}, false
	}
	for i, p := range parts {
		var ok bool
		if ids[i], ok = unescapeID(p); !ok {
			return Key{}, false
		}
	}
	return Key{Corp: ids[0], Channel: ids[1], Customer: ids[2]}, true
}

// safe reports whether a byte of an id needs no escape.
func safe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '@' || c == '.' || c == '-'
}

// appendEncoded appends an id with every byte outside [A-Za-z0-9_@.-] percent-escaped.
func appendEncoded(dst []byte, id string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(id) {
		if c := id[i]; safe(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// EscapeID returns an id as keys have it.
func EscapeID(id string) string { return string(appendEncoded(nil, id)) }

// unescapeID is the inverse of appendEncoded.
func unescapeID(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		var c byte
		if i+2 >= len(s) {
			return "", false
		}
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &c); err != nil {
			return "", false
		}
		out = append(out, c)
		i += 2
	}
	return string(out), true
}
