package upstream

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"replygate/http1"
	"replygate/internal/lineartest"
)

// manyHeaders is a head of about n bytes whose Connection lists many headers, and which has as many
// others.
func manyHeaders(n int) string {
	var names, lines strings.Builder
	for i := range n / 12 {
		fmt.Fprintf(&names, ",a%04x", i)
		fmt.Fprintf(&lines, "b%04x:\r\n", i)
	}
	return "GET / HTTP/1.1\r\nHost: g\r\nConnection: x" + names.String() + "\r\n" + lines.String() + "\r\n"
}

// What a head costs grows with its length, not with its square.
func TestHeadsAreLinear(t *testing.T) {
	for what, read := range map[string]func(text string){
		"a request with many headers that Connection lists": func(text string) {
			var h fasthttp.RequestHeader
			if err := h.Read(bufio.NewReaderSize(strings.NewReader(text), 1<<20)); err != nil {
				t.Fatal(err)
			}
			if err := http1.CheckRequest(&h); err != nil {
				t.Fatal(err)
			}
			if err := (&Request{Head: &h}).writeTo(bufio.NewWriter(io.Discard)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		lineartest.Check(t, what, manyHeaders, read)
	}
}
