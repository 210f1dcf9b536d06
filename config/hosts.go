package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// HostName is the name in a Host header, or in accounts[].hosts: without a port, in lower case,
// without the dot that may end a full name. Two hosts are the same if their names are equal.
func HostName(host string) string {
	if inner, rest, ok := strings.Cut(host, "]"); ok && strings.HasPrefix(inner, "[") && isPort(rest) {
		return strings.ToLower(inner[1:]) // an IPv6 address
	}
	if i := strings.IndexByte(host, ':'); i >= 0 && isPort(host[i:]) {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isPort tells whether s is ":8080", or nothing.
func isPort(s string) bool {
	digits, _ := strings.CutPrefix(s, ":")
	return strings.Trim(digits, "0123456789") == "" && (s == "" || s[0] == ':')
}

var (
	hostPattern    = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)
	channelPattern = regexp.MustCompile(`^[!-~]{1,128}$`)
)

// hosts checks the host names of an account; first has those of the accounts before, by their
// names.
func (v validator) hosts(a *Account, path string, first map[string]Position) {
	for i, host := range a.Hosts {
		at, name := v.itemPath(path+".hosts", i), HostName(host)
		if _, err := netip.ParseAddr(name); err != nil && !hostPattern.MatchString(name) {
			v.report(at, fmt.Sprintf("%q is not a host name", host), "write the name by which bots call the gateway, without http:// and path, like acme.gateway.internal")
			continue
		}
		v.unique(at, "host "+name, first, name)
	}
}

// channels checks the kf accounts of an account likewise.
func (v validator) channels(a *Account, path string, first map[string]Position) {
	for i, channel := range a.Channels {
		at := v.itemPath(path+".channels", i)
		if !channelPattern.MatchString(channel) {
			v.report(at, fmt.Sprintf("%q is not the id of a kf account", channel), "write its open_kfid, wk…, at most 128 bytes")
			continue
		}
		v.unique(at, "channel "+channel, first, channel)
	}
}

// unique finds what is listed a second time, by the same account or by another one.
func (v validator) unique(path, what string, first map[string]Position, name string) {
	if at, twice := first[name]; twice {
		v.report(path, what+" is given twice", fmt.Sprintf("it is already in line %d%s; only one account can have it", at.Line, inFile(at.File)))
		return
	}
	first[name] = v.d.where[path]
}

// itemPath is where an item of a list stands; all of a cell of a CSV stand in the same place.
func (v validator) itemPath(list string, i int) string {
	path := fmt.Sprintf("%s[%d]", list, i)
	if v.given(path) {
		return path
	}
	return list
}
