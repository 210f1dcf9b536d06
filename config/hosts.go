package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// HostName normalizes a Host header or an item of accounts[].hosts for comparison: lower case,
// without the port, the brackets of an IPv6 address and the final dot of a full name.
func HostName(host string) string {
	if inner, rest, ok := strings.Cut(host, "]"); ok && strings.HasPrefix(inner, "[") && isPort(rest) {
		return strings.ToLower(inner[1:]) // an IPv6 address
	}
	if i := strings.IndexByte(host, ':'); i >= 0 && isPort(host[i:]) {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isPort reports whether s is empty or a port with its colon. The port may be empty (RFC 3986,
// 3.2.3).
func isPort(s string) bool {
	digits, _ := strings.CutPrefix(s, ":")
	return strings.Trim(digits, "0123456789") == "" && (s == "" || s[0] == ':')
}

var (
	hostPattern    = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)
	channelPattern = regexp.MustCompile(`^[!-~]{1,128}$`)
)

// hosts checks the host names of an account. first holds the position of each name seen so far.
func (v validator) hosts(a *Account, path string, first map[string]Position) {
	for i, host := range a.Hosts {
		at, name := v.itemPath(path+".hosts", i), HostName(host)
		if _, err := netip.ParseAddr(name); err != nil && !hostPattern.MatchString(name) {
			v.report(at, fmt.Sprintf("%q is not a host name", host), widthRemedy(host, "write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal"))
			continue
		}
		v.unique(at, "host "+name, first, name)
	}
}

// channels checks the kf accounts of an account, in the same way.
func (v validator) channels(a *Account, path string, first map[string]Position) {
	for i, channel := range a.Channels {
		at := v.itemPath(path+".channels", i)
		if !channelPattern.MatchString(channel) {
			v.report(at, fmt.Sprintf("%q is not the id of a kf account", channel), widthRemedy(channel, "write its open_kfid, wk…, at most 128 bytes"))
			continue
		}
		v.unique(at, "channel "+channel, first, channel)
	}
}

// unique reports a name that an account has listed before, the same account or another.
func (v validator) unique(path, what string, first map[string]Position, name string) {
	if at, twice := first[name]; twice {
		v.report(path, what+" is given twice", fmt.Sprintf("it is already in line %d%s; only one account can have it", at.Line, inFile(at.File)))
		return
	}
	first[name] = v.d.where[path]
}

// itemPath returns the path of a list item, or of its list if that was one cell of a CSV.
func (v validator) itemPath(list string, i int) string {
	path := fmt.Sprintf("%s[%d]", list, i)
	if v.given(path) {
		return path
	}
	return list
}
