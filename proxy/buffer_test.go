package proxy

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/config"
	"replygate/upstream"
)

// text is n bytes that do not repeat soon.
func text(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// However an answer comes, what fill read of it is its beginning, whole if it is within the limit,
// in memory of about its size.
func TestFill(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	for _, size := range []int{0, 1, firstPiece - 1, firstPiece, firstPiece + 1, 3*firstPiece + 1, 3*firstPiece + 2, limit - 1, limit, limit + 1, 3 * limit} {
		for _, length := range []int{-2, -1, size, 0, size / 2} { // also a head that is wrong
			for how, reader := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "by halves": iotest.HalfReader, "its end with its data": iotest.DataErrReader,
			} {
				name := fmt.Sprintf("%d bytes, %d announced, %s", size, length, how)
				all := text(size)
				s, err := fill(reader(bytes.NewReader(all)), length, limit)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got, err := io.ReadAll(s.Reader())
				if err != nil || len(got) != s.size || !bytes.HasPrefix(all, got) {
					t.Fatalf("%s: %d bytes, size %d, %v", name, len(got), s.size, err)
				}
				if s.whole != (size <= limit) || s.whole && s.size != size || !s.whole && s.size <= limit {
					t.Errorf("%s: whole is %v with %d bytes", name, s.whole, s.size)
				}
				held := 0
				for _, p := range s.pieces {
					held += cap(p)
				}
				if held > 4*s.size+2*firstPiece {
					t.Errorf("%s: %d bytes are held", name, held)
				}
			}
		}
	}
}

// A piece is never longer than maxPiece, however long the answer is; one whose length is known is a
// single piece.
func TestFillPieces(t *testing.T) {
	t.Parallel()
	all := text(5 << 20)
	s, err := fill(bytes.NewReader(all), -1, 8<<20)
	if err != nil || !s.whole {
		t.Fatalf("whole is %v, %v", s.whole, err)
	}
	for i, p := range s.pieces {
		if len(p) > maxPiece+1 {
			t.Errorf("piece %d has %d bytes", i, len(p))
		}
	}
	if s, err = fill(bytes.NewReader(all), len(all), 8<<20); err != nil || len(s.pieces) != 1 || !s.whole {
		t.Errorf("%d pieces of a known length, %v", len(s.pieces), err)
	}
}

// An answer that breaks off is an error, never a whole one.
func TestFillBrokenAnswers(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, before := range []int{0, 1, firstPiece, firstPiece + 1, 50_000} {
		for _, length := range []int{-1, before, 60_000} {
			if s, err := fill(io.MultiReader(bytes.NewReader(text(before)), iotest.ErrReader(broken)), length, 100_000); !errors.Is(err, broken) || s != nil {
				t.Errorf("broken after %d bytes of %d: %v, %v", before, length, s, err)
			}
		}
	}
}

