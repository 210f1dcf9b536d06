package wecom

import (
	"bytes"
	"slices"
	"strings"
)

// The api listener reserves two path prefixes. WeCom has no paths below them.
const (
	PrefixCorp = "/corp/"      // /corp/<corp_id>/cgi-bin/… selects the corp of a call
	PrefixOwn  = "/replygate/" // endpoints of the gateway
)

// CutCorp removes the prefix /corp/<corp_id> from a path. If the path does not begin with exactly
// that, corp is nil and rest is the path. Escaped or otherwise encoded variants do not count.
func CutCorp(path []byte) (corp, rest []byte) {
	after, ok := bytes.CutPrefix(path, []byte(PrefixCorp))
	end := bytes.IndexByte(after, '/')
	if !ok || end < 1 || !isCorpID(string(after[:end])) {
		return nil, path
	}
	return after[:end], after[end:]
}

// maxCorpID is the maximum length in bytes of a corp id.
const maxCorpID = 64

// isCorpID reports whether id consists of up to maxCorpID letters, digits, '_' and '-'.
func isCorpID(id string) bool {
	return id != "" && len(id) <= maxCorpID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// IsOwn reports whether some server could read a path, however it is encoded, as one below the
// reserved prefixes.
func IsOwn(path []byte) bool {
	if plain(path) {
		return isReserved(canonical(string(path)))
	}
	return slices.ContainsFunc(lenientPaths(path), isReserved)
}

func isReserved(path string) bool {
	return strings.HasPrefix(path, PrefixCorp) || strings.HasPrefix(path, PrefixOwn) || path+"/" == PrefixCorp || path+"/" == PrefixOwn
}
