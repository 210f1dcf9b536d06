package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"replygate/upstream"
)

// newBody is a client's body over a connection that nothing else reads.
func newBody(t *testing.T, from io.Reader, length int, limit int64) *clientBody {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	return &clientBody{stream: from, conn: &clientConn{Conn: near}, began: time.Now(), left: limit, length: length}
}

// A body can be sent again from its beginning as long as no more than MaxUnsent bytes were read.
func TestClientBodyRewinds(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("0123456789"), 5000)
	for _, test := range []struct {
		read  int
		again bool
	}{{0, true}, {1, true}, {upstream.MaxUnsent, true}, {upstream.MaxUnsent + 1, false}, {len(text), false}} {
		b := newBody(t, bytes.NewReader(text), len(text), 1<<20)
		if _, err := io.CopyN(io.Discard, iotest.OneByteReader(b), int64(test.read)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // also twice
			if again := b.Rewind(); again != test.again {
				t.Fatalf("after %d bytes: %v", test.read, again)
			}
		}
		if !test.again {
			continue
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, text) {
			t.Errorf("after %d bytes and again: %d bytes, %v", test.read, len(got), err)
		}
	}
}

// A body that is needed to understand the answer is kept up to maxWhole.
func TestClientBodyIsKept(t *testing.T) {
	t.Parallel()
	for size, kept := range map[int]bool{0: true, 100: true, maxWhole: true, maxWhole + 1: false} {
		text := strings.Repeat("x", size)
		b := newBody(t, strings.NewReader(text), -1, 1<<20)
		b.keepWhole()
		if _, err := io.Copy(io.Discard, b); err != nil {
			t.Fatal(err)
		}
		if got := b.whole(); (string(got) == text) != kept {
			t.Errorf("of %d bytes %d are kept", size, len(got))
		}
	}
	var none *clientBody
	none.keepWhole()
	if none.broke() {
		t.Error("no body broke")
	}
}

func TestClientBodyBreaks(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, test := range []struct {
		name   string
		from   io.Reader
		length int
		limit  int64
		want   error
	}{
		{"whole", strings.NewReader("abc"), 3, 3, nil},
		{"whole, chunked", strings.NewReader("abc"), -1, 3, nil},
		{"over its limit", strings.NewReader("abcd"), -1, 3, errStreamTooLarge},
		{"shorter than announced", strings.NewReader("abc"), 4, 9, io.ErrUnexpectedEOF},
		{"broken", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 4, 9, broken},
	} {
		b := newBody(t, test.from, test.length, test.limit)
		_, err := io.Copy(io.Discard, b)
		if !errors.Is(err, test.want) || b.broke() != (test.want != nil) || b.ended != (test.want == nil) {
			t.Errorf("%s: %v; broke: %v, ended: %v", test.name, err, b.broke(), b.ended)
		}
		if test.want != nil && b.Rewind() {
			t.Errorf("%s: it starts again", test.name)
		}
	}
}
