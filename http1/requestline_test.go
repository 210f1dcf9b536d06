package http1

import (
	"strings"
	"testing"
)

// However the bytes of a connection are cut into reads, the request line's end is seen.
func TestRequestLineScanner(t *testing.T) {
	const good = "POST /a HTTP/1.1\r\nHost: g\r\n\r\n{\n}"
	for _, test := range []struct {
		text      string
		ambiguous bool
	}{
		{good, false},
		{"\r\n" + good, false},
		{strings.Replace(good, "1.1\r\n", "1.1\n", 1), true},
		{"\n" + good, true},
		{"\r\n" + strings.Replace(good, "1.1\r\n", "1.1\n", 1), true},
	} {
		for cut := range len(test.text) + 1 {
			var w RequestLineScanner
			w.Read([]byte(test.text[:cut]))
			w.Read([]byte(test.text[cut:]))
			if w.Ambiguous() != test.ambiguous {
				t.Fatalf("%q cut at %d: ambiguous is %v", test.text, cut, w.Ambiguous())
			}
			w.RequestEnded()
			w.Read([]byte(good)) // the next one, apart
			w.RequestBegan()
			if w.Ambiguous() {
				t.Fatalf("a good request after %q cut at %d is ambiguous", test.text, cut)
			}
		}
	}
	var w RequestLineScanner // pipelined after a body with a bare LF: nobody can tell
	w.Read([]byte(good + "GET /b HTTP/1.1\nHost: g\r\n\r\n"))
	w.RequestEnded()
	w.RequestBegan()
	if !w.Ambiguous() {
		t.Error("a pipelined request with a bare LF is not ambiguous")
	}
	w = RequestLineScanner{}
	w.Read([]byte("GET /a HTTP/1.1\r\nHost: g\r\n\r\nGET /b HTTP/1.1\r\nHost: g\r\n\r\n"))
	w.RequestEnded()
	w.RequestBegan()
	if w.Ambiguous() {
		t.Error("a good pipelined request is ambiguous")
	}
}
