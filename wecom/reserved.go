package wecom

import (
	"bytes"
	"slices"
	"strings"
)

// The gateway keeps two prefixes of the api listener for itself; WeCom has no path there.
const (
	PrefixCorp = "/corp/"      // /corp/<corp_id>/cgi-bin/… names the corp of a call
	PrefixOwn  = "/replygate/" // calls of the gateway itself
)

// CutCorp takes /corp/<corp_id> off a path. corp is "" if the path does not begin so, in just this
// spelling.
func CutCorp(path []byte) (corp, rest []byte) {
	after, ok := bytes.CutPrefix(path, []byte(PrefixCorp))
	end := bytes.IndexByte(after, '/')
	if !ok || end < 1 || !isCorpID(string(after[:end])) {
		return nil, path
	}
	return after[:end], after[end:]
}

// maxCorpID is the length in bytes of the longest corp id.
const maxCorpID = 64

// isCorpID tells whether a text can be the id of a corp: letters, digits, '_' and '-'.
func isCorpID(id string) bool {
	return id != "" && len(id) <= maxCorpID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// IsOwn tells whether some server could take a path for one below the gateway's own prefixes, in
// whatever spelling.
func IsOwn(path []byte) bool {
	if plain(path) {
		return isReserved(canonical(string(path)))
	}
	return slices.ContainsFunc(lenientPaths(path), isReserved)
}

func isReserved(path string) bool {
	return strings.HasPrefix(path, PrefixCorp) || strings.HasPrefix(path, PrefixOwn) || path+"/" == PrefixCorp || path+"/" == PrefixOwn
}
