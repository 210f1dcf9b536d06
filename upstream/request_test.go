package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func readHeader(t *testing.T, text string) *fasthttp.RequestHeader {
	t.Helper()
	var h fasthttp.RequestHeader
	if err := h.Read(bufio.NewReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	return &h
}

// failing is a reader that breaks off.
type failing struct{ text string }

var errBroken = errors.New("broken")

func (f *failing) Read(p []byte) (int, error) {
	n := copy(p, f.text)
	f.text = f.text[n:]
	if n == 0 {
		return 0, errBroken
	}
	return n, nil
}

func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	const to = " /t HTTP/1.1\r\nHost: up\r\n"
	for _, test := range []struct {
		name, head string // its lines after the Host
		r          Request
		method     string
		want       string // after the Host; "" with an error
	}{
		{"no body", "Accept: */*\r\n", Request{}, "GET", "Accept: */*\r\n\r\n"},
		{"no body where one could be", "", Request{}, "POST", "Content-Length: 0\r\n\r\n"},
		{"a body of length zero", "Content-Length: 0\r\n", Request{}, "GET", "Content-Length: 0\r\n\r\n"},
		{"a body", "Content-Length: 9\r\n", Request{Body: []byte("{}")}, "POST", "Content-Length: 2\r\n\r\n{}"},
		{"a body of a GET", "", Request{Body: []byte("{}")}, "GET", "Content-Length: 2\r\n\r\n{}"},
		{"a stream", "", Request{Stream: &upload{strings.NewReader("{}"), 2}}, "POST", "Content-Length: 2\r\n\r\n{}"},
		{"a stream of unknown length", "Transfer-Encoding: chunked\r\n", Request{Stream: &upload{strings.NewReader("{}"), -1}}, "POST", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"},
		{"a stream that ends early", "", Request{Stream: &upload{strings.NewReader("{}"), 3}}, "POST", ""},
		{"a stream that breaks", "", Request{Stream: &upload{&failing{"{}"}, -1}}, "POST", ""},
		{"as it came", "content-type: a\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\n", Request{}, "GET", "content-type: a\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\n\r\n"},
		{"hop by hop", "Keep-Alive: 1\r\nTE: x\r\nUpgrade: x\r\nProxy-Authorization: x\r\nExpect: 100-continue\r\nB: 1\r\n", Request{}, "GET", "B: 1\r\n\r\n"},
		{"listed by Connection", "Connection: x-A, b\r\nX-a: 1\r\nB: 2\r\nC: 3\r\n", Request{}, "GET", "C: 3\r\n\r\n"},
		{"of proxies", "X-Forwarded-For: 1.1.1.1\r\nForwarded: x\r\nX_Real_IP: x\r\nB: 1\r\n", Request{}, "GET", "B: 1\r\n\r\n"},
		{"of proxies, kept", "X-Forwarded-For: 1.1.1.1\r\n", Request{KeepForwarded: true}, "GET", "X-Forwarded-For: 1.1.1.1\r\n\r\n"},
		{"of a trace", "traceparent: x\r\nTRACESTATE: x\r\nBaggage: x\r\nBaggages: 1\r\nB: 1\r\n", Request{}, "GET", "Baggages: 1\r\nB: 1\r\n\r\n"},
		{"of a trace, kept", "traceparent: x\r\n", Request{KeepForwarded: true}, "GET", "traceparent: x\r\n\r\n"},
		{"compression", "Accept-Encoding: gzip\r\n", Request{}, "GET", "Accept-Encoding: gzip\r\n\r\n"},
		{"no compression", "accept-encoding: gzip\r\n", Request{Identity: true}, "GET", "\r\n"},
	} {
		test.r.Head = readHeader(t, test.method+" /from HTTP/1.1\r\nHost: g\r\n"+test.head+"\r\n")
		test.r.Target, test.r.Host = []byte("/t"), "up"
		var out bytes.Buffer
		bw := bufio.NewWriter(&out)
		err := test.r.writeTo(bw)
		if (err != nil) != (test.want == "") {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		_ = bw.Flush()
		if want := test.method + to + test.want; err == nil && out.String() != want {
			t.Errorf("%s:\n%q, want\n%q", test.name, out.String(), want)
		}
	}
}

// No more than MaxUnsent bytes of a stream are read before the first byte is written: so many can
// be sent again.
func TestUnsentIsBounded(t *testing.T) {
	t.Parallel()
	for _, length := range []int{1 << 20, -1} {
		body := strings.NewReader(strings.Repeat("x", 1<<20))
		r := Request{Head: readHeader(t, "POST / HTTP/1.1\r\nHost: g\r\n\r\n"), Target: []byte("/"), Stream: &upload{body, length}}
		before := -1
		w := writerFunc(func([]byte) (int, error) {
			if before < 0 {
				before = int(body.Size()) - body.Len()
			}
			return 0, errBroken
		})
		if err := r.writeTo(bufio.NewWriterSize(w, writerSize)); !errors.Is(err, errBroken) || before < 0 || before > MaxUnsent {
			t.Errorf("of a length of %d, %d bytes were read before the first write, %v", length, before, err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
