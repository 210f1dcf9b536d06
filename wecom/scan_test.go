package wecom

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A value ends where its text ends, and what is wrong with it has a cause that callers are shown.
func TestScannerValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, value string
		err         error
	}{
		{`"a" rest`, `"a"`, nil},
		{` "a"`, `"a"`, nil},
		{"\t\r\n 1,", `1`, nil},
		{`""`, `""`, nil},
		{`"\"\\\/\b\f\n\r\t\u00e9\uD83D"`, `"\"\\\/\b\f\n\r\t\u00e9\uD83D"`, nil},
		{"\"\x00\t\xff\"", "\"\x00\t\xff\"", nil},
		{`{"a":[1,{"b":null}],"c":{}}x`, `{"a":[1,{"b":null}],"c":{}}`, nil},
		{`[ ]`, `[ ]`, nil},
		{`{ }`, `{ }`, nil},
		{`[1 , 2]`, `[1 , 2]`, nil},
		{`true`, `true`, nil},
		{`false]`, `false`, nil},
		{`null}`, `null`, nil},
		{`truest`, `true`, nil}, // what follows a value is the caller's to check

		{``, ``, errCut},
		{`  `, ``, errCut},
		{`"`, `"`, errCut},
		{`"a\"`, `"a\"`, errCut},
		{`[`, `[`, errCut},
		{`[1`, `[1`, errCut},
		{`[1,`, `[1,`, errCut},
		{`{`, `{`, errCut},
		{`{"a"`, `{"a"`, errCut},
		{`{"a":`, `{"a":`, errCut},
		{`{"a":1`, `{"a":1`, errCut},
		{`{"a":1,`, `{"a":1,`, errCut},
		{`tru`, ``, errValue},
		{`nil`, ``, errValue},
		{`'a'`, ``, errValue},
		{`}`, ``, errValue},
		{`[1,]`, ``, errComma},
		{`{"a":1,}`, ``, errComma},
		{`[1 2]`, ``, errComma},
		{`[1}`, ``, errComma},
		{`{"a" 1}`, ``, errComma},
		{`{"a":1 "b":2}`, ``, errComma},
		{`[,1]`, ``, errValue},
		{`{,}`, ``, errName},
		{`{1:2}`, ``, errName},
		{`{a:1}`, ``, errName},
		{`{"a":}`, ``, errValue},
		{`"\x41"`, ``, errEscape},
		{`"\u12"`, ``, errEscape},
		{`"\u12g4"`, ``, errEscape},
		{`"\`, ``, errCut},
		{`"\u1`, ``, errCut},
	} {
		s := scanner{text: []byte(test.text)}
		value, err := s.value()
		if !errors.Is(err, test.err) || err == nil && string(value) != test.value {
			t.Errorf("%q: %q, %v; want %q, %v", test.text, value, err, test.value, test.err)
		}
	}
}

func TestScannerNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		`0`: nil, `-0`: nil, `7`: nil, `120`: nil, `-12`: nil, `0.5`: nil, `1.25`: nil, `1e5`: nil, `1E+5`: nil, `-1.5e-3`: nil, `0e0`: nil,
		`01}`: errValue, `-01}`: errValue, `00}`: errValue, `-`: errCut, `-x`: errValue, `1.`: errCut, `1.x`: errValue, `.5`: errValue,
		`1e`: errCut, `1e+`: errCut, `1ex`: errValue, `+1`: errValue, `NaN`: errValue, `Infinity`: errValue,
	} {
		s := scanner{text: []byte(text)}
		value, err := s.value()
		if err != want || err == nil && string(value) != text {
			t.Errorf("%s: %q, %v; want %v", text, value, err, want)
		}
	}
}

// nestedText is a value with n brackets of one kind inside each other.
func nestedText(open string, n int) string {
	closing := map[string]string{"[": "]", `{"a":`: "}"}[open]
	return strings.Repeat(open, n) + "1" + strings.Repeat(closing, n)
}

