package wecom

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Numbers are read as WeCom and its proxies write them: also in quotes, with fractions and
// exponents.
func TestAnswerNumbers(t *testing.T) {
	t.Parallel()
	const none = -999
	for _, test := range []struct {
		json  string
		value float64
		whole int64
	}{
		{`0`, 0, 0},
		{`7`, 7, 7},
		{`-1`, -1, -1},
		{`"7"`, 7, 7},
		{`" 7 "`, 7, 7},
		{`"\u0037"`, 7, 7},
		{`"+7"`, 7, 7},
		{`7.0`, 7, 7},
		{`7.5`, 7.5, none},
		{`0.7e1`, 7, 7},
		{`7E+2`, 700, 700},
		{`9007199254740991`, 1<<53 - 1, 1<<53 - 1},
		{`9007199254740992`, 1 << 53, none}, // from here on floats skip integers
		{`-9007199254740992`, -1 << 53, none},
		{`1e400`, none, none},
		{`""`, none, none},
		{`"seven"`, none, none},
		{`"0x7"`, none, none},
		{`"1_000"`, none, none},
		{`"Inf"`, none, none},
		{`"NaN"`, none, none},
		{`"1e"`, none, none},
		{`true`, none, none},
		{`null`, none, none},
		{`[7]`, none, none},
		{`{"a":7}`, none, none},
	} {
		v := jsontext.Value(test.json)
		if got, ok := number(v); ok != (test.value != none) || ok && got != test.value {
			t.Errorf("%s: number %v, %v", v, got, ok)
		}
		if got, ok := integer(v); ok != (test.whole != none) || ok && got != test.whole {
			t.Errorf("%s: integer %v, %v", v, got, ok)
		}
	}
}

// A time is one of unix seconds, from the first second of 1970 to the year 2242.
func TestAnswerTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		`1`: 1, `1700000000`: 1700000000, `"1700000000"`: 1700000000, `1700000000.9`: 1700000000, `1.7e9`: 1700000000, `8589934591`: 1<<33 - 1,
		`0`: 0, `0.5`: 0, `-1`: 0, `8589934592`: 0, `1700000000000`: 0, `"soon"`: 0, `null`: 0, `[]`: 0,
	} {
		got, ok := seconds(jsontext.Value(text))
		if ok != (want > 0) || ok && !got.Equal(time.Unix(want, 0)) || !ok && !got.IsZero() {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
}

func TestAnswerTexts(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`"wm"`: "wm", `"a\u0041\n"`: "aA\n", `""`: "", `"微信"`: "微信", `7`: "", `null`: "", `["a"]`: "", `{"a":"b"}`: "", `true`: "",
		`"\ud83d\ude00"`: "😀",
	} {
		if got := text(jsontext.Value(value)); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
	for value, want := range map[string]string{
		`"wm_-1"`: "wm_-1", `"~!"`: "~!", `""`: "", `"a b"`: "", `"a\u0041"`: "", "\"a\x7f\"": "", `"微"`: "", `7`: "", `["a"]`: "",
	} {
		if got := plainText(jsontext.Value(value)); got != want {
			t.Errorf("plain %s: %q, want %q", value, got, want)
		}
	}
}

// The escapes of a string, also of characters outside the basic plane and of halves of them.
func TestUnescapeJSON(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``: "", `abc`: "abc", `\"\\\/\b\f\n\r\t`: "\"\\/\b\f\n\r\t", `\u0041\u00e9\u4f60`: "Aé你", `a\u0000b`: "a\x00b",
		`\ud83d\ude00`: "😀", `\uD83D\uDE00!`: "😀!", `\ud83d`: "\ufffd", `\ude00`: "\ufffd", `\ud83dx`: "\ufffdx", `\ud83d\u0041`: "\ufffdA",
		`\ud83d\ud83d\ude00`: "\ufffd😀", `\ude00\ud83d`: "\ufffd\ufffd", `\ud83d\n`: "\ufffd\n",
		`x\u0041y\u0042z`: "xAyBz", "\xff\\u0041": "\xffA", `\\u0041`: `\u0041`,
	} {
		if got := string(unescapeJSON([]byte(raw))); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

// Why servers would read a value differently.
func TestCheckPlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"": nil, "wmA_-~!": nil, "微信": nil, "é😀": nil,
		"wm\xff": errNotUTF8, "\xc4\xe3": errNotUTF8, "wm\ufffd": errBroken,
		" ": errBlank, "a b": errBlank, "a\n": errBlank, "\x00": errBlank, "a\x7f": errBlank, "a\u00a0": errBlank, "a\u3000": errBlank, "\u200bwm": errBlank, "\ufeffwm": errBlank, "a\u0085": errBlank,
	} {
		if got := checkPlain([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
