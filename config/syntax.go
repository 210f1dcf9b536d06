package config

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The YAML parser reports the line at which the enclosing list or mapping begins, often one too
// low, and no column. So the place of a syntax error is found here: findFault finds brackets and
// quotes that are not closed, and failureAt the character from which on the text cannot be read.

// maxReparsed bounds the bytes that failureAt parses again.
const maxReparsed = 8 << 20

// syntaxProblem finds the cause of an error of the YAML parser.
func syntaxProblem(text []byte, err error) *problem {
	at := failureAt(text)
	if p := conflictMarker(text, at); p != nil {
		return p
	}
	if p := findFault(text, at); p != nil {
		return p
	}
	return explainSyntax(text, at, strings.TrimPrefix(yamlLine.ReplaceAllString(err.Error(), ""), "yaml: "))
}

var conflict = regexp.MustCompile(`(?m)^(<{7}|\|{7}|={7}|>{7})( .*)?$`)

// conflictMarker finds a line that a version control system wrote into a text that it could not
// merge, at or before the parser's failure.
func conflictMarker(text []byte, failure int) *problem {
	found := conflict.FindIndex(text)
	if found == nil || found[0] > failure {
		return nil
	}
	return &problem{found[0], fmt.Sprintf("this is not YAML: %s marks a merge conflict", text[found[0]:found[0]+7]),
		"keep the lines of one side, and take out all lines that begin with <<<<<<<, ======= or >>>>>>>"}
}

// forbiddenCharacter finds a character that YAML does not allow anywhere.
func forbiddenCharacter(text []byte) *problem {
	for i, r := range string(text) {
		control := r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r <= 0x9f && r != 0x85
		if control || r == 0xfeff || r == 0xfffe || r == 0xffff {
			return &problem{i, fmt.Sprintf("this is not YAML: the control character U+%04X is not allowed", r), "delete it, or write it as an escape within double quotes"}
		}
	}
	return nil
}

// countingReader reads a text byte by byte, so that it knows how far a parser came.
type countingReader struct {
	text []byte
	n    int
}

func (r *countingReader) Read(p []byte) (int, error) {
	if r.n == len(r.text) {
		return 0, io.EOF
	}
	p[0] = r.text[r.n]
	r.n++
	return 1, nil
}

// failureAt returns the offset of the character from which on a text is not YAML: what is before
// it can be completed to valid YAML, with the brackets and the quote closed that are open there.
func failureAt(text []byte) int {
	r := countingReader{text: text}
	var node yaml.Node
	_ = yaml.NewDecoder(&r).Decode(&node)
	end, parsed := r.n, 0
	good := func(n int) bool {
		parsed += n
		return isYAML(text[:n])
	}
	start := 0 // of the line with the failure
	for start = lineStart(text, end); start > 0 && !good(start); start = lineStart(text, start-1) {
		end = start - 1
		if parsed > maxReparsed {
			return start
		}
	}
	for end > start && (end < len(text) && !utf8.RuneStart(text[end]) || !good(end)) {
		if end--; parsed > maxReparsed {
			return start
		}
	}
	for end < len(text) && (text[end] == ' ' || text[end] == '\n') {
		end++
	}
	return end
}

func lineStart(text []byte, at int) int {
	return bytes.LastIndexByte(text[:min(max(at, 0), len(text))], '\n') + 1
}

// isYAML reports whether the beginning of a text is YAML once what is open in it is closed.
func isYAML(text []byte) bool {
	s := scan(text)
	var closed []byte
	closed = append(closed, text...)
	if s.comment {
		closed = append(closed, '\n')
	}
	if s.quote >= 0 {
		closed = append(closed, text[s.quote])
	}
	for i := len(s.open) - 1; i >= 0; i-- {
		closed = append(closed, closing[text[s.open[i]]])
	}
	var node yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(closed)).Decode(&node)
	return err == nil || err == io.EOF
}

var closing = map[byte]byte{'{': '}', '[': ']'}

// findFault finds a bracket or quote that is not closed, or a ${NAME} without quotes in brackets,
// that begins at or before the parser's failure.
func findFault(text []byte, failure int) *problem {
	s := scan(text)
	switch {
	case s.fault != nil:
	case s.quote >= 0:
		s.fault = unclosedQuote(text, s.quote)
	case len(s.open) > 0:
		at := s.open[len(s.open)-1]
		s.fault = &problem{at, fmt.Sprintf("this is not YAML: the %c is not closed", text[at]), fmt.Sprintf("write the %c that belongs to it", closing[text[at]])}
	}
	if s.fault == nil || s.fault.offset > failure {
		return nil
	}
	return s.fault
}

