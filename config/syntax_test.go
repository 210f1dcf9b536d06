package config_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"replygate/config"
)

// The true place of each syntax error is marked by ▲ in the file, and is where it is reported.
func TestPlacesOfSyntaxErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, what string }{
		{"listen: ▲{ api: a\nredis: { db: 1 }\nlog: {}\n", "the { is not closed"},
		{"a: 1\nb:\n  - ▲[x, y\n  - [z]\n", "the [ is not closed"},
		{"a: 1\nb: { c: ▲[ d: e }\nf: 1\n", "the [ is not closed before the } in line 2, column 16"},
		{"a: { b: ▲[1, { c: 2 }\n}\n", "the [ is not closed before the } in line 2, column 1"},
		{"a: [1, 2]▲]\nb: 1\n", "this ] closes nothing"},
		{"a: 1\nb: { c: 1 } ▲}\n", "this } closes nothing"},
		{"a: 1\nb: ▲\"c\nd: 1\n", "the quote \" is not closed"},
		{"a: 1\nb: ▲\"c\nd: \"e\"\n", "the quote \" is not closed"},
		{"a: 1\nb: [x, ▲'c]\nd: 'e'\n", "the quote ' is not closed"},
		{"a: 'x' ▲y\n", "text after the closing quote"},
		{"a: 'it'▲s'\n", "text after the closing quote"},
		{"a: 1\n▲\tb: 1\n", "a tab indents this line"},
		{"a:\n  b: 1\n ▲\t c: 1\n", "a tab indents this line"},
		{"a:\n\u3000b: 1\nc: 1\n ▲d: 1\n", "this line continues the value above it, and has a colon"},
		{"a:\n  ▲-b: 1\n    c: 1\n", "there is no blank after the dash"},
		{"a:\n  - b: 1\n  ▲-b: 1\n", "there is no blank after the dash"},
		{"a:\n  ▲－ b: 1\n    c: 1\n", "'－' is not the dash of a list"},
		{"a:\n  ▲— b: 1\n    # c: d\n\n    c: 1\n", "'—' is not the dash of a list"},
		{"a:\n  - b: 1\n  ▲－ b: 1\n", "'－' is not the dash of a list"},
		{"a:\n  - b: 1\n▲\u3000\u3000c: 1\n    d: 1\n", "the blank U+3000 indents this line"},
		{"a:\n  - b: 1\n▲\u00a0\u00a0c: 1\n    d: 1\n", "the blank U+00A0 indents this line"},
		{"a:\n  b: |\n    \u3000c\n    — d\n   ▲e: 1\n", "this line does not belong to a list or mapping above it"},
		{"▲<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b\n", "<<<<<<< marks a merge conflict"},
		{"a: [1,\n▲<<<<<<<\n2,\n=======\n3,\n>>>>>>>\n]\n", "<<<<<<< marks a merge conflict"},
		{"a: 1\n▲=======\nb: 1\n", "======= marks a merge conflict"},
		{"a: b▲: c\n<<<<<<< HEAD\n", "a second colon in one value"},
		{"a:\n  - b: 1\n    c▲：1\n    d: 1\n", "'：' is full-width"},
		{"a: 1\nb▲：1 # c\n", "'：' is full-width"},
		{"a: 1\n▲b # ：\nc: 1\n", "a key without a colon"},
		{"a: [\"b\"▲、\"c\"]\n", "'、' is full-width"},
		{"a: [\"b\"▲，\"c\"]\n", "'，' is full-width"},
		{"a: [\"b\" ▲\"c\"]\n", "two values without a comma between them"},
		{"a: [\"b\" ▲'c']\n", "two values without a comma between them"},
		{"a: [\"b\"▲\"c\"]\n", "text after the closing quote"},
		{"a: \"b\" ▲\"c\"\n", "text after the closing quote"},
		{"a:\n  b: 1\n   ▲c: 1\n", "this line continues the value above it, and has a colon"},
		{"# a：b [\na: 1\n  ▲c: 1 # d：e\n", "this line continues the value above it, and has a colon"},
		{"a:\n    b: 1\n  ▲c: 1\nd: 1\n", "this line does not belong to a list or mapping above it"},
		{"- a: 1\n  b: 1\n ▲c: 1\n", "this line does not belong to a list or mapping above it"},
		{"a:\n  - b: 1\n  ▲c: 1\n", "this line does not belong to a list or mapping above it"},
		{"a: b▲: c\n", "a second colon in one value"},
		{"x: 1\na: { b: c▲: d }\n", "a second colon in one value"},
		{"x: 1\na: [b c: d e▲: f]\n", "a second colon in one value"},
		{"x: 1\na: [{ b: 1 } ▲c]\n", "two values without a comma between them"},
		{"x: 1\na: { b: \"c\" ▲d: 1 }\n", "text after the closing quote"},
		{"x: 1\n▲b\nc: 1\n", "a key without a colon"},
		{"x: 1\nb▲:2\nc: 1\n", "there is no blank after the colon"},
		{"x: 1\na: ▲@b\n", "a value cannot begin with @"},
		{"x: 1\na: ▲%b\n", "a value cannot begin with %"},
		{"x: 1\na: ▲`b\n", "a value cannot begin with `"},
		{"x: 1\na: [1, ▲*b]\n", "there is no anchor &b"},
		{"a: 1\nb: ▲- c\n", "a list begins in the line of its key"},
		{"a: 1\nb: \"c▲\\d\"\n", "a backslash within double quotes that begins no escape"},
		{"a: { b: ▲${C} }\n", "${C} has braces of its own, within brackets"},
		{"a: 1\nb: [x▲${C}, d]\n", "${C} has braces of its own, within brackets"},
		{"a▲：\n  - b: 1\n", "'：' is full-width"},
		{"a:\n  - { b: 1▲， c: 2 }\n", "'，' is full-width"},
		{"a: 1\nb: ▲“c: d”\n", "'“' is full-width"},
		{"a: 北京：{x [y\nb: c▲: d\n", "a second colon in one value"},
		{"北: 京\na: { b: 公司, c: d▲: e }\n", "a second colon in one value"},
		{"a: |\n  { [ \" '\n  b: c: d\nb: c▲: d\n", "a second colon in one value"},
		{"- |\n { [\n- > # c\n  ] \"\n- b: c▲: d\n", "a second colon in one value"},
		{"# { [ \" '\na: 1 # }\nb: c▲: d\n", "a second colon in one value"},
		{"a: it's [ fine { \" so\nb: c▲: d\n", "a second colon in one value"},
		{"a: \"x\n  y\"\nb: ['c d', \"e \\\" f\", 'g '' h']\ni: j▲: k\n", "a second colon in one value"},
		{"a: 1\nb: &x { c: 1 }\nd: *x\ne: !!str \"f\"\ng: h▲: i\n", "a second colon in one value"},
		{"a: 1\nb: \"c▲\x01\"\n", "the control character U+0001 is not allowed"},
		{"a: 1\r\nb: c▲: d\r\n", "a second colon in one value"},
		{"a: 1\rb: c▲: d\r", "a second colon in one value"},
		{strings.Repeat("# c\n", 400) + "a: 1\nb: c▲: d\n" + strings.Repeat("# e\n", 400), "a second colon in one value"},
		{strings.Repeat("- { b: 1, c: 2 }\n", 2000) + "▲{ c: 1 }\n" + strings.Repeat("- { b: 1 }\n", 2000), "a key without a colon"},
	} {
		before, after, _ := strings.Cut(c.file, "▲")
		line, _, _ := strings.Cut(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(before), "▲")
		start := strings.LastIndexByte(line, '\n') + 1
		at := fmt.Sprintf("f:%d:%d: ", 1+strings.Count(line, "\n"), 1+utf8.RuneCountInString(line[start:]))
		var into []struct{}
		err := config.Decode("f", []byte(before+after), &into)
		if err == nil || !strings.HasPrefix(err.Error(), at+"this is not YAML: "+c.what) {
			t.Errorf("%s\n got %v\nwant %s%s", shortened(c.file), err, at, c.what)
		}
	}
}

// shortened cuts a long text.
func shortened(text string) string { return text[:min(len(text), 200)] }
