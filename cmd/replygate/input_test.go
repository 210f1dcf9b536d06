package main

import (
	"os"
	"strings"
	"testing"
)

// What is read has a bound, and more is an error, not a part of it.
func TestReadInput(t *testing.T) {
	name := file(t, "input", "12345")
	data, err := readInput(name, 5)
	if err != nil || string(data) != "12345" {
		t.Errorf("%s %v", data, err)
	}
	if data, err = readInput(name, 4); data != nil || err == nil || err.Error() != name+" is larger than 4B: give less of it" {
		t.Errorf("%s %v", data, err)
	}
	if _, err = readInput(t.TempDir(), 4); err == nil || !strings.Contains(err.Error(), " cannot be read: ") {
		t.Errorf("of a folder: %v", err)
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer func(stdin *os.File) { os.Stdin = stdin }(os.Stdin)
	os.Stdin = in
	if data, err = readInput("-", 4); data != nil || err == nil || !strings.HasPrefix(err.Error(), "standard input is larger than 4B") {
		t.Errorf("%s %v", data, err)
	}
}