func unclosedQuote(text []byte, at int) *problem {
	return &problem{at, fmt.Sprintf("this is not YAML: the quote %c is not closed", text[at]), "write it again at the end of the value"}
}

// scanner is what is open at the end of a text, and the first fault in it.
type scanner struct {
	text    []byte
	i       int
	open    []int // offsets of { and [
	quote   int   // offset of the open quote, or -1
	comment bool  // the text ends in a comment
	key     int   // column of the last dash or word of the line, for the end of block scalars
	fault   *problem
}

// scan reads the brackets, quotes, comments and block scalars of a YAML text up to the first fault.
func scan(text []byte) *scanner {
	s := &scanner{text: text, quote: -1}
	for s.i < len(text) && s.fault == nil {
		s.token()
	}
	return s
}

// token reads one token. Each begins where a value can begin, after blanks.
func (s *scanner) token() {
	c, next := s.text[s.i], byte('\n')
	if s.i+1 < len(s.text) {
		next = s.text[s.i+1]
	}
	switch {
	case c == '#' && (s.i == 0 || isBlank(s.text[s.i-1])):
		s.skipLine()
		s.comment = s.i == len(s.text)
	case isBlank(c), c == ',' && len(s.open) > 0, c == ':':
		s.i++
	case c == '"' || c == '\'':
		s.quoted(c)
	case c == '{' || c == '[':
		s.open = append(s.open, s.i)
		s.i++
	case c == '}' || c == ']':
		s.close(c)
	case (c == '-' || c == '?') && isBlank(next):
		s.key = s.i - lineStart(s.text, s.i)
		s.i++
	case (c == '|' || c == '>') && len(s.open) == 0:
		s.block()
	case c == '&' || c == '!' || c == '*':
		for s.i < len(s.text) && !isBlank(s.text[s.i]) && (len(s.open) == 0 || !bytes.ContainsRune([]byte(",[]{}"), rune(s.text[s.i]))) {
			s.i++
		}
	default:
		s.plain()
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

func (s *scanner) skipLine() {
	for s.i < len(s.text) && s.text[s.i] != '\n' {
		s.i++
	}
}

// quoted reads a quoted value. One over several lines that ends in the middle of other text is
// taken for one that was not closed.
func (s *scanner) quoted(quote byte) {
	start := s.i
	s.key = start - lineStart(s.text, start)
	for s.i++; s.i < len(s.text); s.i++ {
		switch c := s.text[s.i]; {
		case c == '\\' && quote == '"':
			s.i++
		case c == quote && quote == '\'' && s.i+1 < len(s.text) && s.text[s.i+1] == '\'':
			s.i++
		case c == quote:
			s.i++
			lines := bytes.ContainsRune(s.text[start:s.i], '\n')
			if lines && s.i < len(s.text) && !bytes.ContainsRune([]byte(" \t\n,]}:"), rune(s.text[s.i])) {
				s.fault = unclosedQuote(s.text, start)
			}
			return
		}
	}
	s.i, s.quote = len(s.text), start
}

func (s *scanner) close(c byte) {
	if len(s.open) == 0 {
		s.fault = &problem{s.i, fmt.Sprintf("this is not YAML: this %c closes nothing", c), "take it out, or write the bracket that it closes"}
		return
	}
	last := s.open[len(s.open)-1]
	if opened := s.text[last]; closing[opened] != c {
		at := positionAt(s.text, s.i)
		s.fault = &problem{last, fmt.Sprintf("this is not YAML: the %c is not closed before the %c in line %d, column %d", opened, c, at.Line, at.Col),
			fmt.Sprintf("write the %c that belongs to it", closing[opened])}
		return
	}
	s.open = s.open[:len(s.open)-1]
	s.i++
}

// block skips the lines of a block scalar: those indented further than its key or dash.
func (s *scanner) block() {
	for s.skipLine(); s.i < len(s.text); s.skipLine() {
		line := s.text[s.i+1:]
		content := bytes.TrimLeft(line, " ")
		if indent := len(line) - len(content); len(content) > 0 && content[0] != '\n' && indent <= s.key {
			return
		}
		s.i++
	}
}

// plain reads a value without quotes: up to a colon with a blank, a comment, the end of the line,
// and within brackets up to a comma or bracket.
func (s *scanner) plain() {
	s.key = s.i - lineStart(s.text, s.i)
	start := s.i
	for ; s.i < len(s.text); s.i++ {
		c, next := s.text[s.i], byte('\n')
		if s.i+1 < len(s.text) {
			next = s.text[s.i+1]
		}
		flow := len(s.open) > 0
		switch {
		case c == '\n', c == ':' && (isBlank(next) || flow && strings.IndexByte(",[]{}", next) >= 0), isBlank(c) && next == '#':
			return
		case flow && c == '$' && next == '{':
			s.fault = unquotedReference(s.text, s.i)
			return
		case flow && strings.IndexByte(",[]{}", c) >= 0:
			if s.i == start {
				s.i++ // cannot be
			}
			return
		}
	}
}

// unquotedReference is the fault of a ${NAME} without quotes in brackets.
func unquotedReference(text []byte, at int) *problem {
	reference := "${NAME}"
	if end := bytes.IndexAny(text[at:], "}\n"); end > 0 && text[at+end] == '}' {
		reference = string(text[at : at+end+1])
	}
	return &problem{at, "this is not YAML: " + reference + " has braces of its own, within brackets", fmt.Sprintf("put the value in quotes: %q", reference)}
}

// explainSyntax says what is wrong at the parser's failure.
func explainSyntax(text []byte, at int, message string) *problem {
	start := lineStart(text, at)
	line, _, _ := bytes.Cut(text[start:], []byte("\n"))
	if p := oddIndentation(start, line); p != nil {
		return p
	}
	has := func(part string) bool { return strings.Contains(message, part) }
	if p := oddItem(text, start, at, message); p != nil {
		return p
	}
	if i := bytes.Index(withoutComment(line), []byte("：")); has("could not find expected ':'") && i >= 0 {
		return wideMark(text, start+i)
	}
	secondColon := "put a value that contains a colon and a blank in quotes"
	if value := bytes.TrimRight(text[start:at], " "); has("expected ','") && bytes.HasSuffix(value, []byte(":")) {
		at, message = start+len(value)-1, "mapping values are not allowed" // the parser fails at what follows
		secondColon += ", or write a comma before the next key"
	}
	if p := fullWidthMark(text, start, at); p != nil {
		return p
	}
	first := len(bytes.TrimSpace(text[start:at])) == 0
	before := bytes.TrimRight(text[start:at], " ")
	character, _ := utf8.DecodeRune(text[at:])
	quoted := len(before) > 0 && strings.IndexByte(`"'`, before[len(before)-1]) >= 0
	if quoted && (character == '：' || has("expected ','") && strings.ContainsRune("，、", character)) {
		return wideMark(text, at)
	}
	what, remedy := message, "check quotes, colons and indentation around this place"
	switch {
	case has("cannot start any token"):
		what, remedy = fmt.Sprintf("a value cannot begin with %c", character), "put the value in quotes"
	case has("unknown anchor"):
		what, remedy = fmt.Sprintf("there is no anchor %s", bytes.Replace(word(text[at:]), []byte("*"), []byte("&"), 1)), "define it above, or put the value in quotes if its * belongs to it"
	case has("alphabetic or numeric"):
		what, remedy = fmt.Sprintf("%c begins the name of an anchor, and no name follows", character), "put the value in quotes if the character belongs to it"
	case has("mapping values are not allowed") && start > 0 && !bytes.Contains(before, []byte(": ")):
		at = start + len(line) - len(bytes.TrimLeft(line, " "))
		what, remedy = "this line continues the value above it, and has a colon", "indent it like the keys that it belongs with, or put the value in quotes"
	case has("mapping values are not allowed"):
		what, remedy = "a second colon in one value", secondColon
	case has("could not find expected ':'") && bytes.HasSuffix(before, []byte(":")):
		at = start + len(before) - 1
		what, remedy = "there is no blank after the colon", "write key: value"
	case has("could not find expected ':'"):
		what, remedy = "a key without a colon", "write key: value"
	case has("block sequence entries"):
		what, remedy = "a list begins in the line of its key", "begin each item in a line of its own, indented, after a dash"
	case has("unknown escape character"), has("hexdecimal"):
		what, remedy = "a backslash within double quotes that begins no escape", `write \\ for a backslash, or use single quotes`
	case quoted && has("expected ','") && strings.ContainsRune(`"'`, character) && text[at-1] == ' ':
		what, remedy = "two values without a comma between them", "separate them by a comma"
	case quoted:
		what, remedy = "text after the closing quote", `within double quotes write \" for a quote, within single quotes ''`
	case has("expected ','"):
		what, remedy = "two values without a comma between them", "separate them by a comma; put a value that contains : , [ ] { or } in quotes"
	case first && has("did not find expected"):
		what, remedy = "this line does not belong to a list or mapping above it", "begin it in the same column as the lines that it belongs with"
	}
	return &problem{at, "this is not YAML: " + what, remedy}
}

// word returns a text up to its first blank.
func word(text []byte) []byte {
	if end := bytes.IndexAny(text, " \t\n"); end >= 0 {
		return text[:end]
	}
	return text
}

// oddIndentation finds a tab or a full-width blank in the indentation of a line.
func oddIndentation(start int, line []byte) *problem {
	for i, r := range string(line) {
		switch {
		case r == '\t':
			return &problem{start + i, "this is not YAML: a tab indents this line", "indent with blanks: YAML takes no tabs there"}
		case r != ' ' && unicode.IsSpace(r):
			return &problem{start + i, fmt.Sprintf("this is not YAML: the blank U+%04X indents this line", r), "indent with ASCII blanks"}
		case r != ' ':
			return nil
		}
	}
	return nil
}

// oddItem finds a dash that begins no list item, or a full-width blank as indentation, in the line
// of the failure or in the one before it: a parser takes such a line for a key or a text, and fails
// at what follows.
func oddItem(text []byte, start, at int, message string) *problem {
	colon, place := strings.Contains(message, "mapping values are not allowed"), strings.Contains(message, "did not find expected")
	before := bytes.Trim(text[start:at], " ")
	if place && (len(before) == 0 || string(before) == "-") {
		line, _, _ := bytes.Cut(text[start:], []byte("\n"))
		if p := oddDash(start, line); p != nil {
			return p
		}
	}
	if bytes.Contains(before, []byte(": ")) || !colon && (!place || len(before) > 0) {
		return nil
	}
	above, line := lineAbove(text, start)
	hasKey := bytes.Contains(line, []byte(": ")) || bytes.HasSuffix(line, []byte(":"))
	if !colon && !hasKey {
		return nil // it may be the text of a block scalar
	}
	if p := oddDash(above, line); p != nil {
		return p
	}
	if colon && hasKey && !bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")) {
		return oddIndentation(above, line)
	}
	return nil
}

// lineAbove returns the last line before an offset that is neither blank nor a comment, with its
// own offset.
func lineAbove(text []byte, start int) (int, []byte) {
	for start > 0 {
		end := start - 1
		start = lineStart(text, end)
		if line := bytes.TrimRight(withoutComment(text[start:end]), " "); len(line) > 0 {
			return start, line
		}
	}
	return 0, nil
}

// withoutComment returns a line up to its first #.
func withoutComment(line []byte) []byte {
	before, _, _ := bytes.Cut(line, []byte("#"))
	return before
}

// wideDashes are the dashes of input methods and word processors.
const wideDashes = "－—–−"

// oddDash finds a dash without a blank, or another dash than that of ASCII, where a line begins.
func oddDash(start int, line []byte) *problem {
	content := bytes.TrimLeft(line, " ")
	at := start + len(line) - len(content)
	switch r, size := utf8.DecodeRune(content); {
	case r == '-' && len(content) > 1 && !isBlank(content[1]) && content[1] != '-':
		return &problem{at, "this is not YAML: there is no blank after the dash", "write a list item as - and a blank before its text"}
	case size > 1 && strings.ContainsRune(wideDashes, r):
		return &problem{at, fmt.Sprintf("this is not YAML: %q is not the dash of a list", r), dashRemedy}
	}
	return nil
}

const dashRemedy = "write an ASCII - and a blank instead"

// fullWidthMark finds a full-width mark instead of a colon, comma or quote in the value before the
// failure, or instead of the colon of a key in the line before.
func fullWidthMark(text []byte, start, at int) *problem {
	value := start + bytes.LastIndexAny(text[start:at], ",[]{}") + 1
	if key := bytes.LastIndex(text[value:at], []byte(": ")); key >= 0 {
		value += key + 2
	}
	if i := bytes.IndexAny(text[value:at], "：，；“”‘’｛｝［］"); i >= 0 {
		return wideMark(text, value+i)
	}
	if above := lineStart(text, start-1); start > 0 {
		line := withoutComment(text[above : start-1])
		if i := bytes.Index(line, []byte("：")); i >= 0 && !bytes.Contains(line, []byte(": ")) {
			return wideMark(text, above+i)
		}
	}
	return nil
}

func wideMark(text []byte, at int) *problem {
	r, _ := utf8.DecodeRune(text[at:])
	return &problem{at, fmt.Sprintf("this is not YAML: %q is full-width", r), asciiRemedy(r)}
}
