package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"unicode"
)

// bilingual returns the texts in a source file: their two languages, by variable.
func bilingual(t *testing.T, file string) map[string][2]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][2]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		lit, ok := spec.Values[0].(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 2 {
			return true
		}
		if kind, ok := lit.Type.(*ast.Ident); !ok || kind.Name != "text" {
			return true
		}
		var pair [2]string
		for i, e := range lit.Elts {
			if pair[i], err = strconv.Unquote(e.(*ast.BasicLit).Value); err != nil {
				t.Fatal(err)
			}
		}
		found[spec.Names[0].Name] = pair
		return true
	})
	return found
}

// Both languages of a text take the same values in the same order, and each is in its language.
func TestTextsOfBothLanguages(t *testing.T) {
	verb := regexp.MustCompile(`%[a-z%]`)
	values := func(s string) []string {
		return slices.DeleteFunc(verb.FindAllString(s, -1), func(v string) bool { return v == "%%" })
	}
	han := func(s string) bool {
		return slices.ContainsFunc([]rune(s), func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	for file, least := range map[string]int{"text.go": 30, "explain.go": 14, "advice.go": 5} {
		texts := bilingual(t, file)
		if len(texts) < least {
			t.Errorf("%s has %d texts", file, len(texts))
		}
		for name, pair := range texts {
			if en, zh := values(pair[0]), values(pair[1]); !slices.Equal(en, zh) {
				t.Errorf("%s takes %v in English, %v in Chinese", name, en, zh)
			}
			if han(pair[0]) || !han(pair[1]) {
				t.Errorf("%s is in the wrong language: %q, %q", name, pair[0], pair[1])
			}
			if last := pair[0][len(pair[0])-1]; last == '.' || last == ' ' || last == '\n' {
				t.Errorf("%s ends in %q", name, last)
			}
		}
	}
}
