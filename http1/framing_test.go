package http1

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"
)

// The errors of a block of header lines.
const (
	noError     = ""
	notCRLF     = "a header line does not end in CR LF"
	notToken    = "a header name is not a token"
	control     = "a header value holds control bytes"
	notOneHost  = "the Host is not one host"
	byLibrary   = "the server library refuses it before"
	twoReadings = "the end of the message can be read in more than one way"
)

// A block of header lines has one reading, or none. The section in a name is the one that the case
// is about.
func TestReadFraming(t *testing.T) {
	t.Parallel()
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, test := range []struct{ name, block, want string }{
		{"no header lines", "\r\n", noError},
		{"no empty line at the end", "A: b\r\n", noError},
		{"RFC 9112, 5: blanks around a value", "A: \t b \t\r\n\r\n", noError},
		{"RFC 9110, 5.5: an empty value", "A:\r\n\r\n", noError},
		{"RFC 9110, 5.5: bytes above ASCII", "A: \xe4\xbc\x81\xff\r\n\r\n", noError},
		{"RFC 9110, 5.5: a tab inside", "A: b\tc\r\n\r\n", noError},
		{"RFC 9112, 2.2: a bare LF", "A: b\nC: d\r\n\r\n", notCRLF},
		{"RFC 9112, 2.2: a bare LF as the empty line", "A: b\r\n\n", notCRLF},
		{"RFC 9112, 2.2: a line without an end", "A: b", notCRLF},
		{"RFC 9112, 2.2: a bare CR", "A: b\rC: d\r\n\r\n", control},
		{"RFC 9112, 5.1: a blank before the colon", "A : b\r\n\r\n", notToken},
		{"RFC 9112, 5.1: a tab before the colon", "A\t: b\r\n\r\n", notToken},
		{"RFC 9112, 5.2: a folded line", "A: b\r\n c\r\n\r\n", notToken},
		{"RFC 9112, 5.2: a folded line with a colon", "A: b\r\n C: d\r\n\r\n", notToken},
		{"RFC 9112, 5.2: a folded first line", " A: b\r\n\r\n", notToken},
		{"RFC 9110, 5.1: no colon", "A\r\n\r\n", notToken},
		{"RFC 9110, 5.1: no name", ": b\r\n\r\n", notToken},
		{"RFC 9110, 5.6.2: a quote in a name", "A\": b\r\n\r\n", notToken},
		{"RFC 9110, 5.6.2: a slash in a name", "A/B: b\r\n\r\n", notToken},
		{"RFC 9110, 5.6.2: a byte above ASCII in a name", "A\xe9: b\r\n\r\n", notToken},
		{"RFC 9110, 5.6.2: every mark of a token", "!#$%&'*+-.^_`|~: b\r\n\r\n", noError},
		{"RFC 9110, 5.5: NUL", "A: b\x00\r\n\r\n", control},
		{"RFC 9110, 5.5: DEL", "A: b\x7f\r\n\r\n", control},
		{"RFC 9110, 5.5: escape", "A: \x1b[0m\r\n\r\n", control},
		{"RFC 9110, 8.6: a length", "Content-Length: 12\r\n\r\n", noError},
		{"RFC 9110, 8.6: a length with zeros before it", "content-length: 0012\r\n\r\n", noError},
		{"RFC 9110, 5.5: a length with blanks around it", "Content-Length: \t2 \r\n\r\n", noError},
		{"RFC 9110, 8.6: the longest length", "Content-Length: 9223372036854775807\r\n\r\n", noError},
		{"RFC 9110, 8.6: a length that overflows", "Content-Length: 9223372036854775808\r\n\r\n", twoReadings},
		{"RFC 9110, 8.6: a negative length", "Content-Length: -1\r\n\r\n", twoReadings},
		{"RFC 9110, 8.6: a length with a plus", "Content-Length: +1\r\n\r\n", twoReadings},
		{"RFC 9110, 8.6: an empty length", "Content-Length:\r\n\r\n", twoReadings},
		{"RFC 9110, 8.6: a length in base 16", "Content-Length: 0x1\r\n\r\n", twoReadings},
		{"RFC 9110, 8.6: a length with an underscore", "Content-Length: 1_0\r\n\r\n", twoReadings},
		{"RFC 9112, 6.3: two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", twoReadings},
		{"RFC 9112, 6.3: two equal lengths", "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", twoReadings},
		{"RFC 9112, 6.3: a list of lengths", "Content-Length: 1, 1\r\n\r\n", twoReadings},
		{"RFC 9112, 6.3: a length and chunks", "Content-Length: 1\r\n" + chunked + "\r\n", twoReadings},
		{"RFC 9112, 6.3: chunks and a length", chunked + "Content-Length: 1\r\n\r\n", twoReadings},
		{"RFC 9112, 6.3: chunks and no length at all", chunked + "Content-Length: 0\r\n\r\n", twoReadings},
		{"RFC 9112, 6.1: chunks", chunked + "\r\n", noError},
		{"RFC 9112, 6.1: chunks in capitals", "TRANSFER-ENCODING: CHUNKED\r\n\r\n", noError},
		{"RFC 9112, 6.1: chunks twice", chunked + chunked + "\r\n", twoReadings},
		{"RFC 9112, 6.1: chunks twice in one line", "Transfer-Encoding: chunked, chunked\r\n\r\n", twoReadings},
		{"RFC 9112, 6.1: another coding before chunks", "Transfer-Encoding: gzip, chunked\r\n\r\n", twoReadings},
		{"RFC 9112, 6.1: another coding after chunks", "Transfer-Encoding: chunked, gzip\r\n\r\n", twoReadings},
		{"RFC 9112, 6.1: another coding alone", "Transfer-Encoding: gzip\r\n\r\n", twoReadings},
		{"RFC 9112, 7: identity, which RFC 2616 had", "Transfer-Encoding: identity\r\n\r\n", twoReadings},
		{"RFC 9112, 7.1: a parameter of chunks", "Transfer-Encoding: chunked;a=b\r\n\r\n", twoReadings},
		{"RFC 9112, 6.1: an empty coding", "Transfer-Encoding:\r\n\r\n", twoReadings},
		{"RFC 9112, 6.1: a vertical tab before the coding", "Transfer-Encoding: \vchunked\r\n\r\n", control},
		{"RFC 3875, 4.1.18: a length by another name", "Content_Length: 1\r\n\r\n", twoReadings},
		{"RFC 3875, 4.1.18: a coding by another name", "Transfer_Encoding: chunked\r\n\r\n", twoReadings},
		{"RFC 9110, 7.2: a host with a port", "Host: example.com:80\r\n\r\n", noError},
		{"RFC 9110, 7.2: an IPv6 host", "Host: [::1]:80\r\n\r\n", noError},
		{"RFC 9110, 7.2: an empty host", "Host:\r\n\r\n", notOneHost},
		{"RFC 9110, 7.2: two hosts in a line", "Host: a,b\r\n\r\n", notOneHost},
		{"RFC 9110, 7.2: a host with a blank", "Host: a b\r\n\r\n", notOneHost},
		{"RFC 9110, 7.2: a host with a user", "Host: u@a\r\n\r\n", notOneHost},
		{"RFC 9110, 7.2: a host with a path", "Host: a/b\r\n\r\n", notOneHost},
		{"RFC 9110, 7.2: a host with a fragment", "Host: a#b\r\n\r\n", notOneHost},
	} {
		if _, err := readFraming([]byte(test.block)); textOf(err) != test.want {
			t.Errorf("%s: %q, want %q", test.name, textOf(err), test.want)
		}
	}
}

