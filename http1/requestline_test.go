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

// texts calls do with every text of up to n bytes of a letter, CR and LF.
func texts(n int, do func(text string)) {
	var grow func(prefix string)
	grow = func(prefix string) {
		do(prefix)
		if len(prefix) < n {
			for _, c := range []string{"a", "\r", "\n"} {
				grow(prefix + c)
			}
		}
	}
	grow("")
}

// bareLF is the plain rule: after empty lines, the first line ends in LF without CR.
func bareLF(text string) bool {
	for strings.HasPrefix(text, "\r\n") {
		text = text[2:]
	}
	end := strings.IndexByte(text, '\n')
	return end == 0 || end > 0 && text[end-1] != '\r'
}

// Of every text, cut into reads anywhere, the scanner finds what the plain rule says.
func TestRequestLineAgainstTheRule(t *testing.T) {
	t.Parallel()
	texts(8, func(text string) {
		want := bareLF(text)
		for cut := range len(text) + 1 {
			var w RequestLineScanner
			w.Read([]byte(text[:cut]))
			w.Read([]byte(text[cut:]))
			if w.Ambiguous() != want {
				t.Fatalf("%q cut at %d: %v, want %v", text, cut, w.Ambiguous(), want)
			}
		}
		var w RequestLineScanner
		for i := range len(text) {
			w.Read([]byte{text[i]})
			if got, want := w.Ambiguous(), bareLF(text[:i+1]); got != want {
				t.Fatalf("%q read up to %d: %v, want %v", text, i, got, want)
			}
		}
	})
}

// A request that began in what was read with the one before is ambiguous if a bare LF is anywhere
// after the first request line.
func TestPipelinedRequestLineAgainstTheRule(t *testing.T) {
	t.Parallel()
	const line = "GET / HTTP/1.1\r\n"
	texts(6, func(text string) {
		want := strings.Count(text, "\n") > strings.Count(text, "\r\n")
		for cut := range len(text) + 1 {
			var w RequestLineScanner
			w.RequestBegan()
			w.Read([]byte(line + text[:cut]))
			w.Read([]byte(text[cut:]))
			if w.Ambiguous() {
				t.Fatalf("%q: the first request is ambiguous", text)
			}
			w.RequestEnded()
			w.RequestBegan()
			if w.Ambiguous() != want {
				t.Fatalf("%q cut at %d: the next request: %v, want %v", text, cut, w.Ambiguous(), want)
			}
		}
	})
}
