package replygate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxComment is how many columns a line of a comment may have; a tab counts as one.
const maxComment = 100

// The repository is written in the field's terms: no text has a word of testdata/house/words.tsv.
func TestWords(t *testing.T) {
	text, names := bannedWords(t)
	for _, file := range written(t, ".go", ".lua", ".md", ".yaml", ".yml", ".svg") {
		for i, line := range lines(t, file) {
			if found := text.FindString(contractWords.ReplaceAllString(line, "")); found != "" {
				t.Errorf("%s:%d: %q: see testdata/house/words.tsv for the field's term", file, i+1, found)
			}
			if found := behind.FindString(behindProxy.ReplaceAllString(line, "")); found != "" {
				t.Errorf("%s:%d: %q for order: say after", file, i+1, found)
			}
		}
		if strings.HasSuffix(file, ".go") {
			for _, id := range declared(t, file) {
				if slices.Contains(names, id.Name) {
					t.Errorf("%s: the name %s: see testdata/house/words.tsv for the field's term", file, id.Name)
				}
			}
		}
	}
}

// Comments are at most 100 columns wide.
func TestCommentWidth(t *testing.T) {
	for _, file := range written(t, ".go", ".lua") {
		for i, line := range lines(t, file) {
			comment := strings.TrimSpace(line)
			if !strings.HasPrefix(comment, "//") && !strings.HasPrefix(comment, "--") || strings.HasPrefix(comment, "//go:") {
				continue
			}
			if n := utf8.RuneCountInString(line); n > maxComment {
				t.Errorf("%s:%d: a comment of %d columns", file, i+1, n)
			}
		}
	}
}

var (
	// contractWords are names of the contract, and of others, that have such a word in them.
	contractWords = regexp.MustCompile("rg:witness|\"witness:|Replygate-[A-Za-z-]+")
	behind        = regexp.MustCompile(`(?i)\bbehind\b`)
	behindProxy   = regexp.MustCompile(`(?i)\b(leaves?|left) (\S+ ){0,4}behind\b|\bclock\S* (is|runs) behind\b|\bbehind (an? |the |one |such an? |its |nginx|several |another )?([a-z/]+ )?(prox|load balancer|balancer|NAT|gateway|sidecar|firewall|nginx|envoy|twemproxy|bot)`)
)

// bannedWords reads the table: one expression for texts, and the names of declarations.
func bannedWords(t *testing.T) (text *regexp.Regexp, names []string) {
	t.Helper()
	var words []string
	for _, line := range lines(t, "testdata/house/words.tsv") {
		cells := strings.Split(line, "\t")
		switch {
		case strings.HasPrefix(line, "#") || line == "":
		case len(cells) != 3:
			t.Fatalf("words.tsv: %q has not three cells", line)
		case cells[0] == "text":
			words = append(words, cells[1])
		case cells[0] == "name":
			names = append(names, cells[1])
		default:
			t.Fatalf("words.tsv: where is %q?", cells[0])
		}
	}
	return regexp.MustCompile(`(?i)\b(` + strings.Join(words, "|") + `)\b`), names
}

// written are the files of the repository with one of the extensions, but for test data and what
// others wrote.
func written(t *testing.T, extensions ...string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".work", "node_modules"}, d.Name()), path == "testdata/house", path == "testdata/wecom":
			return fs.SkipDir
		case !d.IsDir() && path != "words_test.go" && slices.Contains(extensions, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("only %d files were found", len(files))
	}
	return files
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(data), "\n")
}

// declared lists the names that a file declares outside functions, methods and fields included.
func declared(t *testing.T, file string) (ids []*ast.Ident) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			ids = append(ids, d.Name)
		case *ast.GenDecl:
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.TypeSpec:
					ids = append(ids, n.Name)
				case *ast.ValueSpec:
					ids = append(ids, n.Names...)
				case *ast.Field:
					ids = append(ids, n.Names...)
				}
				return true
			})
		}
	}
	return ids
}
