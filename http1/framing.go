// Package http1 holds what a proxy must check in HTTP/1.1: that a message ends in one place however
// it is read, which headers belong to one connection, and deadlines that are cheap to renew.
//
// It does not send or answer anything, and knows neither WeCom nor the gateway.
package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// MaxHead bounds the head of a request or of an answer, in bytes.
const MaxHead = 32 << 10

// framing is what the header lines of a message say about where it ends (RFC 9112, section 6), with
// the number of lines of each kind.
type framing struct {
	hosts   int
	lengths int
	codings int
	trailer bool
	length  int64 // the value of Content-Length
}

var errFraming = errors.New("the end of the message can be read in more than one way")

// readFraming reads a block of header lines as strictly as RFC 9112, section 5: each ends in CRLF,
// names are tokens that the colon follows at once, values hold no control bytes, and no line is
// folded.
func readFraming(block []byte) (framing, error) {
	var f framing
	for len(block) > 0 {
		end := bytes.IndexByte(block, '\n')
		if end < 1 || block[end-1] != '\r' {
			return f, errors.New("a header line does not end in CR LF")
		}
		line := block[:end-1]
		block = block[end+1:]
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isToken(line[:colon]) {
			return f, errors.New("a header name is not a token")
		}
		value := line[colon+1:]
		if hasControl(value) {
			return f, errors.New("a header value holds control bytes")
		}
		if err := f.note(line[:colon], value); err != nil {
			return f, err
		}
	}
	if f.lengths > 0 && f.codings > 0 {
		return f, errFraming
	}
	return f, nil
}

// note counts one header.
func (f *framing) note(name, value []byte) error {
	switch {
	case sameHeader(name, "Content-Length"):
		f.lengths++
		value = withoutBlanks(value)
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || f.lengths > 1 || bytes.ContainsAny(name, "_") || value[0] == '+' {
			return errFraming
		}
		f.length = int64(n)
	case sameHeader(name, "Transfer-Encoding"):
		f.codings++
		if f.codings > 1 || bytes.ContainsAny(name, "_") || !strings.EqualFold(string(withoutBlanks(value)), "chunked") {
			return errFraming
		}
	case sameHeader(name, "Host"):
		f.hosts++
		value = withoutBlanks(value)
		if len(value) == 0 || bytes.ContainsAny(value, " \t/@?#\\,") {
			return errors.New("the Host is not one host")
		}
	case sameHeader(name, "Trailer"):
		f.trailer = true
	}
	return nil
}

// withoutBlanks returns a value without the optional whitespace around it (RFC 9110, section
// 5.6.3).
func withoutBlanks(value []byte) []byte { return bytes.Trim(value, " \t") }

// sameHeader reports whether a server could take name for header: in any letter case, and with '_'
// for '-', which CGI and WSGI do not tell apart.
func sameHeader(name []byte, header string) bool {
	if len(name) != len(header) {
		return false
	}
	for i, c := range name {
		if c == '_' {
			c = '-'
		}
		if c|0x20 != header[i]|0x20 {
			return false
		}
	}
	return true
}

// ContentHeaders returns the values of all Content-Type and all Content-Encoding lines, each joined
// by commas, also of names that only some servers take for them. CheckRequest must have passed the
// block.
func ContentHeaders(block []byte) (types, encodings string) {
	for len(block) > 0 {
		end := bytes.IndexByte(block, '\n')
		line := block[:end+1]
		block = block[end+1:]
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			break
		}
		switch name, value := line[:colon], withoutBlanks(bytes.TrimRight(line[colon+1:], "\r\n")); {
		case sameHeader(name, "Content-Type"):
			types = joined(types, value)
		case sameHeader(name, "Content-Encoding"):
			encodings = joined(encodings, value)
		}
	}
	return types, encodings
}

func joined(list string, value []byte) string {
	if list == "" {
		return string(value)
	}
	return list + "," + string(value)
}

// tokenBytes are the bytes that a header name may have (RFC 9110, section 5.6.2).
var tokenBytes = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

func isToken(name []byte) bool {
	for _, c := range name {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(name) > 0
}

func hasControl(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// CheckRequest returns an error if the head of a request can be read in more than one way. A
// request that passes is the same single request for the gateway and for the servers after it.
func CheckRequest(h *fasthttp.RequestHeader) error {
	method := h.Method()
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return errors.New("the method is not one of HTTP's")
		}
	}
	switch string(method) {
	case "CONNECT", "TRACE":
		return fmt.Errorf("%s is not for a reverse proxy", method)
	}
	old := string(h.Protocol()) == "HTTP/1.0"
	if !old && string(h.Protocol()) != "HTTP/1.1" {
		return errors.New("the version is neither HTTP/1.1 nor HTTP/1.0")
	}
	if target := h.RequestURI(); len(target) == 0 || target[0] != '/' {
		return errors.New("the request target must begin with a slash")
	}
	f, err := readFraming(h.RawHeaders())
	switch {
	case err != nil:
		return err
	case f.hosts > 1 || f.hosts == 0 && !old:
		return errors.New("the request needs one Host")
	case f.trailer:
		return errors.New("a Trailer is not passed on")
	case f.codings > 0 && old:
		return errFraming
	}
	return nil
}

// maxInterim bounds the interim answers (1xx; RFC 9110, section 15.2), the final one included.
const maxInterim = 8

// CheckResponse waits for the head of an answer and returns an error if it can be read in more than
// one way. The head stays in br; interim answers before it are dropped. br must hold MaxHead bytes.
func CheckResponse(br *bufio.Reader) error {
	for range maxInterim {
		head, err := peekHead(br)
		if err != nil {
			return err
		}
		line, block, _ := bytes.Cut(head, []byte("\r\n"))
		status, err := statusOf(line)
		if err != nil {
			return err
		}
		f, err := readFraming(block)
		switch {
		case err != nil:
			return err
		case status == fasthttp.StatusSwitchingProtocols:
			return errors.New("it switches protocols, which nobody asked for")
		case status < 200 && (f.length > 0 || f.codings > 0), status == fasthttp.StatusNoContent && (f.length > 0 || f.codings > 0):
			return errFraming
		case status >= 200:
			return nil
		}
		if _, err := br.Discard(len(head)); err != nil {
			return err
		}
	}
	return errors.New("too many interim answers")
}

// peekHead waits until br holds a whole head and returns it, with the empty line at its end.
func peekHead(br *bufio.Reader) ([]byte, error) {
	if _, err := br.Peek(1); err != nil {
		return nil, err
	}
	for seen := 0; ; {
		b, _ := br.Peek(br.Buffered())
		from := max(seen-len("\r\n\r"), 0) // what was searched before is not searched again
		if end := bytes.Index(b[from:], []byte("\r\n\r\n")); end >= 0 {
			return b[:from+end+4], nil
		}
		seen = len(b)
		if len(b) >= br.Size() {
			return nil, errors.New("its head is too large")
		}
		if _, err := br.Peek(len(b) + 1); err != nil {
			return nil, err
		}
	}
}

// statusOf reads a status line such as HTTP/1.1 200 OK (RFC 9112, section 4).
func statusOf(line []byte) (int, error) {
	version, rest, _ := strings.Cut(string(line), " ")
	digits, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(digits)
	if version != "HTTP/1.1" && version != "HTTP/1.0" || err != nil || len(digits) != 3 || status < 100 || hasControl([]byte(reason)) {
		return 0, errors.New("its status line is not one of HTTP's")
	}
	return status, nil
}
