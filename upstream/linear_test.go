package upstream

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/http1"
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
		const short, times = 8 << 10, 16
		took := func(n int) time.Duration {
			text := manyHeaders(n)
			began := processorTime(t)
			read(text)
			return processorTime(t) - began
		}
		small, large := time.Hour, time.Hour
		for range 5 {
			small = min(small, took(short))
		}
		limit := 5 * times * max(small, 250*time.Microsecond)
		for tries := 0; tries < 15 && large > limit && (tries < 3 || large < 10*limit); tries++ { // the collector may be at work
			large = min(large, took(short*times))
		}
		if large > limit {
			t.Errorf("%s: %s for %d bytes, %s for %d", what, small, short, large, short*times)
		}
	}
}

// processorTime is what this process has computed so far: the machine may be busy with others.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
