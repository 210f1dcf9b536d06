package wecom

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"
)

// streams are the ways in which the same bytes can arrive.
var streams = map[string]func(string) io.Reader{
	"whole":    func(s string) io.Reader { return strings.NewReader(s) },
	"byte":     func(s string) io.Reader { return iotest.OneByteReader(strings.NewReader(s)) },
	"with EOF": func(s string) io.Reader { return iotest.DataErrReader(strings.NewReader(s)) },
	"aborted": func(s string) io.Reader {
		return io.MultiReader(strings.NewReader(s), iotest.ErrReader(errors.New("reset")))
	},
	"empty reads": func(s string) io.Reader { return &stuttering{r: iotest.HalfReader(strings.NewReader(s))} },
}

// stuttering returns no bytes and no error from every second read.
type stuttering struct {
	r     io.Reader
	empty bool
}

func (s *stuttering) Read(p []byte) (int, error) {
	if s.empty = !s.empty; s.empty {
		return 0, nil
	}
	return s.r.Read(p)
}

// A value of an answer ends where its brackets and quotes end, whatever is in them.
func TestAnswerScannerValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, value, rest string
		err               error
	}{
		{`{"a":1},x`, `{"a":1}`, `,x`, nil},
		{" \x00\n[1,2]x", `[1,2]`, `x`, nil},
		{`"a\"b"c`, `"a\"b"`, `c`, nil},
		{"\"a\x00\n\xff\"c", "\"a\x00\n\xff\"", `c`, nil},
		{`"\\"c`, `"\\"`, `c`, nil},
		{`17,`, `17`, `,`, nil},
		{`nonsense}`, `nonsense`, `}`, nil}, // a decoder judges it
		{`tru`, `tru`, ``, nil},
		{`{"a":"}]{["}y`, `{"a":"}]{["}`, `y`, nil},
		{`{"a":[{"b":[]}]}`, `{"a":[{"b":[]}]}`, ``, nil},
		{`{"a" 1}y`, `{"a" `, ``, errNoEnd},         // a string that neither ',' nor ':' nor a bracket follows
		{`{"a":"b" c"}`, `{"a":"b" `, ``, errNoEnd}, // a quote that is not escaped
		{`{"a":1]`, `{"a":1`, ``, errNoEnd},
		{`[1}`, `[1`, ``, errNoEnd},
		{`{{`, `{`, ``, errNoEnd}, // an object where a name must be
		{`{"a":1,{"b":2}}`, `{"a":1,`, ``, errNoEnd},
		{`[1,{"b":2}]z`, `[1,{"b":2}]`, `z`, nil},
		{`{"a":`, `{"a":`, ``, errNoEnd},
		{`"abc`, `"abc`, ``, errNoEnd},
		{`,`, ``, ``, errNoEnd},
		{``, ``, ``, errNoEnd},
		{strings.Repeat("[", maxNested+1), strings.Repeat("[", maxNested), ``, errNoEnd},
		{strings.Repeat("[", maxNested) + strings.Repeat("]", maxNested) + "z", strings.Repeat("[", maxNested) + strings.Repeat("]", maxNested), `z`, nil},
	} {
		for name, open := range streams {
			s := newAnswerScanner(open(test.text))
			value, err := s.value(true)
			if err != test.err || string(value) != test.value {
				t.Errorf("%.40q (%s): %.40q, %v; want %.40q, %v", test.text, name, value, err, test.value, test.err)
			}
			if test.err != nil {
				continue
			}
			if next := s.peek(); string(next) != (test.rest + "\x00")[:1] {
				t.Errorf("%.40q (%s): goes on at %q", test.text, name, next)
			}
			s = newAnswerScanner(open(test.text))
			if value, err := s.value(false); value != nil || err != nil || string(s.peek()) != (test.rest + "\x00")[:1] {
				t.Errorf("%.40q (%s): skipped as %q, %v", test.text, name, value, err)
			}
		}
	}
}

// Values that cross the end of a chunk are whole, and the buffer holds little more than one value.
func TestAnswerScannerChunks(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, scanChunk - 3, scanChunk - 2, scanChunk - 1, scanChunk, scanChunk + 1, 3*scanChunk + 7} {
		want := `"` + strings.Repeat("x", size) + `"`
		s := newAnswerScanner(strings.NewReader(strings.Repeat(want+",", 40)))
		for i := range 40 {
			value, err := s.value(true)
			if err != nil || string(value) != want {
				t.Fatalf("size %d, value %d: %d bytes, %v", size, i, len(value), err)
			}
			if s.peek() != ',' {
				t.Fatalf("size %d, value %d: no comma after it", size, i)
			}
			s.at++
		}
		if limit := 4 * (size + scanChunk); cap(s.buf) > limit {
			t.Errorf("size %d: a buffer of %d bytes", size, cap(s.buf))
		}
	}
}

