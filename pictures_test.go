package replygate_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// Each picture of docs/ can be read in light and dark, stays within its page, has a twin in docs/zh
// with the same shapes, and is shown, with a text for those who do not see it.
func TestPictures(t *testing.T) {
	pictures, err := filepath.Glob("docs/*.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(pictures) < 4 {
		t.Errorf("only %d pictures were found", len(pictures))
	}
	shown := map[string]string{} // pictures, with the text of an image that shows them
	for _, page := range written(t, ".md") {
		for _, m := range regexp.MustCompile(`!\[([^\]]*)\]\(([^)]+\.svg)\)`).FindAllStringSubmatch(readPage(t, page), -1) {
			shown[filepath.Join(filepath.Dir(page), m[2])] = m[1]
		}
	}
	for _, file := range pictures {
		english, problems := readPicture(readPage(t, file))
		for _, p := range problems {
			t.Errorf("%s: %s", file, p)
		}
		twin := filepath.Join("docs/zh", filepath.Base(file))
		chinese, problems := readPicture(readPage(t, twin))
		for _, p := range problems {
			t.Errorf("%s: %s", twin, p)
		}
		if d := firstDifference(english.shapes, chinese.shapes); d != "" {
			t.Errorf("%s has not the shapes of %s: %s", twin, file, d)
		}
		if !strings.ContainsFunc(chinese.text, isHan) || strings.ContainsFunc(english.text, isHan) {
			t.Errorf("%s and %s are not in two languages", file, twin)
		}
		if shown[file] == "" || !strings.ContainsFunc(shown[twin], isHan) {
			t.Errorf("no page shows %s, or none shows %s, with a text", file, twin)
		}
	}
}

// What a picture may lack is found.
func TestPictureProblems(t *testing.T) {
	const good = `<svg viewBox="0 0 200 90" role="img"><title>a</title><desc>b</desc>` +
		`<style>@media (prefers-color-scheme:dark){}</style><g transform="translate(16,40)"><text x="10">words</text></g></svg>`
	for picture, want := range map[string]string{
		good: "",
		strings.Replace(good, "words", "more words than there is room for", 1): `"more words than there is room for" does not fit`,
		strings.Replace(good, "words", "一二三四五六七八九十一二三四", 1):                    `"一二三四五六七八九十一二三四" does not fit`,
		strings.Replace(good, "prefers-color-scheme", "x", 1):                  "it has no colours for the dark",
		strings.Replace(good, "<desc>b</desc>", "", 1):                         "it lacks role, title or desc",
		strings.Replace(good, "</svg>", "", 1):                                 "it is not XML: XML syntax error on line 1: unexpected EOF",
	} {
		_, problems := readPicture(picture)
		if got := strings.Join(problems, "; "); got != want {
			t.Errorf("%s: %q, want %q", picture, got, want)
		}
	}
}

// picture is what two languages of a picture have in common, and its words.
type picture struct {
	shapes []string // elements with their attributes, but for those of the language
	text   string
}

// readPicture reads an SVG and tells what is wrong with it. The width of a text is estimated: a
// letter has about 7 units at the size of these pictures, a Chinese character 13.
func readPicture(svg string) (p picture, problems []string) {
	width, shift := 0.0, []float64{0}
	var at float64 // where the present text begins
	inText := false
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p, append(problems, "it is not XML: "+err.Error())
		}
		switch token := token.(type) {
		case xml.StartElement:
			shape, x, middle := token.Name.Local, 0.0, false
			dx := 0.0
			for _, a := range token.Attr {
				switch name := a.Name.Local; {
				case name == "viewBox" && width == 0: // markers have one of their own
					_, _ = fmt.Sscanf(a.Value, "0 0 %g", &width)
				case name == "transform":
					_, _ = fmt.Sscanf(a.Value, "translate(%g,", &dx)
				case name == "x":
					x, _ = strconv.ParseFloat(a.Value, 64)
				case name == "class":
					middle = slices.Contains(strings.Fields(a.Value), "m")
				}
				if name := a.Name.Local; name != "lang" && name != "font-family" {
					shape += " " + name + "=" + a.Value
				}
			}
			p.shapes = append(p.shapes, shape)
			shift = append(shift, shift[len(shift)-1]+dx)
			inText = token.Name.Local == "text" && !middle
			at = x + shift[len(shift)-1]
		case xml.EndElement:
			shift, inText = shift[:len(shift)-1], false
		case xml.CharData:
			words := string(token)
			p.text += words
			if inText && at+estimate(words) > width {
				problems = append(problems, fmt.Sprintf("%q does not fit", words))
			}
		}
	}
	if !strings.Contains(svg, "prefers-color-scheme:dark") {
		problems = append(problems, "it has no colours for the dark")
	}
	if !strings.Contains(svg, `role="img"`) || !strings.Contains(svg, "<title") || !strings.Contains(svg, "<desc") {
		problems = append(problems, "it lacks role, title or desc")
	}
	return p, problems
}

func estimate(words string) (units float64) {
	for _, r := range words {
		if isHan(r) || unicode.Is(unicode.Po, r) && r > unicode.MaxLatin1 {
			units += 13
		} else {
			units += 7
		}
	}
	return units
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		if x, y := lineAt(a, i), lineAt(b, i); x != y {
			return fmt.Sprintf("%q, not %q", y, x)
		}
	}
	return ""
}
