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
	var space [192]byte
	return string(k.appendRedisKey(space[:0], prefix))
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

// safe has the bytes of an id that need no escape.
var safe = func() (all [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@.-") {
		all[c] = true
	}
	return all
}()

// appendEncoded appends an id with every byte outside [A-Za-z0-9_@.-] percent-escaped.
func appendEncoded(dst []byte, id string) []byte {
	const digits = "0123456789ABCDEF"
	begin := 0 // of what needs no escape and is not appended yet
	for i := range len(id) {
		if c := id[i]; !safe[c] {
			dst = append(append(dst, id[begin:i]...), '%', digits[c>>4], digits[c&15])
			begin = i + 1
		}
	}
	return append(dst, id[begin:]...)
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
