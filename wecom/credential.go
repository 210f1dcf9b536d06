package wecom

import (
	"bytes"
	"slices"
	"strings"
)

// MaxTokens is how many different tokens of one query are told apart.
const MaxTokens = 4

// ReadTokens appends to dst, which is empty, the access tokens that servers could take a query to
// carry, decoded: none, one as a rule, or several, "" among them where some would find none. Which
// of several WeCom takes is not known: it may be the first or the last, one whose name is written
// in another case or with escapes, one after a ';' or a '#'. Of more than MaxTokens only so many
// and one more are returned.
//
// WeCom takes a token from the query alone, of POST calls too; one in a body is not a credential.
func ReadTokens(dst []string, query []byte) []string {
	all := tokens(dst)
	all.read(query)
	if i := bytes.IndexByte(query, '#'); i >= 0 { // what follows is no part of the query for some
		all.read(query[:i])
	}
	if len(all) == 1 && all[0] == "" { // an empty one is as good as none
		return nil
	}
	return all
}

// tokens are the different tokens that were found.
type tokens []string

func (all *tokens) add(token string) {
	if len(*all) <= MaxTokens && !slices.Contains(*all, token) {
		*all = append(*all, token)
	}
}

// read adds the tokens of a query, and "" if none of them is plainly named: then some servers find
// none.
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

// readParts adds the tokens that a server finds in pair that splits at ';' too, and takes odd names
// for access_token.
func (all *tokens) readParts(pair []byte) {
	for len(pair) > 0 {
		var part []byte
		part, pair, _ = bytes.Cut(pair, []byte{';'})
		if key, value, _ := bytes.Cut(part, []byte{'='}); sameName(key, "access_token") {
			all.addValue(value)
		}
	}
}

// addValue adds what a value says. WeCom's tokens are letters, digits, '-' and '_': with bytes that
// servers treat in different ways there may be another token in it.
func (all *tokens) addValue(value []byte) {
	token := unescape(string(value), true)
	all.add(token)
	if end := strings.IndexFunc(token, isAmbiguousInToken); end >= 0 {
		plain := strings.TrimLeftFunc(decodeFully(token), isAmbiguousInToken)
		if end := strings.IndexFunc(plain, isAmbiguousInToken); end >= 0 {
			plain = plain[:end]
		}
		all.add(plain)
	}
}

func isAmbiguousInToken(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%&;#`, r) }
