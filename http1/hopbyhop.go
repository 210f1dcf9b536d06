package http1

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// HeaderNames are names of headers, in lower case. A client may list thousands, beside thousands of
// headers.
type HeaderNames map[string]struct{}

func (names HeaderNames) Has(name []byte) bool {
	if len(names) == 0 { // as a rule
		return false
	}
	_, in := names[strings.ToLower(string(name))]
	return in
}

// ListedHeaders are the headers that the lines of a Connection header name, but for close and
// keep-alive, which name none.
func ListedHeaders(lines [][]byte) (names HeaderNames) {
	for _, line := range lines {
		if SameName(line, "keep-alive") || SameName(line, "close") {
			continue
		}
		if names == nil {
			names = HeaderNames{}
		}
		for name := range strings.SplitSeq(string(line), ",") {
			names[strings.ToLower(strings.TrimSpace(name))] = struct{}{}
		}
	}
	return names
}

// SameName tells whether a header's name is another one, in any letter case.
func SameName(name []byte, other string) bool {
	if len(name) != len(other) {
		return false
	}
	for i := range len(name) {
		a, b := name[i], other[i]
		if a == b {
			continue
		}
		if a |= 0x20; a != b|0x20 || a < 'a' || a > 'z' {
			return false
		}
	}
	return true
}

// hopByHop are the headers that belong to one connection (RFC 9110, 7.6.1): none of them goes on,
// in either direction.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
}

func IsHopByHop(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	switch name[0] | 0x20 { // what they begin with
	case 'c', 'k', 'p', 't', 'u', 'e':
		for _, h := range hopByHop {
			if SameName(name, h) {
				return true
			}
		}
	}
	return false
}

// forwarding are the headers by which proxies say who called them and what for. A server that
// believes one would take another client, host, path or method for the call than the one that was
// judged.
var forwarding = byLength(
	"Forwarded", "X-Forwarded", "Via", "Front-End-Https",
	"Host-Override", "X-Host", "X-Host-Override", "X-Backend-Host", "X-Http-Host-Override", "Proxy-Host",
	"Url", "Uri", "Base-Url", "Http-Url", "Proxy-Url", "Request-Uri", "Request-Url", "X-Override-Url", "X-Proxy-Url",
	"X-Request-Uri", "X-Request-Url", "X-Http-Destinationurl", "X-Url-Scheme", "X-Scheme", "Wl-Proxy-Ssl",
	"Http-Method-Override", "Method-Override", "X-Http-Method", "X-Http-Method-Override", "X-Method", "X-Method-Override",
	"X-Cluster-Client-Ip", "X-Proxyuser-Ip", "Client-Ip", "X-Client-Ip", "X-Clientip", "True-Client-Ip", "Remote-Addr",
	"Proxy-Client-Ip", "Wl-Proxy-Client-Ip", "Http-Client-Ip", "Fastly-Client-Ip", "Incap-Client-Ip",
	"Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Ali-Cdn-Real-Ip", "Cdn-Real-Ip", "Cdn-Src-Ip", "Real-Ip",
)

// forwardingFamilies are the beginnings of more such headers.
var forwardingFamilies = []string{
	"X-Forwarded-", "X-Forward-", "X-Original-", "X-Originating-", "X-Rewrite-", "X-Real-", "X-Remote-", "X-Envoy-", "X-Azure-", "X-Appengine-",
	"Http-X-Forwarded-",
}

func byLength(names ...string) (sorted [32][]string) {
	for _, n := range names {
		sorted[len(n)] = append(sorted[len(n)], n)
	}
	return sorted
}

// IsForwardingHeader tells whether a header is one of these, with '_' for '-' too, as CGI has it.
func IsForwardingHeader(name []byte) bool {
	if len(name) < len(forwarding) {
		for _, h := range forwarding[len(name)] {
			if sameHeader(name, h) {
				return true
			}
		}
	}
	if name[0]|0x20 != 'x' && name[0]|0x20 != 'h' {
		return false
	}
	for _, f := range forwardingFamilies {
		if len(name) > len(f) && sameHeader(name[:len(f)], f) {
			return true
		}
	}
	return false
}

// DropHopByHop takes away from an answer what belongs to one connection.
func DropHopByHop(h *fasthttp.ResponseHeader) {
	listed := ListedHeaders(h.PeekAll("Connection"))
	var drop []string
	for name := range h.All() {
		if IsHopByHop(name) || listed.Has(name) {
			drop = append(drop, string(name))
		}
	}
	for _, name := range drop {
		h.Del(name)
	}
}
