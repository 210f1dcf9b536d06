package wecom

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"replygate/internal/lineartest"
)

// decodeRepeatedly decodes percent escapes in repeated passes until one changes nothing.
func decodeRepeatedly(s string) string {
	for {
		d := unescape(s, false)
		if d == s {
			return s
		}
		s = d
	}
}

// readAllWays combines all variants of all steps, the plain way to write lenientEndpoints.
func readAllWays(raw []byte) (all []*Endpoint) {
	decoded := strings.ReplaceAll(strings.ToLower(decodeRepeatedly(string(raw))), `\`, "/")
	for _, end := range []func(string) string{asIs, cutEnd} {
		for _, params := range []func(string) string{asIs, segmentsWithoutParams, cutAtFirstParam} {
			for _, dots := range []func(string) string{asIs, segmentsWithoutDots, segmentsResolved} {
				for _, blanks := range []func(string) string{asIs, strings.TrimSpace} {
					path := blanks(dots(params(end(decoded))))
					for range 2 {
						for strings.Contains(path, "//") {
							path = strings.ReplaceAll(path, "//", "/")
						}
						for strings.HasPrefix(path, "/cgi-bin/cgi-bin/") {
							path = path[len("/cgi-bin"):]
						}
						path = "/" + strings.Trim(path, "/")
					}
					if e := Lookup(path); !slices.Contains(all, e) {
						all = append(all, e)
					}
				}
			}
		}
	}
	return all
}

// The steps of a lenient server in their simplest form.
func segmentsWithoutParams(p string) string {
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

func segmentsWithoutDots(p string) string {
	var kept []string
	for s := range strings.SplitSeq(p, "/") {
		if s = strings.Trim(s, ". "); s != "" {
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func segmentsResolved(p string) string {
	var kept []string
	for s := range strings.SplitSeq(p, "/") {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// checkDecoding compares the optimised functions with the simple ones.
func checkDecoding(t *testing.T, s string) {
	t.Helper()
	if got, want := decodeFully(s), decodeRepeatedly(s); got != want {
		t.Fatalf("%q is decoded to %q, pass upon pass to %q", s, got, want)
	}
	if got, want := lenientEndpoints([]byte(s)), readAllWays([]byte(s)); !slices.Equal(got, want) {
		t.Fatalf("%q has %d readings, in every way %d", s, len(got), len(want))
	}
}

// One pass decodes as much as repeated passes, and a path keeps all its readings.
func TestDecodingInOnePass(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		"%", "25", "2", "5", "%25", "%2", "%%", "%3", "%2f", "%2F", "%5c", "%00", "%23", "%3b", "%2e", "%5B", "%20", "%41", "%6", "1", "a", "F", "g", "Z",
		"/", "//", `\`, ".", "..", ";", "#", "?", "\x00", "[", "]", "+", " ", "\xff", "é", "cgi-bin", "/cgi-bin/", "kf", "send_msg", "externalcontact/get",
	}
	for range 20_000 {
		var b strings.Builder
		for range random.IntN(14) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		checkDecoding(t, b.String())
	}
}

func FuzzDecodeFully(f *testing.F) {
	f.Add("/cgi-bin/%256b%2566/send%25255fmsg")
	f.Add("%2%35%2%3%30%")
	f.Add(`//cgi-bin\%2e%2e/kf;x/send_msg%00`)
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) < 4<<10 {
			checkDecoding(t, s)
		}
	})
}

// hostile has texts of about n bytes that only an attacker sends.
var hostile = map[string]func(n int) string{
	"escapes of escapes": func(n int) string { return "/%" + strings.Repeat("25", n/2) + "41" },
	"escaped percents":   func(n int) string { return "/" + strings.Repeat("%25", n/3) },
	"split escapes":      func(n int) string { return "/" + strings.Repeat("%2%35", n/5) },
	"slashes":            func(n int) string { return "/x" + strings.Repeat("/", n) },
	"segments":           func(n int) string { return "/X" + strings.Repeat("/a", n/2) },
	"dots":               func(n int) string { return "/X" + strings.Repeat("/..", n/3) },
	"cgi-bin":            func(n int) string { return "/X" + strings.Repeat("/cgi-bin", n/8) },
	"parameters":         func(n int) string { return "/x" + strings.Repeat(";access_token", n/13) },
	"short parameters":   func(n int) string { return "/x" + strings.Repeat(";", n) },
	"pairs":              func(n int) string { return "x" + strings.Repeat("&accesstokens=", n/14) },
	"escaped names":      func(n int) string { return "x" + strings.Repeat("&%2561%2563cess_tokem=1", n/23) },
	"tokens":             func(n int) string { return "x" + strings.Repeat("&access_token=%2525;", n/20) },
	"plus signs":         func(n int) string { return strings.Repeat("+", n) + "=1" },
	"every way at once":  func(n int) string { return "/X" + strings.Repeat("/%2e.;x/ ", n/10) + "#y" + strings.Repeat(" ", n/2) },
}

