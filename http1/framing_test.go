package http1

import (
	"bufio"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// parse reads the head of a request as the server library does; it refuses some by itself.
func parse(text string) (*fasthttp.RequestHeader, error) {
	var h fasthttp.RequestHeader
	return &h, h.Read(bufio.NewReaderSize(strings.NewReader(text), MaxHead))
}

func TestCheckRequest(t *testing.T) {
	t.Parallel()
	const line, host = "POST /a HTTP/1.1\r\n", "Host: g\r\n"
	for _, test := range []struct{ name, head, err string }{
		{"plain", line + host, ""},
		{"a length", line + host + "Content-Length: 2\r\n", ""},
		{"a length with blanks around", line + host + "Content-Length: \t2 \r\n", ""},
		{"chunked in any case", line + host + "transfer-encoding: CHUNKED\r\n", ""},
		{"HTTP/1.0 without a Host", "GET / HTTP/1.0\r\n", ""},
		{"an underscore in another name", line + host + "X_A: 1\r\n", ""},
		{"no Host", line, "needs one Host"},
		{"two Hosts", line + host + "host: h\r\n", "needs one Host"},
		{"two Hosts for CGI", line + host + "HOST: h\r\n", "needs one Host"},
		{"an empty Host", line + "Host:\r\n", "not one host"},
		{"a Host with a path", line + "Host: g/x\r\n", "not one host"},
		{"a Host with a user", line + "Host: u@g\r\n", "not one host"},
		{"two lengths", line + host + "Content-Length: 2\r\nContent-Length: 2\r\n", "more than one way"},
		{"a length for CGI", line + host + "Content_Length: 2\r\n", "more than one way"},
		{"a length with a plus", line + host + "Content-Length: +2\r\n", "more than one way"},
		{"a length and chunks", line + host + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "more than one way"},
		{"another coding", line + host + "Transfer-Encoding: gzip, chunked\r\n", "more than one way"},
		{"two codings", line + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "more than one way"},
		{"chunks in HTTP/1.0", "POST /a HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n", "more than one way"},
		{"a trailer", line + host + "Trailer: X\r\n", "Trailer"},
		{"a control byte", line + host + "X: a\x01b\r\n", "control bytes"},
		{"a delete byte", line + host + "X: a\x7f\r\n", "control bytes"},
		{"a blank before the colon", line + host + "X : a\r\n", "not a token"},
		{"a parenthesis in a name", line + host + "X(: a\r\n", "not a token"},
		{"a bare LF", line + host + "X: a\n", "CR LF"},
		{"CONNECT", "CONNECT /a HTTP/1.1\r\n" + host, "not for a reverse proxy"},
		{"TRACE", "TRACE /a HTTP/1.1\r\n" + host, "not for a reverse proxy"},
		{"a method in lower case", "post /a HTTP/1.1\r\n" + host, "method"},
		{"an absolute target", "GET http://h/a HTTP/1.1\r\n" + host, "begin with a slash"},
		{"an asterisk", "OPTIONS * HTTP/1.1\r\n" + host, "begin with a slash"},
		{"HTTP/1.2", "GET / HTTP/1.2\r\n" + host, "version"},
	} {
		h, err := parse(test.head + "\r\n")
		if err != nil {
			if test.err == "" {
				t.Errorf("%s: the library refuses it: %v", test.name, err)
			}
			continue
		}
		if err = CheckRequest(h); (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
	}
}

// The block is checked as it came, also where the server library would have refused it already.
func TestReadFraming(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		block string
		want  framing
		err   string
	}{
		{"", framing{}, ""},
		{"Host: g\r\nContent-Length: 12\r\n\r\n", framing{hosts: 1, lengths: 1, length: 12}, ""},
		{"Transfer-Encoding: chunked\r\nTrailer: X\r\n", framing{codings: 1, trailer: true}, ""},
		{"A: 1\r\n\r\nContent-Length: 3\r\n", framing{}, ""}, // after the head
		{"A: 1", framing{}, "CR LF"},
		{"\n", framing{}, "CR LF"},
		{"A: 1\r\n folded\r\n", framing{}, "not a token"},
		{"no colon\r\n", framing{}, "not a token"},
		{": 1\r\n", framing{}, "not a token"},
		{"Content-Length: 9223372036854775807\r\n", framing{lengths: 1, length: 1<<63 - 1}, ""},
		{"Content-Length: 9223372036854775808\r\n", framing{}, "more than one way"},
		{"Content-Length:\r\n", framing{}, "more than one way"},
		{"Content-Length: 1_0\r\n", framing{}, "more than one way"},
		{"Content-Length: 2, 2\r\n", framing{}, "more than one way"},
		{"Transfer_Encoding: chunked\r\n", framing{}, "more than one way"},
	} {
		f, err := readFraming([]byte(test.block))
		switch {
		case test.err == "" && (err != nil || f != test.want):
			t.Errorf("%q: %+v, %v", test.block, f, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%q: %v, want %q", test.block, err, test.err)
		}
	}
}

func TestCheckResponse(t *testing.T) {
	t.Parallel()
	const early, done = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	for _, test := range []struct{ name, answer, err string }{
		{"plain", done, ""},
		{"no reason", "HTTP/1.1 200\r\n\r\n", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", ""},
		{"interim first", early + done, ""},
		{"as many as may be", strings.Repeat(early, maxInterim-1) + done, ""},
		{"one too many", strings.Repeat(early, maxInterim) + done, "too many interim"},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "switches protocols"},
		{"an interim with a body", "HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n", "more than one way"},
		{"204 with a body", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "more than one way"},
		{"204 of length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", "more than one way"},
		{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", "status line"},
		{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", "status line"},
		{"below 100", "HTTP/1.1 099 OK\r\n\r\n", "status line"},
		{"a sign", "HTTP/1.1 +20 OK\r\n\r\n", "status line"},
		{"a control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", "status line"},
		{"too large", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", MaxHead) + "\r\n\r\n", "too large"},
		{"nothing", "", "EOF"},
		{"half a head", "HTTP/1.1 200 OK\r\nX", "EOF"},
	} {
		br := bufio.NewReaderSize(strings.NewReader(test.answer), MaxHead)
		err := CheckResponse(br)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
		if err != nil {
			continue
		}
		var h fasthttp.ResponseHeader // the head is still there
		if err := h.Read(br); err != nil || h.StatusCode() < 200 {
			t.Errorf("%s: then %d, %v", test.name, h.StatusCode(), err)
		}
	}
}

func TestContentHeaders(t *testing.T) {
	t.Parallel()
	for block, want := range map[string][2]string{
		"":                                       {},
		"Content-Type: application/json\r\n\r\n": {"application/json", ""},
		"content-type:  a \r\nX: y\r\nContent_Type: b\r\n\r\n":              {"a,b", ""},
		"CONTENT-ENCODING: gzip\r\nContent-Encoding:\r\nContent-Type:a\r\n": {"a", "gzip,"},
		"A: 1\r\n\r\nContent-Type: after the head\r\n":                      {},
	} {
		if types, encodings := ContentHeaders([]byte(block)); types != want[0] || encodings != want[1] {
			t.Errorf("%q: %q, %q", block, types, encodings)
		}
	}
}
