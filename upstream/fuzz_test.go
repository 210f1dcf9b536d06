package upstream_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"replygate/upstream"
)

// answers are the answers of a table of the end-to-end tests.
func answers(t testing.TB) (all []string) {
	t.Helper()
	data, err := os.ReadFile("../testdata/proxy/answers.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || len(cells) < 5 {
			continue
		}
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(cells[4], `"`, `\"`) + `"`)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	return all
}

// Whatever bytes a server answers with: the caller gets a whole answer or an error, the request
// counts as sent, and the next request gets its own answer.
func FuzzAnswers(f *testing.F) {
	closed := make(chan struct{})
	var mu sync.Mutex
	var next *string // the answer to the next request, the last one of its connection
	u := open(f, listen(f, func(_ int, conn net.Conn, br *bufio.Reader) {
		for {
			if _, err := br.Peek(1); err != nil {
				return
			}
			with, last := ok, false
			mu.Lock()
			if next != nil {
				with, last, next = *next, true, nil
			}
			mu.Unlock()
			_, err := answer(conn, br, with)
			if last {
				conn.Close()
				closed <- struct{}{}
			}
			if err != nil || last {
				return
			}
		}
	}), 10*time.Second)
	for _, text := range answers(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mu.Lock()
		next = &text
		mu.Unlock()
		var resp fasthttp.Response
		b, err := u.Do(&upstream.Request{Head: head(t, "GET / HTTP/1.1\nHost: g"), Target: []byte("/"), Host: u.Host()}, &resp, time.Time{})
		if err == nil && b != nil {
			var n int64
			n, err = io.Copy(io.Discard, b)
			if length := b.Length(); err == nil && (!b.Whole() || length >= 0 && int64(length) != n) {
				t.Errorf("%q: %d bytes of %d are the whole body: %v", text, n, length, b.Whole())
			}
			_ = b.Close()
		}
		switch {
		case err == nil && (resp.StatusCode() < 200 || resp.StatusCode() > 999):
			t.Errorf("%q: the status is %d", text, resp.StatusCode())
		case err != nil && errors.Is(err, upstream.ErrNotSent):
			t.Errorf("%q: %v", text, err)
		}
		<-closed
		if status, body, err := call(t, u, "GET", "/", ""); status != 200 || body != "{}" || err != nil {
			t.Errorf("%q: the next request is answered %d %q, %v", text, status, body, err)
		}
	})
}
