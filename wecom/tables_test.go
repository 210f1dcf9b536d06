package wecom_test

import (
	"os"
	"strings"
	"testing"
)

// cases reads a table of testdata: lines of tab-separated columns, and comments that begin with #.
func cases(t testing.TB, name string, columns int) [][]string {
	t.Helper()
	data, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != columns {
			t.Fatalf("%s:%d: %d columns, want %d", name, i+1, len(row), columns)
		}
		all = append(all, row)
	}
	return all
}