// targetReaders has the functions that parse paths and queries of unknown callers.
var targetReaders = map[string]func(string){
	"path":     func(s string) { _ = ReadPath([]byte(s)) },
	"tokens":   func(s string) { _ = ReadTokens(nil, []byte(s)) },
	"own path": func(s string) { _ = IsOwn([]byte(s)) },
	"callback": func(s string) { _, _ = ReadSigned([]byte(s)) },
	"query":    func(s string) { _, _ = Lookup("/cgi-bin/externalcontact/get").ReadFacts([]byte(s), nil) },
}

// hostileBodies has callback bodies of about n bytes that only an attacker sends.
var hostileBodies = map[string]func(n int) string{
	"elements":   func(n int) string { return "<xml>" + strings.Repeat("<a/>", n/4) + "</xml>" },
	"attributes": func(n int) string { return "<xml" + strings.Repeat(" a='&lt;'", n/9) + "/>" },
	"text":       func(n int) string { return "<xml><Encrypt>" + strings.Repeat("&amp;", n/5) + "</Encrypt></xml>" },
	"sections": func(n int) string {
		return "<xml><Encrypt>" + strings.Repeat("<![CDATA[a]]>", n/13) + "</Encrypt></xml>"
	},
	"comments": func(n int) string { return "<xml>" + strings.Repeat("<!---->", n/7) + "</xml>" },
	"escapes":  func(n int) string { return `{"encrypt":"` + strings.Repeat(`\u0041`, n/6) + `"}` },
	"brackets": func(n int) string { return strings.Repeat("[", n) },
	"items": func(n int) string {
		return "<xml><MemChangeList>" + strings.Repeat("<Item/>", n/7) + "</MemChangeList></xml>"
	},
	"text among items": func(n int) string {
		return "<xml><MemChangeList>" + strings.Repeat("a<Item>b</Item>", n/15) + "</MemChangeList></xml>"
	},
	"names": func(n int) string {
		var b strings.Builder
		b.WriteString(`{"x":1`)
		for i := range n / 13 {
			fmt.Fprintf(&b, `,"n%07d":1`, i)
		}
		return b.String() + "}"
	},
}

// Parsing the text of unknown callers takes linear time: sixteen times as much text takes about
// sixteen times as long, not 256 times.
func TestReadingIsLinear(t *testing.T) {
	for shape, text := range hostile {
		for what, read := range targetReaders {
			lineartest.Check(t, what+" of "+shape, text, read)
		}
	}
	for shape, text := range hostileBodies {
		lineartest.Check(t, "envelope of "+shape, text, func(s string) { _, _ = ReadEnvelope([]byte(s)) })
	}
	e := ReadPath([]byte("/cgi-bin/kf/send_msg")).Endpoint
	fields := func(n int) string {
		return `{` + strings.Repeat(`"a":1,`, n/20) + `"touser":"A","x":"` + strings.Repeat("&touser=A", n/13) + `&"}`
	}
	lineartest.Check(t, "form that repeats a field", fields, func(s string) {
		if err := e.CheckForm("application/x-www-form-urlencoded", []byte(s)); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkReading shows that a byte takes the same time in a short and in a long text.
func BenchmarkReading(b *testing.B) {
	for _, shape := range []string{"escapes of escapes", "every way at once", "parameters"} {
		for _, n := range []int{1 << 10, 16 << 10, 256 << 10} {
			text := hostile[shape](n)
			for _, what := range []string{"path", "tokens"} {
				b.Run(fmt.Sprintf("%s/%s/%dKiB", what, strings.ReplaceAll(shape, " ", "-"), n>>10), func(b *testing.B) {
					b.SetBytes(int64(len(text)))
					for b.Loop() {
						targetReaders[what](text)
					}
				})
			}
		}
	}
}