// The scanner and tooDeep agree on the deepest body: 64 levels.
func TestDepthLimit(t *testing.T) {
	t.Parallel()
	for _, open := range []string{"[", `{"a":`} {
		for n, deep := range map[int]bool{1: false, 8: false, depthLimit: false, depthLimit + 1: true, 5000: true} {
			text := []byte(nestedText(open, n))
			if got := tooDeep(text); got != deep {
				t.Errorf("%d times %s: tooDeep = %v", n, open, got)
			}
			s := scanner{text: text}
			if err := s.skip(0); (err == errDeep) != deep || err != nil && !deep {
				t.Errorf("%d times %s: %v", n, open, err)
			}
		}
	}
	for text, deep := range map[string]bool{
		`"` + strings.Repeat("[", 100) + `"`:                false, // brackets in a string
		`["\"` + strings.Repeat("[", 100) + `"]`:            false, // after an escaped quote
		`["\\",` + strings.Repeat("[", 100):                 true,  // after an escaped backslash
		strings.Repeat("[]", 100):                           false, // one after the other
		strings.Repeat("]", 100) + strings.Repeat("[", 165): true,  // not JSON at all
		strings.Repeat("{[", 33):                            true,
	} {
		if got := tooDeep([]byte(text)); got != deep {
			t.Errorf("%.20s: %v", text, got)
		}
	}
}

func TestScannerMembers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, stopAt, want string
		err                error
	}{
		{`{"a":1, "b" : "x" ,"a":[2]} rest`, "", `a=1 b="x" a=[2]`, nil},
		{` {}`, "", ``, nil},
		{`{"a\u0062":1}`, "", `a\u0062=1`, nil}, // names are raw
		{`{"a":1,"b":2,`, "b", `a=1 b=2`, nil},  // nothing after the last one is read
		{`{"a":1,"b":2,`, "", `a=1 b=2`, errCut},
		{`{"a":1 "b":2}`, "", `a=1`, errComma},
		{`{"a":1,2}`, "", `a=1`, errName},
		{`{"a":x}`, "", ``, errValue},
		{`[1]`, "", ``, errValue},
		{`"a"`, "", ``, errValue},
		{``, "", ``, errCut},
		{"\xef\xbb\xbf{}", "", ``, errValue},
	} {
		var got []string
		s := scanner{text: []byte(test.text)}
		err := s.members(func(name, value []byte) bool {
			got = append(got, string(name)+"="+string(value))
			return string(name) != test.stopAt
		})
		if err != test.err || strings.Join(got, " ") != test.want {
			t.Errorf("%q: %q, %v; want %q, %v", test.text, got, err, test.want, test.err)
		}
	}
}

// jsonPieces are what random texts are made of: ASCII without control characters, where the scanner
// is as strict as encoding/json.
var jsonPieces = []string{
	"{", "}", "[", "]", ",", ":", `"`, `"a"`, `"b":`, `\`, `\u0041`, `\n`, `\x`, "1", "0", "-", ".", "e", "+", "true", "null", "false", "nul", " ", "x",
	`{"a":1}`, `[1,2]`, `"\""`, `-1.5e3`, `,"c":[]`,
}

// Where strings hold nothing unusual, the scanner accepts what encoding/json accepts.
func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	accepted := 0
	for range 60_000 {
		var b strings.Builder
		for range 1 + random.IntN(7) {
			b.WriteString(jsonPieces[random.IntN(len(jsonPieces))])
		}
		text := []byte(b.String())
		s := scanner{text: text}
		_, err := s.value()
		whole := err == nil && s.peek() == 0 && s.atEnd()
		if want := json.Valid(text); whole != want {
			t.Fatalf("%q: %v, at %d; encoding/json: %v", text, err, s.at, want)
		}
		if whole {
			accepted++
		}
	}
	if accepted < 500 {
		t.Errorf("only %d of the texts are valid", accepted)
	}
}

// A value is a part of the text, so that nothing is copied and offsets can be found from it.
func TestScannerDoesNotCopy(t *testing.T) {
	t.Parallel()
	text := []byte(`{"a":"x","b":[1]}`)
	s := scanner{text: text}
	var ends []int
	if err := s.members(func(_, value []byte) bool {
		ends = append(ends, bytes.Index(text, value)+len(value))
		value[0] = '?'
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if string(text) != `{"a":?x","b":?1]}` || !slices.Equal(ends, []int{8, 16}) {
		t.Errorf("%s, %v", text, ends)
	}
}
