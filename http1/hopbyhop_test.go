package http1

import (
	"bufio"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// Headers of one connection, and those that Connection lists (RFC 9110, section 7.6.1), do not go
// on; all others do, in their order and with their values.
func TestDropHopByHop(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, lines string
		want        []string // what is left
	}{
		{"no header of a connection", "A: 1\r\nB: 2\r\nA: 3\r\n", []string{"A: 1", "B: 2", "A: 3"}},
		{"each of them", "Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authenticate: Basic\r\nProxy-Authorization: x\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nA: 1\r\n", []string{"A: 1"}},
		{"in any letter case", "keep-alive: 1\r\nUPGRADE: x\r\na: 1\r\n", []string{"A: 1"}},
		{"listed by Connection", "Connection: A, b\r\nA: 1\r\nB: 2\r\nC: 3\r\nA: 4\r\n", []string{"C: 3"}},
		{"listed by two lines", "Connection: a\r\nConnection: keep-alive, b\r\nA: 1\r\nB: 2\r\nC: 3\r\n", []string{"C: 3"}},
		{"listed, and not there", "Connection: X-None\r\nC: 3\r\n", []string{"C: 3"}},
		{"listed with blanks and nothing", "Connection: ,, A\t,,\r\nA: 1\r\nC: 3\r\n", []string{"C: 3"}},
		{"close names no header", "Connection: close\r\nClose: 1\r\n", []string{"Close: 1"}},
		{"names that begin alike", "Keep-Alived: 1\r\nTea: 2\r\nUpgrades: 3\r\nExpected: 4\r\nProxy-Status: 5\r\n", []string{"Keep-Alived: 1", "Tea: 2", "Upgrades: 3", "Expected: 4", "Proxy-Status: 5"}},
	} {
		var h fasthttp.ResponseHeader
		h.SetNoDefaultContentType(true)
		if err := h.Read(bufio.NewReader(strings.NewReader("HTTP/1.1 204 No Content\r\n" + test.lines + "\r\n"))); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		DropHopByHop(&h)
		var left []string
		for name, value := range h.All() {
			left = append(left, string(name)+": "+string(value))
		}
		slices.Sort(left)
		if want := slices.Sorted(slices.Values(test.want)); !slices.Equal(left, want) {
			t.Errorf("%s: %q are left, want %q", test.name, left, want)
		}
	}
}

func TestListedHeaders(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		want  []string
	}{
		{nil, nil},
		{[]string{"close"}, nil},
		{[]string{"Keep-Alive"}, nil},
		{[]string{"Keep-Alive, X-A"}, []string{"keep-alive", "x-a"}},
		{[]string{"X-A", "close", " X-B ,x-a"}, []string{"x-a", "x-b"}},
	} {
		var lines [][]byte
		for _, l := range test.lines {
			lines = append(lines, []byte(l))
		}
		names := ListedHeaders(lines)
		if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.lines, got, test.want)
		}
		for _, name := range test.want {
			if !names.Has([]byte(strings.ToUpper(name))) || names.Has([]byte(name+"x")) {
				t.Errorf("%q: Has does not find %q alone", test.lines, name)
			}
		}
	}
}

// SameName is equality but for ASCII letter case: no mark counts for another.
func TestSameName(t *testing.T) {
	t.Parallel()
	for a := range 256 {
		for b := range 128 {
			x, y := []byte{'x', byte(a)}, string([]byte{'X', byte(b)})
			want := a < 128 && strings.EqualFold(string(x), y)
			if got := SameName(x, y); got != want {
				t.Errorf("%q and %q: %v", x, y, got)
			}
		}
	}
	if SameName([]byte("a"), "ab") || SameName([]byte("ab"), "a") || !SameName(nil, "") {
		t.Error("names of other lengths")
	}
}

func TestIsHopByHop(t *testing.T) {
	t.Parallel()
	for _, name := range hopByHop {
		for _, written := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if !IsHopByHop([]byte(written)) {
				t.Errorf("%s goes on", written)
			}
		}
		if IsHopByHop([]byte(name+"s")) || IsHopByHop([]byte("X-"+name)) || IsHopByHop([]byte(name[1:])) {
			t.Errorf("a header that is like %s does not go on", name)
		}
	}
	for _, name := range []string{"", "Content-Type", "Cookie", "Etag", "User-Agent", "Upgrade-Insecure-Requests", "Proxy_Connection"} {
		if IsHopByHop([]byte(name)) {
			t.Errorf("%q does not go on", name)
		}
	}
}

// What proxies say of a caller is dropped in any letter case, also as CGI writes it.
func TestIsForwardingHeader(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url", "True-Client-Ip",
		"Cf-Connecting-Ip", "X-Http-Method-Override", "X-Http-Destinationurl", "Http-X-Forwarded-For", "X-Envoy-External-Address", "X-Appengine-User-Ip", "Wl-Proxy-Client-Ip",
	} {
		for _, written := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_")} {
			if !IsForwardingHeader([]byte(written)) {
				t.Errorf("%s goes on", written)
			}
		}
	}
	for _, name := range []string{"X", "Host", "Viable", "X-Forwarded-", "X-Real-", "X-Request-Id", "X-Trace", "Http-X", "Forwarded-For-Me", "Content-Type", "Url-X", strings.Repeat("X-Long", 20)} {
		if IsForwardingHeader([]byte(name)) {
			t.Errorf("%s does not go on", name)
		}
	}
}