// A value that is longer than any of WeCom's is dropped while it is read; the scanner goes on after
// it.
func TestAnswerScannerDropsLongValues(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	for _, long := range []string{`"` + strings.Repeat("x", size) + `"`, `[` + strings.Repeat("1,", size/2) + `1]`} {
		s := newAnswerScanner(strings.NewReader(long + `,7`))
		if value, err := s.value(true); err != errTooLong || value != nil {
			t.Errorf("%.10s: %d bytes, %v", long, len(value), err)
		}
		if cap(s.buf) > 4*maxValue {
			t.Errorf("%.10s: a buffer of %d bytes", long, cap(s.buf))
		}
		if s.peek() != ',' {
			t.Fatalf("%.10s: goes on at %q", long, s.peek())
		}
		s.at++
		if value, err := s.value(true); err != nil || string(value) != "7" {
			t.Errorf("%.10s: then %q, %v", long, value, err)
		}
	}
	s := newAnswerScanner(strings.NewReader(`"` + strings.Repeat("x", 2*maxValue)))
	if value, err := s.value(true); err != errNoEnd || len(value) > maxValue+scanChunk {
		t.Errorf("a long value without an end: %d bytes, %v", len(value), err)
	}
}

// After a broken item the next one is found by the name of its first member.
func TestNextItem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"x,{"msgid":"m"}`:                      `{"msgid":"m"}`,
		`"x , {"msgid":"m"}`:                    ` {"msgid":"m"}`,
		",\n\t{\n\"open_kfid\" : \"wk\"}":       "\n\t{\n\"open_kfid\" : \"wk\"}",
		`,{"external_userid":"w"}`:              `{"external_userid":"w"}`,
		`,{"origin":3}`:                         `{"origin":3}`,
		`,{"event":{}}`:                         `{"event":{}}`,
		`,{"content":"a"},{"event":{}}`:         `{"event":{}}`,
		`,{"msgid`:                              "-",
		`,{"msgidx":1}`:                         "-",
		`,{"MsgID":1}`:                          "-",
		`,{msgid:1}`:                            "-",
		`{"msgid":1}`:                           "-", // no comma before it
		`,["msgid"]`:                            "-",
		`,{"a_name_that_is_very_long":1,"b":2}`: "-",
		`,,,,`:                                  "-",
		``:                                      "-",
	} {
		for name, open := range streams {
			s := newAnswerScanner(open(text))
			got := "-"
			if s.nextItem(nil) {
				rest := bytes.Clone(s.buf[s.at:])
				if s.r != nil {
					more, _ := io.ReadAll(s.r)
					rest = append(rest, more...)
				}
				got = string(rest)
			}
			if got != want {
				t.Errorf("%q (%s): %q, want %q", text, name, got, want)
			}
		}
	}
}

// Scanning again has an end: maxRescan bytes in total.
func TestNextItemIsBounded(t *testing.T) {
	t.Parallel()
	s := newAnswerScanner(strings.NewReader(strings.Repeat(`,{"msgid":1}`, 100)))
	s.rescanned = maxRescan - 1
	for i, want := range []bool{true, false, false} {
		if got := s.nextItem([]byte("x")); got != want {
			t.Errorf("item %d: %v", i, got)
		}
	}
}

// What decoders refuse becomes what they read, and nothing moves.
func TestMaskControls(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a":"b"}`:               `{"a":"b"}`,
		"{\"a\"\x00:\n\"b\"\x1f}": "{\"a\" : \"b\" }",
		"\"a\x00b\nc\x1f\"":       "\"a\xffb\xffc\xff\"",
		"\"a\\\"\x01\"\x02":       "\"a\\\"\xff\" ",
		"\"a\\\\\"\x01":           "\"a\\\\\" ",
		"\"\\\x01\"":              "\"\\\xff\"", // no escape: a decoder refuses it
		"\"\x7f\xc2\x80\"":        "\"\x7f\xc2\x80\"",
		"":                        "",
	} {
		if got := maskControls([]byte(text)); string(got) != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The object of an answer is a copy, and a decoder can read it.
func TestAnswerObject(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		object string
		start  int
	}{
		`{"errcode":0}`:                     {`{"errcode":0}`, 0},
		"\xEF\xBB\xBF \n{\"a\":\"\t\"}\x00": {"{\"a\":\"\xff\"}", 5},
		"\x00\x01{}{}":                      {`{}`, 2},
		`{"a":1}garbage`:                    {`{"a":1}`, 0},
		`[]`:                                {"", -1},
		`{"a":1`:                            {"", -1},
		``:                                  {"", -1},
	} {
		answer := []byte(text)
		got, start, err := object(answer)
		if (err != nil) != (want.start < 0) || err == nil && (string(got) != want.object || start != want.start) {
			t.Errorf("%q: %q at %d, %v", text, got, start, err)
		}
		if string(answer) != text {
			t.Errorf("%q was changed to %q", text, answer)
		}
		if err == nil && !jsontext.Value(got).IsValid(lenient) {
			t.Errorf("%q: a decoder refuses %q", text, got)
		}
	}
}
