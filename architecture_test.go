package replygate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every file and function that docs/architecture.md names exists, and its picture has every
// package.
func TestArchitecture(t *testing.T) {
	page := strings.Join(lines(t, "docs/architecture.md"), "\n")
	rows := regexp.MustCompile("(?m)\\| `([a-z0-9_/]+\\.go)` \\| `([A-Za-z.]+)` \\|").FindAllStringSubmatch(page, -1)
	if len(rows) < 40 {
		t.Fatalf("only %d rows name a file and a function", len(rows))
	}
	known := map[string]map[string]bool{}
	for _, r := range rows {
		file, function := r[1], r[2]
		if known[file] == nil {
			known[file] = functions(t, file)
		}
		if !known[file][function] {
			t.Errorf("docs/architecture.md: %s declares no %s", file, function)
		}
	}
	picture, err := os.ReadFile("docs/architecture.svg")
	if err != nil {
		t.Fatal(err)
	}
	for dir := range may {
		if !strings.Contains(page, "`"+dir+"`") {
			t.Errorf("docs/architecture.md does not name the package %s", dir)
		}
		if forTests := dir == "bench" || strings.HasSuffix(dir, "test") && strings.Contains(dir, "/"); !forTests && !strings.Contains(string(picture), ">"+dir+"<") {
			t.Errorf("docs/architecture.svg does not show the package %s", dir)
		}
	}
}

// Every Go file that a page names by its folder exists.
func TestNamedFilesExist(t *testing.T) {
	path := regexp.MustCompile("`([a-z0-9_]+/[a-z0-9_/]+\\.(?:go|lua|tsv))`")
	n := 0
	for _, page := range written(t, ".md") {
		if page == "CHANGELOG.md" {
			continue
		}
		for i, line := range lines(t, page) {
			for _, m := range path.FindAllStringSubmatch(line, -1) {
				n++
				if _, err := os.Stat(m[1]); err != nil {
					t.Errorf("%s:%d: there is no %s", page, i+1, m[1])
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d files are named", n)
	}
}

// Every test that a page names exists.
func TestNamedTestsExist(t *testing.T) {
	known := map[string]bool{}
	for _, file := range append(written(t, ".go"), "words_test.go") {
		if strings.HasSuffix(file, "_test.go") {
			maps.Copy(known, functions(t, file))
		}
	}
	named := regexp.MustCompile("`(?:[a-z]+: )?(Test[A-Z][A-Za-z0-9]*)`")
	n := 0
	for _, page := range written(t, ".md") {
		if page == "CHANGELOG.md" {
			continue
		}
		for i, line := range lines(t, page) {
			for _, m := range named.FindAllStringSubmatch(line, -1) {
				n++
				if !known[m[1]] {
					t.Errorf("%s:%d: there is no test %s", page, i+1, m[1])
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d tests are named", n)
	}
}

// functions are those that a file declares: F, or T.F for a method of T.
func functions(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("docs/architecture.md: %v", err)
		return nil
	}
	all := map[string]bool{}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := fn.Name.Name
		if fn.Recv != nil {
			name = receiver(fn.Recv.List[0].Type) + "." + name
		}
		all[name] = true
	}
	return all
}

// receiver is the name of a receiver's type, without its pointer and its type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
