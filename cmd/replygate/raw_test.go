package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"replygate/store/storetest"
)

// unescape reads the escapes of a table: those of a Go string.
func unescape(t testing.TB, s string) string {
	t.Helper()
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return out
}

// exchange sends raw bytes and reads one answer; ok is false if the connection ended without one.
func exchangeRaw(t testing.TB, address, request string) (a answer, ok bool) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(conn, request) // the gateway may have closed already
	_ = conn.(*net.TCPConn).CloseWrite()
	br := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return answer{}, false
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		return answer{Response: resp, body: body}, true
	}
}

// One request in, one request out, or none: framing that has more than one reading is refused for
// everybody, in WeCom's shape.
func TestFraming(t *testing.T) {
	r := newRig(t, storetest.Embedded(t), nil)
	r.token = r.fetchToken(r.gateway)
	cases := lines(t, "proxy/framing.tsv", 4)
	if len(cases) < 60 {
		t.Errorf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c[0], func(t *testing.T) {
			r.platform.Forget()
			request := strings.ReplaceAll(unescape(t, c[3]), "{T}", r.token)
			a, ok := exchangeRaw(t, r.gateway.api.Addr().String(), request)
			seen := len(r.platform.Calls())
			if fmt.Sprint(seen) != c[2] {
				t.Errorf("upstream saw %d calls, want %s", seen, c[2])
			}
			if !ok {
				t.Fatal("the connection ended without an answer")
			}
			if fmt.Sprint(a.StatusCode) != c[1] {
				t.Errorf("HTTP %d %s, want %s", a.StatusCode, a.body, c[1])
			}
			if a.StatusCode != http.StatusOK && !strings.HasPrefix(string(a.body), `{"errcode":9904`) {
				t.Errorf("not in WeCom's shape: %s", a.body)
			}
			if a.StatusCode == http.StatusBadRequest && !a.Close {
				t.Error("the connection stays open behind a request that nobody can tell the end of")
			}
		})
	}
}
