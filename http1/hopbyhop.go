package http1

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// HeaderNames is a set of header names in lower case. It is a map because a client may list
// thousands of names in a head with thousands of headers.
type HeaderNames map[string]struct{}

// Has reports whether name, in any letter case, is in the set.
func (names HeaderNames) Has(name []byte) bool {
	if len(names) == 0 {
		return false
	}
	_, in := names[strings.ToLower(string(name))]
	return in
}

// ListedHeaders returns the headers that the values of the Connection headers list (RFC 9110,
// section 7.6.1). Values of close or keep-alive alone list none.
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

// SameName reports whether name is other in any letter case.
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

// hopByHop are the headers that belong to one connection (RFC 9110, section 7.6.1). They are
// forwarded in neither direction.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
}

// IsHopByHop reports whether a header belongs to one connection.
func IsHopByHop(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	switch name[0] | 0x20 { // the first letters of them
	case 'c', 'k', 'p', 't', 'u', 'e':
		for _, h := range hopByHop {
			if SameName(name, h) {
				return true
			}
		}
	}
	return false
}

// forwarding are the headers by which proxies pass on who called them and for what. A server that
// trusts one would see another client, host, path or method than the one that was judged.
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

// forwardingFamilies are prefixes of more such headers.
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

// IsForwardingHeader reports whether a header is one by which proxies pass on who called them, also
// with '_' for '-'. The name must not be empty.
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

// IsTraceHeader reports whether a header is one by which a client passes on the trace that a
// request belongs to (W3C Trace Context and Baggage). Unlike forwarding headers it has one writing:
// no server trusts it.
func IsTraceHeader(name []byte) bool {
	switch len(name) {
	case len("Traceparent"):
		return SameName(name, "Traceparent")
	case len("Tracestate"):
		return SameName(name, "Tracestate")
	case len("Baggage"):
		return SameName(name, "Baggage")
	}
	return false
}

// DropHopByHop removes from the head of an answer the headers that belong to one connection.
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