// What an upstream framed as longer than it sent did not end; what it framed rightly did.
func TestFillFramedAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, answer string
		want         string // "" if it breaks off
	}{
		{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"},
		{"the end of the connection", "HTTP/1.1 200 OK\r\n\r\nabc", "abc"},
		{"a length that is too long", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", ""},
		{"chunks without an end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ""},
		{"a chunk without an end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc", ""},
		{"no chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nabc", ""},
	} {
		body := bodyOf(t, test.answer)
		s, err := fill(body, body.Length(), 100)
		if test.want == "" {
			if err == nil {
				t.Errorf("%s: it is whole", test.name)
			}
			continue
		}
		if err != nil || !s.whole || string(bytes.Join(s.pieces, nil)) != test.want {
			t.Errorf("%s: %v, %v", test.name, s, err)
		}
	}
}

// bodyOf is the body of an answer as an upstream sends it.
func bodyOf(t *testing.T, answer string) *upstream.Body {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	}()
	u, err := upstream.New(config.Upstream{URL: "http://" + ln.Addr().String(), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	var head fasthttp.RequestHeader
	if err := head.Read(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: g\r\n\r\n"))); err != nil {
		t.Fatal(err)
	}
	body, err := u.Do(&upstream.Request{Head: &head, Target: []byte("/"), Host: "u"}, &fasthttp.Response{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { body.Close() })
	return body
}

// readSmall reads up to a megabyte, and nothing of an answer that breaks.
func TestReadSmall(t *testing.T) {
	t.Parallel()
	long := text(maxReadSmall + 10)
	if got := readSmall(bytes.NewReader(long), nil); !bytes.Equal(got, long[:maxReadSmall]) {
		t.Errorf("of a long answer it reads %d bytes", len(got))
	}
	if got := readSmall(strings.NewReader("abc"), nil); string(got) != "abc" {
		t.Errorf("%q", got)
	}
	if got := readSmall(strings.NewReader("abc"), io.ErrUnexpectedEOF); got != nil {
		t.Errorf("%q of an answer that cannot be read", got)
	}
	if got := readSmall(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(errInflated)), nil); got != nil {
		t.Errorf("%q of an answer that breaks", got)
	}
	var held shortBody
	for _, all := range []string{"first", "", "another"} { // it is used again
		held.hold([]byte(all))
		if got := readSmall(&held, nil); string(got) != all {
			t.Errorf("%q, want %q", got, all)
		}
		if got, err := io.ReadAll(&held); err != nil || string(got) != all {
			t.Errorf("%q, %v, want %q", got, err, all)
		}
	}
}

func gzipped(plain []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(plain)
	_ = w.Close()
	return b.Bytes()
}

func zlibbed(plain []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(plain)
	_ = w.Close()
	return b.Bytes()
}

// An answer is read in the encodings of RFC 9110, section 8.4.1, and in no other.
func TestInflated(t *testing.T) {
	t.Parallel()
	plain := []byte(`{"errcode":0,"errmsg":"好"}`)
	var raw bytes.Buffer
	w, _ := flate.NewWriter(&raw, flate.BestSpeed)
	_, _ = w.Write(plain)
	_ = w.Close()
	for _, test := range []struct {
		name, encoding string
		answer         []byte
		fails          bool
	}{
		{"none", "", plain, false},
		{"identity", "Identity", plain, false},
		{"gzip", "gzip", gzipped(plain), false},
		{"gzip in capitals", "GZIP", gzipped(plain), false},
		{"x-gzip", "x-gzip", gzipped(plain), false},
		{"two gzips in a row", "gzip", append(gzipped(plain[:5]), gzipped(plain[5:])...), false},
		{"deflate", "deflate", zlibbed(plain), false},
		{"deflate without zlib", "deflate", raw.Bytes(), true},
		{"br", "br", plain, true},
		{"several", "gzip, gzip", gzipped(gzipped(plain)), true},
		{"with blanks", " gzip", gzipped(plain), true},
		{"gzip that is none", "gzip", plain, true},
		{"gzip of nothing", "gzip", nil, true},
		{"gzip that ends early", "gzip", gzipped(plain)[:20], true},
		{"gzip without its sum", "gzip", gzipped(plain)[:len(gzipped(plain))-8], true},
		{"gzip with another sum", "gzip", append(gzipped(plain)[:len(gzipped(plain))-8], 1, 2, 3, 4, 5, 6, 7, 8), true},
	} {
		r, err := inflated(bytes.NewReader(test.answer), test.encoding)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if test.fails {
			if err == nil {
				t.Errorf("%s: %q", test.name, got)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A bomb fails at the bound, whatever it would unfold to.
func TestInflatedIsBounded(t *testing.T) {
	t.Parallel()
	bomb := func(n int64) *bytes.Buffer {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.CopyN(w, zeros{}, n)
		_ = w.Close()
		return &b
	}
	for _, test := range []struct {
		size int64
		want error
	}{
		{maxInflated - 1, nil}, {maxInflated, nil}, {maxInflated + 1, errInflated},
	} {
		r, err := inflated(bomb(test.size), "gzip")
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if !errors.Is(err, test.want) || n > maxInflated || test.want == nil && n != test.size {
			t.Errorf("%d bytes: %d are read, %v, want %v", test.size, n, err, test.want)
		}
	}
	b := &bounded{r: zeros{}, left: 10}
	for range 3 { // it goes on failing
		if n, err := b.Read(make([]byte, 11)); n != 0 || !errors.Is(err, errInflated) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}
