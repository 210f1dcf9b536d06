package http1

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestHeaderKinds(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ hop, forwarding bool }{
		"Connection":                       {true, false},
		"keep-alive":                       {true, false},
		"TE":                               {true, false},
		"TRANSFER-ENCODING":                {true, false},
		"Upgrade":                          {true, false},
		"Expect":                           {true, false},
		"Proxy-Connection":                 {true, false},
		"Transfer_Encoding":                {false, false},
		"Content-Type":                     {false, false},
		"X-Forwarded-For":                  {false, true},
		"x_forwarded_for":                  {false, true},
		"X-Forwarded-":                     {false, false}, // a prefix alone names nothing
		"X-Forwarded":                      {false, true},
		"Forwarded":                        {false, true},
		"VIA":                              {false, true},
		"X-Original-URL":                   {false, true},
		"HTTP_X_FORWARDED_X":               {false, true},
		"Host":                             {false, false},
		"X-Request-Id":                     {false, false},
		"a":                                {false, false},
		"X-" + strings.Repeat("long-", 30): {false, false},
	} {
		if hop, forwarding := IsHopByHop([]byte(name)), IsForwardingHeader([]byte(name)); hop != want.hop || forwarding != want.forwarding {
			t.Errorf("%s: hop by hop %v, forwarding %v", name, hop, forwarding)
		}
	}
	if IsHopByHop(nil) {
		t.Error("no name belongs to a connection")
	}
}

func TestSameName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, other string
		same        bool
	}{
		{"Host", "Host", true}, {"hOST", "Host", true}, {"Host", "Hosts", false}, {"Host", "Hose", false},
		{"X-A", "X_A", false}, {"X\x0dA", "X-A", false}, // 0x20 is not the case of other bytes than letters
		{"", "", true},
	} {
		if SameName([]byte(test.name), test.other) != test.same {
			t.Errorf("%q and %q: same is %v", test.name, test.other, !test.same)
		}
	}
}

func TestListedHeaders(t *testing.T) {
	t.Parallel()
	names := ListedHeaders([][]byte{[]byte("close"), []byte("X-A , x-b,,"), []byte("Keep-Alive"), []byte("close, X-C")})
	for name, want := range map[string]bool{"x-a": true, "X-B": true, "X-C": true, "X-D": false, "keep-alive": false, "x-a ": false} {
		if names.Has([]byte(name)) != want {
			t.Errorf("%q is listed: %v", name, !want)
		}
	}
	if ListedHeaders([][]byte{[]byte("close")}) != nil || HeaderNames(nil).Has([]byte("a")) {
		t.Error("close lists a header")
	}
}

func TestDropHopByHop(t *testing.T) {
	t.Parallel()
	var h fasthttp.ResponseHeader
	for _, line := range []string{"Connection: X-Mine", "Keep-Alive: timeout=5", "X-Mine: 1", "Upgrade: h2c", "Content-Type: a/b", "X-Kept: 1"} {
		name, value, _ := strings.Cut(line, ": ")
		h.Set(name, value)
	}
	DropHopByHop(&h)
	for name, want := range map[string]string{"Keep-Alive": "", "X-Mine": "", "Upgrade": "", "Content-Type": "a/b", "X-Kept": "1"} {
		if got := string(h.Peek(name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
