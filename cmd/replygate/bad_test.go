package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the messages of the bad files anew, to be read before they are committed")

// One bad file for each mistake, beside it the exact message, as check prints it.
func TestBadFiles(t *testing.T) {
	t.Chdir("../../testdata/config/bad")
	for kind, least := range map[string]int{"syntax": 10, "keys": 10, "types": 10, "references": 10, "rules": 15, "accounts": 10} {
		files, err := filepath.Glob(kind + "/*.yaml")
		if err != nil || len(files) < least {
			t.Errorf("%s: %d files, want %d: %v", kind, len(files), least, err)
		}
		for _, file := range files {
			t.Run(file, func(t *testing.T) {
				wanted := strings.TrimSuffix(file, ".yaml") + ".want"
				_, err := load(file)
				got := fmt.Sprintln(err)
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
