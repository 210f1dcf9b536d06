package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the messages of the bad files anew, to be read before they are committed")

// One bad file for each mistake, beside it the exact message, as check prints it: the mistakes, or
// the warnings of a file without one. A file .env beside it has variables of the environment.
func TestBadFiles(t *testing.T) {
	t.Chdir("../../testdata/config/bad")
	for kind, least := range map[string]int{
		"syntax": 45, "keys": 10, "types": 10, "references": 10, "rules": 15, "accounts": 10,
		"encodings": 15, "csv": 18, "dates": 20, "environment": 8, "suggestions": 35, "files": 8,
	} {
		files, err := filepath.Glob(kind + "/*.yaml")
		if err != nil || len(files) < least {
			t.Errorf("%s: %d files, want %d: %v", kind, len(files), least, err)
		}
		for _, file := range files {
			t.Run(file, func(t *testing.T) {
				base := strings.TrimSuffix(file, ".yaml")
				setVariables(t, base+".env")
				got, wanted := messages(file), base+".want"
				if *update {
					if err := os.WriteFile(wanted, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(wanted)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("got\n%swant\n%s", got, want)
				}
			})
		}
	}
}

// messages returns the mistakes of a configuration, or else its warnings, one per line.
func messages(file string) string {
	set, err := load(file)
	if err != nil {
		return fmt.Sprintln(err)
	}
	var all strings.Builder
	for _, w := range set.lint(time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)) {
		fmt.Fprintln(&all, "warning: "+w.Error())
	}
	return all.String()
}

// setVariables sets the variables of a file with a NAME=value per line, if it exists.
func setVariables(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		t.Setenv(name, value)
	}
}
