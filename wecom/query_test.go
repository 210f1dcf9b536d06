package wecom

import (
	"errors"
	"testing"
)

// A parameter has one value or is an error, however lenient the server that reads it.
func TestSingleParam(t *testing.T) {
	t.Parallel()
	const ambiguous = "!"
	for query, want := range map[string]string{
		"corpid=ww1":                     "ww1",
		"a=1&corpid=ww1&b=2":             "ww1",
		"corpid=w%77+1":                  "ww 1",
		"corpid=w%zz%4":                  "w%zz%4", // what is no escape is kept
		"corpid=":                        "",
		"corpid":                         "",
		"corpid=a=b":                     "a=b",
		"&&corpid=ww1&&":                 "ww1",
		"xcorpid=1&corpidx=2&corpid=ww1": "ww1",
		"corpid=ww1;a=b":                 "ww1;a=b",
		"":                               "-",
		"a=corpid":                       "-",
		"corp=id":                        "-",
		"corpid=1&corpid=1":              ambiguous,
		"corpid=1&corpid":                ambiguous,
		"CorpID=1":                       ambiguous,
		"corp%69d=1":                     ambiguous,
		"corp%2569d=1":                   ambiguous,
		"corpid%00x=1":                   ambiguous,
		"+corpid=1":                      ambiguous,
		"corpid%20=1":                    ambiguous,
		"corpid%e3%80%80=1":              ambiguous, // an ideographic space
		"corpid[]=1":                     ambiguous,
		"corpid[0]=1":                    ambiguous,
		"corpid%5b%5d=1":                 ambiguous,
		"a=1;corpid=2":                   ambiguous,
		"corpid=1;corpid=2":              ambiguous,
		"corpid=1&a=b;CORPID":            ambiguous,
		"corpid=1&corpid[]=2":            ambiguous,
	} {
		got, found, err := singleParam([]byte(query), "corpid")
		switch {
		case errors.Is(err, errRepeated):
			got = ambiguous
		case !found:
			got = "-"
		}
		if got != want {
			t.Errorf("%s: %q (found %v, %v), want %q", query, got, found, err, want)
		}
	}
}

// Escapes are decoded once, or until none is left.
func TestUnescape(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, once, plus, fully string }{
		{"abc", "abc", "abc", "abc"},
		{"a+b", "a+b", "a b", "a+b"},
		{"%41%6a", "Aj", "Aj", "Aj"},
		{"%2B+", "++", "+ ", "++"},
		{"%2541", "%41", "%41", "A"},
		{"%25252541", "%252541", "%252541", "A"},
		{"%%34%31", "%41", "%41", "A"},
		{"%4", "%4", "%4", "%4"},
		{"%", "%", "%", "%"},
		{"%zz%4g", "%zz%4g", "%zz%4g", "%zz%4g"},
		{"%00%ff", "\x00\xff", "\x00\xff", "\x00\xff"},
		{"100%25", "100%", "100%", "100%"},
		{"%C3%9c", "Ü", "Ü", "Ü"},
	} {
		if got := unescape(test.text, false); got != test.once {
			t.Errorf("%s once: %q, want %q", test.text, got, test.once)
		}
		if got := unescape(test.text, true); got != test.plus {
			t.Errorf("%s of a query: %q, want %q", test.text, got, test.plus)
		}
		if got := decodeFully(test.text); got != test.fully {
			t.Errorf("%s fully: %q, want %q", test.text, got, test.fully)
		}
	}
}

// Each step of a lenient server by itself.
func TestLenientSteps(t *testing.T) {
	t.Parallel()
	steps := map[string]func(string) string{
		"canonical": canonical, "cutEnd": cutEnd, "cutAtFirstParam": cutAtFirstParam, "cutSegmentParams": cutSegmentParams,
		"dropDots": dropDots, "resolveDots": resolveDots,
	}
	for _, test := range []struct{ step, path, want string }{
		{"canonical", "/a//b///c", "/a/b/c"},
		{"canonical", "/cgi-bin/cgi-bin/cgi-bin/x", "/cgi-bin/x"},
		{"canonical", "/cgi-bin/x/cgi-bin/cgi-bin/y", "/cgi-bin/x/cgi-bin/cgi-bin/y"},
		{"canonical", "//cgi-bin//cgi-bin//x", "/cgi-bin/x"},
		{"cutEnd", "/a#b?c", "/a"},
		{"cutEnd", "/a?b#c", "/a"},
		{"cutEnd", "/a\x00b", "/a"},
		{"cutAtFirstParam", "/a;x/b;y", "/a"},
		{"cutSegmentParams", "/a;x/b;y/c", "/a/b/c"},
		{"cutSegmentParams", ";x/a", "/a"},
		{"dropDots", "/a/./b/../c", "/a/b/c"},
		{"dropDots", "/a. /.b", "/a/b"},
		{"dropDots", "/../..", "/"},
		{"resolveDots", "/a/./b/../c", "/a/c"},
		{"resolveDots", "/../../a", "/a"},
		{"resolveDots", "/a/..", "/"},
		{"resolveDots", "/a/.../b", "/a/.../b"},
	} {
		if got := steps[test.step](test.path); got != test.want {
			t.Errorf("%s(%q) = %q, want %q", test.step, test.path, got, test.want)
		}
	}
}
