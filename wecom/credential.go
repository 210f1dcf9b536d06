package wecom

import (
	"bytes"
	"slices"
	"strings"
)

// MaxTokens is the number of different tokens in one query that ReadTokens distinguishes.
const MaxTokens = 4

// ReadTokens appends to dst, which must be empty, the decoded access tokens that servers could find
// in a query: usually one, none, or several, with "" among them if some servers would find none.
// It is unknown which of several WeCom uses: the first or the last, one whose name has another
// letter case or escapes, or one after a ';' or a '#'. At most MaxTokens+1 tokens are returned.
//
// WeCom reads the token from the query only, for POST calls too; one in a body is no credential.
func ReadTokens(dst []string, query []byte) []string {
	all := tokens(dst)
	all.read(query)
	if i := bytes.IndexByte(query, '#'); i >= 0 { // some servers cut the fragment
		all.read(query[:i])
	}
	if len(all) == 1 && all[0] == "" { // an empty token counts as none
		return nil
	}
	return all
}

// otherCredentials are the parameters that WeCom takes instead of an access token: of providers and
// devices, of the robots of groups, of tables and of intelligent robots.
var otherCredentials = []string{
	"suite_access_token", "provider_access_token", "device_access_token", "model_access_token", "key", "response_code",
}

// HasOtherCredential reports whether a query has a credential that is no access token.
func HasOtherCredential(query []byte) bool {
	for pair := range bytes.SplitSeq(query, []byte{'&'}) {
		key, _, _ := bytes.Cut(pair, []byte{'='})
		if slices.Contains(otherCredentials, string(key)) {
			return true
		}
	}
	return false
}

// tokens is a set of tokens in the order found, with at most MaxTokens+1 members.
type tokens []string

func (all *tokens) add(token string) {
	if len(*all) <= MaxTokens && !slices.Contains(*all, token) {
		*all = append(*all, token)
	}
}

// read adds the tokens of a query, and "" if only lenient servers find them.
func (all *tokens) read(query []byte) {
	plainly := false
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		key, value, _ := bytes.Cut(pair, []byte{'='})
		switch {
		case string(key) == "access_token":
			plainly = true
			all.addValue(value)
		case sameName(key, "access_token"):
			all.addValue(value)
		}
		if bytes.IndexByte(pair, ';') >= 0 {
			all.readParts(pair)
		}
	}
	if !plainly && len(*all) > 0 {
		all.add("")
	}
}

// readParts adds the tokens that a server finds in pair if it also splits at ';'.
func (all *tokens) readParts(pair []byte) {
	for len(pair) > 0 {
		var part []byte
		part, pair, _ = bytes.Cut(pair, []byte{';'})
		if key, value, _ := bytes.Cut(part, []byte{'='}); sameName(key, "access_token") {
			all.addValue(value)
		}
	}
}

// addValue adds the token in a value. WeCom's tokens are letters, digits, '-' and '_'. If a value
// has bytes that servers treat differently, the token that a lenient server reads is added too.
func (all *tokens) addValue(value []byte) {
	token := unescape(string(value), true)
	all.add(token)
	if !isPlainToken(token) {
		plain := strings.TrimLeftFunc(decodeFully(token), isAmbiguousInToken)
		if end := strings.IndexFunc(plain, isAmbiguousInToken); end >= 0 {
			plain = plain[:end]
		}
		all.add(plain)
	}
}

// isPlainToken reports whether no byte of a token is ambiguous. It looks at bytes, since a call's
// time is spent here: a token has some 200 of them.
func isPlainToken(token string) bool {
	for i := range len(token) {
		if ambiguousInToken[token[i]] {
			return false
		}
	}
	return true
}

// ambiguousInToken has the bytes that are, or are part of, a rune for which isAmbiguousInToken is
// true.
var ambiguousInToken = func() (all [256]bool) {
	for b := range all {
		all[b] = isAmbiguousInToken(rune(b))
	}
	return all
}()

// isAmbiguousInToken reports whether servers may drop, decode or split at a rune.
func isAmbiguousInToken(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%&;#`, r) }
