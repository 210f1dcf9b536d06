package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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

// Nearest returns the known word that a misspelt one probably means, or "" if none is near.
func Nearest(word string, known []string) string {
	best, bestDistance := "", max(2, len(word)/4)+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known { // a common start, like capability for capabilities
		if n := commonPrefix(word, k); n >= 4 && 3*n >= 2*len(word) {
			return k
		}
	}
	return ""
}

// commonPrefix returns the length in bytes of the longest common prefix.
func commonPrefix(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// DidYouMean returns the remedy for an unknown word: the nearest known one, else all of them.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "known are " + strings.Join(known, ", ")
}

// editDistance returns the Levenshtein distance of two words, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
