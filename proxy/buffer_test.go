package proxy

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// fill reads to the limit and one byte further, in pieces that hold all that was read.
func TestFill(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		size, announced, limit int
		whole                  bool
	}{
		{0, -1, 10, true},
		{0, 0, 10, true},
		{10, 10, 10, true},
		{10, -1, 10, true},
		{11, -1, 10, false},
		{11, 11, 10, false},
		{300_000, -1, 1 << 20, true},
		{300_000, 300_000, 1 << 20, true},
		{300_000, 1 << 30, 1 << 20, true}, // more is announced than the limit
		{3 << 20, -1, 1 << 20, false},
	} {
		want := bytes.Repeat([]byte("0123456789"), test.size/10+1)[:test.size]
		src := iotest.HalfReader(bytes.NewReader(want))
		s, err := fill(src, test.announced, test.limit)
		if err != nil || s.whole != test.whole {
			t.Errorf("%+v: %v, %v", test, s, err)
			continue
		}
		got, err := io.ReadAll(io.MultiReader(s.Reader(), src))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d bytes, %v", test, len(got), err)
		}
		if test.announced == test.size && test.whole && len(s.pieces) != 1 {
			t.Errorf("%+v: %d pieces, though the length was known", test, len(s.pieces))
		}
	}
	broken := errors.New("broken")
	if _, err := fill(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), -1, 10); !errors.Is(err, broken) {
		t.Errorf("a reader that breaks off: %v", err)
	}
}

func TestInflated(t *testing.T) {
	t.Parallel()
	pack := func(text string, zip func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		w := zip(&b)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return b.String()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zl := func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
	for _, test := range []struct{ name, body, encoding, want, err string }{
		{"as it is", "hello", "", "hello", ""},
		{"identity", "hello", "Identity", "hello", ""},
		{"gzip", pack("hello", gz), "gzip", "hello", ""},
		{"x-gzip", pack("hello", gz), "X-GZIP", "hello", ""},
		{"deflate", pack("hello", zl), "deflate", "hello", ""},
		{"another", "hello", "br", "", "nobody asked for"},
		{"two", "hello", "gzip, gzip", "", "nobody asked for"},
		{"no gzip", "hello", "gzip", "", "EOF"},
		{"cut", pack("hello", gz)[:15], "gzip", "", "EOF"},
		{"a bomb", pack(strings.Repeat("0", maxInflated+1), gz), "gzip", "", "unfolds to too much"},
	} {
		r, err := inflated(strings.NewReader(test.body), test.encoding)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if test.err == "" && (err != nil || string(got) != test.want) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %q, %v", test.name, got[:min(len(got), 20)], err)
		}
	}
}

func TestReadSmall(t *testing.T) {
	t.Parallel()
	var short shortBody
	short.hold([]byte("in memory"))
	for _, test := range []struct {
		name string
		r    io.Reader
		err  error
		want string
	}{
		{"in memory", &short, nil, "in memory"},
		{"streamed", strings.NewReader("streamed"), nil, "streamed"},
		{"an error", strings.NewReader("x"), errTooLong, ""},
		{"a broken answer", iotest.ErrReader(io.ErrUnexpectedEOF), nil, ""},
	} {
		if got := readSmall(test.r, test.err); string(got) != test.want {
			t.Errorf("%s: %q", test.name, got)
		}
	}
	if got := readSmall(strings.NewReader(strings.Repeat("x", maxReadSmall+1)), nil); len(got) != maxReadSmall {
		t.Errorf("of a long answer %d bytes are read", len(got))
	}
}
