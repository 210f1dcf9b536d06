package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// outgoing is a request as it goes on: its head as it came, but for what belongs to the connection
// that it came on. The head was checked: each line is a token, a colon, a value without control
// bytes, and CRLF.
type outgoing struct {
	head    *fasthttp.RequestHeader
	target  []byte
	host    string
	body    []byte      // the whole body,
	stream  *clientBody // or one that streams
	plain   bool        // no compression is asked for: the answer is read
	relayed bool        // what proxies say of each other goes on too
	dropped func() bool // is asked right before the first byte: true if nobody wants the call sent any longer; nil: it goes
}

// whole returns the body once it was sent, nil of one that streamed if it is longer than maxWhole.
func (o *outgoing) whole() []byte {
	if o.stream != nil {
		return o.stream.whole()
	}
	return o.body
}

// writeTo writes the request.
func (o *outgoing) writeTo(w *bufio.Writer) error {
	_, _ = w.Write(o.head.Method()) // a bufio.Writer keeps its first error
	_ = w.WriteByte(' ')
	_, _ = w.Write(o.target)
	_, _ = w.WriteString(" HTTP/1.1\r\nHost: ")
	_, _ = w.WriteString(o.host)
	_, _ = w.WriteString("\r\n")
	listed := listedHeaders(o.head.PeekAll("Connection"))
	for block := o.head.RawHeaders(); len(block) > 0; {
		end := bytes.IndexByte(block, '\n') + 1
		if end <= len("\r\n") {
			break
		}
		line := block[:end]
		block = block[end:]
		if name := line[:bytes.IndexByte(line, ':')]; !o.drops(name, listed) {
			_, _ = w.Write(line)
		}
	}
	switch {
	case o.stream == nil:
		return o.writeWhole(w)
	case o.stream.length < 0:
		return o.writeChunked(w)
	}
	writeLength(w, o.stream.length)
	n, err := io.Copy(w, o.stream)
	if err == nil && n != int64(o.stream.length) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (o *outgoing) writeWhole(w *bufio.Writer) error {
	if len(o.body) == 0 && !o.mayHaveBody() {
		_, err := w.WriteString("\r\n")
		return err
	}
	writeLength(w, len(o.body))
	_, err := w.Write(o.body)
	return err
}

// mayHaveBody tells whether the request said how long its body is, if only that it is empty.
func (o *outgoing) mayHaveBody() bool {
	return !o.head.IsGet() && !o.head.IsHead() || len(o.head.Peek("Content-Length")) > 0
}

func writeLength(w *bufio.Writer, n int) {
	_, _ = w.WriteString("Content-Length: ")
	_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(n), 10))
	_, _ = w.WriteString("\r\n\r\n")
}

func (o *outgoing) writeChunked(w *bufio.Writer) error {
	_, _ = w.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	chunks := httputil.NewChunkedWriter(w)
	if _, err := io.CopyBuffer(chunks, o.stream, make([]byte, maxAgain/2)); err != nil { // in pieces that can be sent again
		return err
	}
	_ = chunks.Close()
	_, err := w.WriteString("\r\n")
	return err
}

// drops tells whether a header does not go on: what belongs to one connection, what the request
// writes itself, and what a client or a proxy before the gateway says of itself.
func (o *outgoing) drops(name []byte, listed headerNames) bool {
	return listed.has(name) || sameName(name, "Host") || sameName(name, "Content-Length") || o.plain && sameName(name, "Accept-Encoding") ||
		isHopByHop(name) || !o.relayed && isForwardingHeader(name)
}

// headerNames are names of headers, in lower case. A client may list thousands, beside thousands of
// headers.
type headerNames map[string]struct{}

func (names headerNames) has(name []byte) bool {
	if len(names) == 0 { // as a rule
		return false
	}
	_, in := names[strings.ToLower(string(name))]
	return in
}

// listedHeaders are the headers that the lines of a Connection header name, but for close and
// keep-alive, which name none.
func listedHeaders(lines [][]byte) (names headerNames) {
	for _, line := range lines {
		if sameName(line, "keep-alive") || sameName(line, "close") {
			continue
		}
		if names == nil {
			names = headerNames{}
		}
		for name := range strings.SplitSeq(string(line), ",") {
			names[strings.ToLower(strings.TrimSpace(name))] = struct{}{}
		}
	}
	return names
}

// sameName tells whether a header's name is another one, in any letter case.
func sameName(name []byte, other string) bool {
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

func isHopByHop(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	switch name[0] | 0x20 { // what they begin with
	case 'c', 'k', 'p', 't', 'u', 'e':
		for _, h := range hopByHop {
			if sameName(name, h) {
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

// isForwardingHeader tells whether a header is one of these, with '_' for '-' too, as CGI has it.
func isForwardingHeader(name []byte) bool {
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

// dropHopByHop takes away from an answer what belongs to one connection.
func dropHopByHop(h *fasthttp.ResponseHeader) {
	listed := listedHeaders(h.PeekAll("Connection"))
	var drop []string
	for name := range h.All() {
		if isHopByHop(name) || listed.has(name) {
			drop = append(drop, string(name))
		}
	}
	for _, name := range drop {
		h.Del(name)
	}
}
