package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Position is a place in a file, counted from 1. The zero Position is the file as a whole.
type Position struct {
	Line, Col int
	File      string // set if it is not the configuration itself: accounts_file
	Env       string // the environment variable that gave the value instead
}

// Mistake is one mistake in a configuration.
type Mistake struct {
	File   string
	At     Position
	What   string // what is wrong
	Remedy string // what to write instead
}

// Error returns "FILE:LINE:COL: what is wrong: the remedy".
func (m Mistake) Error() string {
	where := fmt.Sprintf("%s:%d:%d", cmp.Or(m.At.File, m.File), max(m.At.Line, 1), max(m.At.Col, 1))
	if m.At.Env != "" {
		where = "environment " + m.At.Env
	}
	if m.Remedy == "" {
		return where + ": " + m.What
	}
	return where + ": " + m.What + ": " + m.Remedy
}

// Mistakes holds all mistakes in a configuration, in the order of the file.
type Mistakes []Mistake

// Error returns one mistake per line.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Add appends a mistake.
func (ms *Mistakes) Add(file string, at Position, what, remedy string) {
	*ms = append(*ms, Mistake{File: file, At: at, What: what, Remedy: remedy})
}

// Err returns the mistakes sorted, or nil if there are none.
func (ms Mistakes) Err() error {
	if len(ms) == 0 {
		return nil
	}
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Col, b.At.Col), cmp.Compare(a.At.Env, b.At.Env))
	})
	return ms
}

// The most suggestions for one word, and the most words of a vocabulary that are listed in full.
const (
	maxSuggestions = 5
	maxListed      = 21
)

// Nearest returns the known words that a misspelt one probably means, at most five: those at the
// smallest distance, if that is small for the length of the word.
func Nearest(word string, known []string) []string {
	var near []string
	best, length := -1, utf8.RuneCountInString(word)
	for _, k := range known {
		most := maxDistance(word, k)
		if n := utf8.RuneCountInString(k); length > n+most || n > length+most { // so is the distance
			continue
		}
		d := editDistance(strings.ToLower(word), strings.ToLower(k))
		if d > most || best >= 0 && d > best || slices.Contains(near, k) {
			continue
		}
		if d < best {
			near = nil
		}
		near, best = append(near, k), d
	}
	if len(near) == 0 {
		near = stems(word, known)
	}
	return near[:min(len(near), maxSuggestions)]
}

// stems returns the known words with the start of a misspelt one, like capabilities for capabilty.
func stems(word string, known []string) (near []string) {
	for _, k := range known {
		n := commonPrefix(word, k)
		if n >= 4 && len(word)-n <= 2 && !slices.Contains(near, k) {
			near = append(near, k)
		}
	}
	return near
}

// maxCompared is how many letters of a word are compared with a large vocabulary.
const maxCompared = 64

// maxDistance is the largest distance at which a known word is a sensible suggestion. Of short
// words most others are near, so a word of one or two letters is near only to itself in another
// letter case or order.
func maxDistance(word, known string) int {
	switch n := min(utf8.RuneCountInString(word), utf8.RuneCountInString(known)); {
	case n <= 2:
		if sameLetters(word, known) {
			return 1
		}
		return 0
	case n <= 5:
		return 1
	case n <= 11:
		return 2
	}
	return 3
}

// sameLetters reports whether two words have the same letters, in any order and letter case.
func sameLetters(a, b string) bool {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// commonPrefix returns the length in bytes of the longest common prefix.
func commonPrefix(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// DidYouMean returns the remedy for an unknown word of a vocabulary: what is near, else all of a
// small vocabulary, or the nearest of a large one and how many there are.
func DidYouMean(word string, known []string) string {
	if near := Nearest(narrow(word), known); len(near) > 0 {
		return widthRemedy(word, "did you mean "+or(near)+"?")
	}
	return widthRemedy(word, listing(word, known))
}

// listing names all words of a small vocabulary, or the nearest of a large one and how many there
// are.
func listing(word string, known []string) string {
	if len(known) <= maxListed {
		return "known are " + strings.Join(known, ", ")
	}
	if letters := []rune(word); len(letters) > maxCompared { // not a word: as long as the file
		word = string(letters[:maxCompared])
	}
	nearest := slices.Clone(known)
	slices.SortStableFunc(nearest, func(a, b string) int {
		return cmp.Compare(editDistance(word, a), editDistance(word, b))
	})
	return fmt.Sprintf("it is none of the %d known ones; the nearest are %s", len(known), strings.Join(nearest[:maxSuggestions], ", "))
}

// or lists words as alternatives.
func or(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// editDistance returns how many letters must be changed, added, left out or exchanged with their
// neighbour to turn one word into the other.
func editDistance(a, b string) int {
	from, to := []rune(a), []rune(b)
	rows := make([][]int, len(from)+1)
	for i := range rows {
		rows[i] = make([]int, len(to)+1)
		rows[i][0] = i
	}
	for j := range to {
		rows[0][j+1] = j + 1
	}
	for i := range from {
		for j := range to {
			change := rows[i][j]
			if from[i] != to[j] {
				change++
			}
			d := min(change, rows[i][j+1]+1, rows[i+1][j]+1)
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				d = min(d, rows[i-1][j-1]+1)
			}
			rows[i+1][j+1] = d
		}
	}
	return rows[len(from)][len(to)]
}
