package config_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"replygate/config"
)

func TestMistakeText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mistake config.Mistake
		want    string
	}{
		{config.Mistake{File: "f", What: "wrong", Remedy: "mend it"}, "f:1:1: wrong: mend it"},
		{config.Mistake{File: "f", What: "wrong"}, "f:1:1: wrong"},
		{config.Mistake{File: "f", At: config.Position{Line: 7}, What: "wrong"}, "f:7:1: wrong"},
		{config.Mistake{File: "f", At: config.Position{Line: 7, Col: 3}, What: "wrong"}, "f:7:3: wrong"},
		{config.Mistake{File: "f", At: config.Position{Line: 7, Col: 3, File: "g"}, What: "wrong"}, "g:7:3: wrong"},
		{config.Mistake{File: "f", At: config.Position{Env: "NAME"}, What: "wrong", Remedy: "mend it"}, "environment NAME: wrong: mend it"},
	} {
		if got := c.mistake.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Mistakes are in the order of the file, those of the environment and of the file as a whole first,
// and those of an accounts_file last.
func TestMistakesAreSorted(t *testing.T) {
	t.Parallel()
	var ms config.Mistakes
	if err := ms.Err(); err != nil {
		t.Errorf("no mistakes are the error %v", err)
	}
	ms.Add("f", config.Position{Line: 10, Col: 1}, "line 10", "")
	ms.Add("f", config.Position{Line: 9, Col: 5, File: "g"}, "other file", "")
	ms.Add("f", config.Position{Line: 9, Col: 12}, "column 12", "")
	ms.Add("f", config.Position{Line: 9, Col: 5}, "column 5", "")
	ms.Add("f", config.Position{Line: 9, Col: 5}, "column 5 again", "")
	ms.Add("f", config.Position{Env: "B"}, "environment", "")
	ms.Add("f", config.Position{Env: "A"}, "environment", "")
	ms.Add("f", config.Position{}, "whole", "")
	const want = `f:1:1: whole
environment A: environment
environment B: environment
f:9:5: column 5
f:9:5: column 5 again
f:9:12: column 12
f:10:1: line 10
g:9:5: other file`
	err := ms.Err()
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var list config.Mistakes
	if !errors.As(err, &list) || len(list) != 8 {
		t.Errorf("the error is a %T", err)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	keys := []string{"accounts", "accounts_file", "capabilities", "listen", "log", "limits", "redis", "window"}
	for word, want := range map[string]string{
		"listen":        "listen",
		"lisen":         "listen", // a letter is missing
		"listten":       "listen", // one too many
		"lixten":        "listen", // another one
		"lsiten":        "listen", // two changed places
		"LISTEN":        "listen",
		"account":       "accounts",
		"acounts":       "accounts",
		"accounts-file": "accounts_file",
		"acountsfile":   "accounts_file",
		"capabilty":     "capabilities", // a common start
		"capab":         "capabilities",
		"capa":          "capabilities",
		"cap":           "",
		"capital":       "", // too little in common
		"lg":            "", // too short
		"lgo":           "log",
		"logs":          "log",
		"limit":         "limits",
		"redsi":         "redis",
		"widnow":        "window",
		"database":      "",
		"nothing":       "",
	} {
		if got := strings.Join(config.Nearest(word, keys), " "); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
	if got := config.Nearest("a", nil); got != nil {
		t.Errorf("of no words %q is the nearest", got)
	}
}

// How far a suggestion may be depends on the length of the word, and there are at most five.
func TestNearestOfAVocabulary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ word, known, want string }{
		{"cn", "en zh", ""},
		{"hz", "en zh", "zh"}, // exchanged
		{"EN", "en zh", "en"},
		{"e", "en zh", ""},
		{"wnat", "at want", "want"},
		{"wnat", "at", ""},
		{"fone", "phone", ""}, // two changes in a short word
		{"phoen", "phone", "phone"},
		{"kf_replly", "kf_reply kf_event_reply", "kf_reply"},
		{"ww12345678", "ww12345670 ww12345671 ww12345672 ww12345673 ww12345674 ww12345675", "ww12345670 ww12345671 ww12345672 ww12345673 ww12345674"},
		{"ww12345678", "ww12345670 ww12345678", "ww12345678"},
		{"北京公", "北京公司 上海公司", "北京公司"},
		{"a", "a a", "a"},
	} {
		if got := strings.Join(config.Nearest(c.word, strings.Fields(c.known)), " "); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.word, c.known, got, c.want)
		}
	}
}

// A word may be as long as a file without line breaks, and so may the names of its columns: they
// are not compared letter by letter.
func TestLongWords(t *testing.T) {
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("word%d", i))
	}
	long := strings.Repeat("é", 1<<16)
	if n := testing.AllocsPerRun(1, func() { config.Nearest(long, many) }); n > 100 {
		t.Errorf("Nearest makes %v allocations", n)
	}
	if n := testing.AllocsPerRun(1, func() { config.DidYouMean(long, many) }); n > 2_000_000 {
		t.Errorf("DidYouMean makes %v allocations", n)
	}
	list := filepath.Join(t.TempDir(), "accounts.csv")
	if err := os.WriteFile(list, []byte(strings.Repeat("corp,", 1<<10)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse("c.yaml", []byte("accounts_file: "+list+"\n")); err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "accounts.csv:1:1: the header line has 1025 columns: ") {
		t.Errorf("%.1000v", err)
	}
}

// One change of a letter never hides a word among others that are far away.
func TestNearestFindsOneChange(t *testing.T) {
	t.Parallel()
	known := []string{"reauthenticate", "unlisted_account", "encoding_aes_key", "shutdown", "callbacks"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		word := known[random.IntN(len(known))]
		i, letter := random.IntN(len(word)), string(rune('a'+random.IntN(26)))
		for _, changed := range []string{word[:i] + word[i+1:], word[:i] + letter + word[i:], word[:i] + letter + word[i+1:]} {
			if got := config.Nearest(changed, known); len(got) != 1 || got[0] != word {
				t.Fatalf("%s: %q, want %q", changed, got, word)
			}
		}
	}
}

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ word, known, want string }{
		{"shadwo", "enforce shadow", "did you mean shadow?"},
		{"off", "enforce shadow", "known are enforce, shadow"},
		{"", "enforce shadow", "known are enforce, shadow"},
		{"Enforce", "enforce shadow", "did you mean enforce?"},
		{"text", "json", "known are json"},
		{"phonr", "phone phona", "did you mean phone or phona?"},
		{"ｓhadow", "enforce shadow", "'ｓ' is full-width: write an ASCII s instead"},
		{"off，on", "enforce shadow", "'，' is full-width: write an ASCII , instead"},
		{"zz", "a b c d e f g h i j k l m n o p q r s t u zy", "it is none of the 22 known ones; the nearest are zy, a, b, c, d"},
	} {
		if got := config.DidYouMean(c.word, strings.Fields(c.known)); got != c.want {
			t.Errorf("%s: %q, want %q", c.word, got, c.want)
		}
	}
}
