package http1

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"

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
			if err := CheckRequest(&h); err != nil {
				t.Fatal(err)
			}
			listed := ListedHeaders(h.PeekAll("Connection"))
			for name := range h.All() {
				if IsHopByHop(name) || listed.Has(name) || IsForwardingHeader(name) {
					continue
				}
			}
		},
		"an answer that comes a byte at a time": func(text string) {
			if _, err := peekHead(bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(text)), 1<<20)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		lineartest.Check(t, what, manyHeaders, read)
	}
}