func textOf(err error) string {
	if err == nil {
		return noError
	}
	return err.Error()
}

// What is counted of a block of lines is what is in it.
func TestReadFramingCounts(t *testing.T) {
	t.Parallel()
	for block, want := range map[string]framing{
		"Host: a\r\nContent-Length: 7\r\n\r\n":                {hosts: 1, lengths: 1, length: 7},
		"Host: a\r\nHOST: a\r\nTrailer: X\r\n\r\n":            {hosts: 2, trailer: true},
		"Transfer-Encoding: chunked\r\n\r\n":                  {codings: 1},
		"X-Host: a\r\nHostx: b\r\nContent-Lengths: 1\r\n\r\n": {},
		"\r\nHost: after-the-head\r\n\r\n":                    {},
	} {
		if got, err := readFraming([]byte(block)); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", block, got, err, want)
		}
	}
}

// A request has one host, a version of HTTP/1, a method of its own and a path.
func TestCheckRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, head, want string }{
		{"HTTP/1.1", "GET / HTTP/1.1\r\nHost: g\r\n\r\n", noError},
		{"RFC 9112, 3.2: HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", noError},
		{"RFC 9112, 3.2: two Hosts", "GET / HTTP/1.1\r\nHost: g\r\nHost: g\r\n\r\n", byLibrary},
		{"RFC 9112, 3.2: two Hosts of HTTP/1.0", "GET / HTTP/1.0\r\nHost: g\r\nHost: h\r\n\r\n", byLibrary},
		{"RFC 9112, 6.1: HTTP/1.0 has no chunks", "POST / HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n", byLibrary},
		{"RFC 9112, 3.2.2: the absolute form", "GET http://g/ HTTP/1.1\r\nHost: g\r\n\r\n", "the request target must begin with a slash"},
		{"RFC 9112, 3.2.3: the authority form", "CONNECT g:443 HTTP/1.1\r\nHost: g\r\n\r\n", "CONNECT is not for a reverse proxy"},
		{"RFC 9112, 3.2.4: the asterisk form", "OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n", "the request target must begin with a slash"},
		{"RFC 9110, 9.3.8: TRACE", "TRACE / HTTP/1.1\r\nHost: g\r\n\r\n", "TRACE is not for a reverse proxy"},
		{"RFC 9110, 9.1: a method of the client's", "BREW / HTTP/1.1\r\nHost: g\r\n\r\n", noError},
		{"RFC 9110, 9.1: a method in lower case", "get / HTTP/1.1\r\nHost: g\r\n\r\n", "the method is not one of HTTP's"},
		{"RFC 9110, 9.1: a method with a mark", "M-SEARCH / HTTP/1.1\r\nHost: g\r\n\r\n", "the method is not one of HTTP's"},
		{"RFC 9112, 2.3: HTTP/1.2", "GET / HTTP/1.2\r\nHost: g\r\n\r\n", "the version is neither HTTP/1.1 nor HTTP/1.0"},
		{"RFC 9110, 6.6.2: a Trailer", "POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n", "a Trailer is not passed on"},
	} {
		var h fasthttp.RequestHeader
		if err := h.Read(bufio.NewReader(strings.NewReader(test.head))); err != nil {
			if test.want != byLibrary {
				t.Errorf("%s: the library refuses it: %v", test.name, err)
			}
			continue
		}
		if got := textOf(CheckRequest(&h)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// CheckResponse drops interim answers, leaves the real one to be read, and refuses one that is
// broken.
func TestCheckResponse(t *testing.T) {
	t.Parallel()
	const ok, early = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	const status = "its status line is not one of HTTP's"
	for _, test := range []struct{ name, answer, left, want string }{
		{"an answer", ok, ok, noError},
		{"RFC 9110, 15.2: interim answers", "HTTP/1.1 100 Continue\r\n\r\n" + early + ok, ok, noError},
		{"RFC 9110, 15.2: as many as may be", strings.Repeat(early, 7) + ok, ok, noError},
		{"RFC 9110, 15.2: too many", strings.Repeat(early, 8) + ok, ok, "too many interim answers"},
		{"RFC 9110, 15.2.2: another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "", "it switches protocols, which nobody asked for"},
		{"RFC 9112, 6.3: an interim answer with a body", "HTTP/1.1 103 E\r\nContent-Length: 1\r\n\r\nx" + ok, "", twoReadings},
		{"RFC 9112, 6.3: 204 with a body", "HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\nx", "", twoReadings},
		{"RFC 9112, 6.1: 204 with chunks", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", twoReadings},
		{"RFC 9110, 8.6: 204 with the length 0", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", noError},
		{"RFC 9112, 6.3: a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "", twoReadings},
		{"RFC 9112, 5.2: a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "", notToken},
		{"RFC 9112, 4: no reason", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200\r\n\r\n", noError},
		{"RFC 9112, 4: a reason of several words", "HTTP/1.0 404 Not Found\r\n\r\n", "HTTP/1.0 404 Not Found\r\n\r\n", noError},
		{"RFC 9112, 4: a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "", status},
		{"RFC 9112, 4: a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "", status},
		{"RFC 9110, 15: a status below 100", "HTTP/1.1 099 OK\r\n\r\n", "", status},
		{"RFC 9112, 4: a negative status", "HTTP/1.1 -20 OK\r\n\r\n", "", status},
		{"RFC 9112, 4: two blanks", "HTTP/1.1  200 OK\r\n\r\n", "", status},
		{"RFC 9112, 4: a control byte in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", "", status},
		{"RFC 9112, 2.3: HTTP/2", "HTTP/2 200 OK\r\n\r\n", "", status},
		{"RFC 9112, 2.3: a version in lower case", "http/1.1 200 OK\r\n\r\n", "", status},
		{"no HTTP at all", "SSH-2.0-OpenSSH\r\n\r\n", "", status},
		{"a head without an end", "HTTP/1.1 200 OK\r\nA: b\r\n", "", "EOF"},
		{"nothing", "", "", "EOF"},
	} {
		for how, from := range map[string]io.Reader{"at once": strings.NewReader(test.answer), "by bytes": iotest.OneByteReader(strings.NewReader(test.answer))} {
			br := bufio.NewReaderSize(from, MaxHead)
			if got := textOf(CheckResponse(br)); got != test.want {
				t.Errorf("%s, %s: %q, want %q", test.name, how, got, test.want)
			}
			if left, _ := io.ReadAll(br); test.want == noError && string(left) != test.left {
				t.Errorf("%s, %s: what is left is %q", test.name, how, left)
			}
		}
	}
}

// A head is read up to the size of the reader's buffer, and no further.
func TestCheckResponseIsBounded(t *testing.T) {
	t.Parallel()
	head := func(n int) string {
		const begin, end = "HTTP/1.1 200 OK\r\nA: ", "\r\n\r\n"
		return begin + strings.Repeat("a", n-len(begin)-len(end)) + end
	}
	for n, want := range map[int]string{1023: noError, 1024: noError, 1025: "its head is too large", 9999: "its head is too large"} {
		if got := textOf(CheckResponse(bufio.NewReaderSize(strings.NewReader(head(n)+"body"), 1024))); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	broken := errors.New("reset")
	if err := CheckResponse(bufio.NewReader(iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("an error of the connection becomes %v", err)
	}
}

// All lines count that some server takes for a Content-Type or a Content-Encoding.
func TestContentHeaders(t *testing.T) {
	t.Parallel()
	for block, want := range map[string][2]string{
		"\r\n":                           {"", ""},
		"Content-Type: a/b; c=d\r\n\r\n": {"a/b; c=d", ""},
		"CONTENT-TYPE:a\r\ncontent_type: b\r\nContent-Encoding:\tgzip \r\n\r\n": {"a,b", "gzip"},
		"Content-Encoding: gzip\r\nX: y\r\nContent-Encoding: br\r\n\r\n":        {"", "gzip,br"},
		"Content-Types: a\r\nX-Content-Type: b\r\n\r\n":                         {"", ""},
	} {
		if types, encodings := ContentHeaders([]byte(block)); types != want[0] || encodings != want[1] {
			t.Errorf("%q: %q and %q, want %q", block, types, encodings, want)
		}
	}
}

// A name is a token exactly if each byte is one of RFC 9110, section 5.6.2.
func TestIsToken(t *testing.T) {
	t.Parallel()
	tokens := 0
	for c := range 256 {
		if isToken([]byte{'a', byte(c)}) {
			tokens++
			if strings.ContainsRune("\"(),/:;<=>?@[\\]{} \t", rune(c)) || c <= ' ' || c >= 0x7f {
				t.Errorf("%q is a token", rune(c))
			}
		}
	}
	if tokens != 26+26+10+15 || isToken(nil) {
		t.Errorf("%d bytes may be in tokens", tokens)
	}
}
