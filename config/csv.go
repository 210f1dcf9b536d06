package config

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// csvSource is the text of a CSV with what was found out about it.
type csvSource struct {
	text  []byte
	lines [][]byte
	comma byte
	file  string
}

// separators are what spreadsheets write between cells.
const separators = ",;\t"

// newCSVSource finds the separator of a CSV in its header line: the names of columns have none of
// these characters.
func newCSVSource(text []byte, file string) csvSource {
	s := csvSource{text: text, lines: bytes.Split(text, []byte("\n")), comma: ',', file: file}
	header, _, _ := bytes.Cut(bytes.TrimLeft(text, "\n"), []byte("\n"))
	if i := bytes.IndexAny(header, separators); i >= 0 {
		s.comma = header[i]
	}
	return s
}

// isCSV reports whether a text begins like a CSV of accounts.
func isCSV(text []byte) bool {
	s := newCSVSource(text, "")
	header, _, _ := bytes.Cut(bytes.TrimLeft(text, "\n"), []byte("\n"))
	cells := strings.Split(string(header), string(s.comma))
	return len(cells) > 1 && slices.Contains(cells, "corp_id")
}

// position converts a line and a column in bytes to one in characters.
func (s csvSource) position(line, col int) Position {
	if line >= 1 && line <= len(s.lines) {
		before := s.lines[line-1]
		col = 1 + utf8.RuneCount(before[:min(max(col-1, 0), len(before))])
	}
	return Position{Line: line, Col: col, File: s.file}
}

// offset returns the offset of a line and a column in bytes.
func (s csvSource) offset(line, col int) int {
	at := 0
	for _, l := range s.lines[:min(line-1, len(s.lines))] {
		at += len(l) + 1
	}
	return min(at+col-1, len(s.text))
}

// syntaxProblem is the cause of an error of the CSV reader: a quote that is not closed, or one in
// the middle of a cell.
func (s csvSource) syntaxProblem(err *csv.ParseError) *problem {
	at := s.offset(err.Line, err.Column)
	if err.Err == csv.ErrQuote {
		open := s.openQuote(s.offset(err.StartLine, 1), at)
		if at < len(s.text) && !bytes.Contains(s.text[open:at], []byte("\n")) {
			return &problem{at, "this is not CSV: text after the closing quote", `write "" for a quote within the cell`}
		}
		return &problem{open, "this is not CSV: the quote of this cell is not closed", `write " at the end of the cell; write "" for a quote within it`}
	}
	before := bytes.TrimRight(s.text[:at], " ")
	if len(before) < at && (len(before) == 0 || before[len(before)-1] == s.comma || before[len(before)-1] == '\n') {
		return &problem{at, "this is not CSV: a blank before the quote", "take the blank out: a quote begins directly after the separator"}
	}
	return &problem{at, "this is not CSV: a quote in the middle of a cell", `put the whole cell in quotes and write "" for a quote within it`}
}

// openQuote returns the offset of the quote that begins the cell before an offset, counted from the
// start of its row.
func (s csvSource) openQuote(start, before int) int {
	found, quoted, cell := start, false, true
	for i := start; i < before; i++ {
		c := s.text[i]
		switch {
		case quoted && c == '"' && i+1 < len(s.text) && s.text[i+1] == '"':
			i++
		case quoted && c == '"':
			quoted = false
		case cell && c == '"':
			found, quoted = i, true
		}
		cell = !quoted && (c == s.comma || c == '\n')
	}
	return found
}

// rowProblem says why a row may have another number of cells than the header.
func (s csvSource) rowProblem(row []string, line, columns int) (at Position, what, remedy string) {
	at = s.position(line, 1)
	what = fmt.Sprintf("a row of %d cells under a header of %d", len(row), columns)
	text := s.lines[line-1]
	if i := bytes.IndexAny(text, "，；“”"); i >= 0 && (len(row) < columns || bytes.ContainsAny(text, "“”")) {
		r, _ := utf8.DecodeRune(text[i:])
		mark := halfWidth(r)
		if mark != `"` {
			mark = separatorName(s.comma)
		}
		return s.position(line, i+1), what, fmt.Sprintf("%q is full-width: write an ASCII %s instead", r, mark)
	}
	for _, other := range []byte(separators) {
		if i := bytes.IndexByte(text, other); other != s.comma && i >= 0 && len(row) < columns {
			return s.position(line, i+1), what, fmt.Sprintf("the header separates cells by %s, this row by %s: use one of them", separatorName(s.comma), separatorName(other))
		}
	}
	if len(row) > columns {
		return at, what, fmt.Sprintf("put a cell that contains a %s in quotes", separatorName(s.comma))
	}
	return at, what, "give every row a cell for each column"
}

func separatorName(c byte) string {
	return map[byte]string{',': "comma", ';': "semicolon", '\t': "tab"}[c]
}

// emptyRow reports whether all cells are empty, as spreadsheets write below their last row.
func emptyRow(row []string) bool {
	return !slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" })
}
