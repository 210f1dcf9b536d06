package replygate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// onlyEnglish names the pages that have no page in Chinese yet.
var onlyEnglish = []string{}

// Each page has one in Chinese with the same headings, snippets and commands, and the links of that
// lead somewhere: to pages in Chinese where there are.
func TestChinesePages(t *testing.T) {
	english, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	chinese, err := filepath.Glob("docs/zh/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(english) < 20 {
		t.Errorf("only %d pages were found", len(english))
	}
	pages := map[string]string{"README.md": "README.zh-CN.md"}
	for _, page := range english {
		pages[page] = filepath.Join("docs/zh", filepath.Base(page))
		if slices.Contains(onlyEnglish, filepath.Base(page)) {
			delete(pages, page)
		} else if !slices.Contains(chinese, pages[page]) {
			t.Errorf("%s has no page in Chinese: write %s, or name it in onlyEnglish", page, pages[page])
			delete(pages, page)
		}
	}
	for _, page := range chinese {
		if !slices.Contains(english, filepath.Join("docs", filepath.Base(page))) {
			t.Errorf("%s has no page in English", page)
		}
	}
	for page, translated := range pages {
		for _, d := range differences(readPage(t, page), readPage(t, translated)) {
			t.Errorf("%s: %s", translated, d)
		}
		for _, l := range badLinks(t, translated, page) {
			t.Errorf("%s: %s", translated, l)
		}
		if to, _ := filepath.Rel(filepath.Dir(page), translated); !strings.Contains(readPage(t, page), "]("+to+")") {
			t.Errorf("%s does not lead to %s", page, translated)
		}
	}
}

// What must not differ between two languages is found where it differs.
func TestDifferences(t *testing.T) {
	const page = "# A\n\ntext\n\n## B\n\n```sh\nrun 1 # so many\n# then\nrun 2\n```\n\n    serve\n"
	for chinese, want := range map[string]string{
		page: "",
		"# 甲\n\n文\n\n## 乙\n\n```sh\n# 先\nrun 1   # 一次\nrun 2\n```\n\n    serve\n": "",
		strings.Replace(page, "## B", "### B", 1):                                 "its headings are # ###, not # ##",
		strings.Replace(page, "## B\n", "", 1):                                    "its headings are #, not # ##",
		strings.Replace(page, "run 2", "run 3", 1):                                "snippet 1 has \"run 3\", not \"run 2\"",
		strings.Replace(page, "run 2\n", "", 1):                                   "snippet 1 has \"```\", not \"run 2\"",
		strings.Replace(page, "```sh", "```bash", 1):                              "snippet 1 has \"```bash\", not \"```sh\"",
		strings.Replace(page, "    serve", "    server", 1):                       "snippet 2 has \"    server\", not \"    serve\"",
		strings.Replace(page, "    serve", "serve", 1):                            "it has 1 snippets, not 2",
	} {
		if got := strings.Join(differences(page, chinese), "; "); got != want {
			t.Errorf("%q: %q, want %q", chinese, got, want)
		}
	}
}

// outline is what two languages of a page have in common.
type outline struct {
	levels   []string   // of the headings
	slugs    []string   // by which links name the headings
	snippets [][]string // fenced and indented blocks, without comments
}

var (
	heading = regexp.MustCompile(`^(#+) (.*)`)
	comment = regexp.MustCompile(`(^|\s+)#( .*)?$`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

func outlineOf(page string) (o outline) {
	fenced, indented, blank := false, false, true
	code := func(line string) {
		if line = strings.TrimRight(comment.ReplaceAllString(line, ""), " "); line != "" {
			last := len(o.snippets) - 1
			o.snippets[last] = append(o.snippets[last], line)
		}
	}
	for line := range strings.SplitSeq(page, "\n") {
		fence := strings.HasPrefix(line, "```")
		indented = !fenced && strings.HasPrefix(line, "    ") && (indented || blank)
		switch {
		case fence || indented:
			if fence && !fenced || indented && blank {
				o.snippets = append(o.snippets, nil)
			}
			fenced = fenced != fence
			code(line)
		case fenced:
			code(line)
		default:
			if m := heading.FindStringSubmatch(line); m != nil {
				o.levels, o.slugs = append(o.levels, m[1]), append(o.slugs, slug(m[2]))
			}
		}
		blank = line == "" && !fenced
	}
	return o
}

// slug is the anchor that the repository's host gives a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// differences tells what a page in Chinese has otherwise than its English page.
func differences(english, chinese string) (all []string) {
	e, c := outlineOf(english), outlineOf(chinese)
	if !slices.Equal(e.levels, c.levels) {
		all = append(all, "its headings are "+strings.Join(c.levels, " ")+", not "+strings.Join(e.levels, " "))
	}
	if len(e.snippets) != len(c.snippets) {
		return append(all, fmt.Sprintf("it has %d snippets, not %d", len(c.snippets), len(e.snippets)))
	}
	for i := range e.snippets {
		for n := range max(len(e.snippets[i]), len(c.snippets[i])) {
			a, b := lineAt(e.snippets[i], n), lineAt(c.snippets[i], n)
			if a != b {
				all = append(all, fmt.Sprintf("snippet %d has %q, not %q", i+1, b, a))
				break
			}
		}
	}
	return all
}

func lineAt(lines []string, n int) string {
	if n < len(lines) {
		return lines[n]
	}
	return ""
}

// badLinks lists the relative links of a page that lead nowhere, or to English although there is a
// page in Chinese. The first link of a page leads to its English page.
func badLinks(t *testing.T, page, english string) (bad []string) {
	first := true
	for _, m := range link.FindAllStringSubmatch(readPage(t, page), -1) {
		path, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(path, ":") {
			continue
		}
		file := filepath.Join(filepath.Dir(page), path)
		if path == "" {
			file = page
		}
		_, err := os.Stat(file)
		_, translated := os.Stat(filepath.Join("docs/zh", filepath.Base(file)))
		switch {
		case err != nil:
			bad = append(bad, m[1]+" leads nowhere")
		case first && file != english:
			bad = append(bad, "its first link does not lead to "+english)
		case !first && filepath.Dir(file) == "docs" && translated == nil:
			bad = append(bad, m[1]+" leads to English although there is a page in Chinese")
		case anchor != "" && !slices.Contains(outlineOf(readPage(t, file)).slugs, anchor):
			bad = append(bad, m[1]+" names no heading")
		}
		first = false
	}
	return bad
}

func readPage(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
