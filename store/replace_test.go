package store

import (
	"os"
	"path/filepath"
	"testing"
)

// A failed write keeps the old file and leaves no other one behind.
func TestReplaceFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "snapshot")
	for _, text := range []string{"first", "second, which is longer", ""} {
		if err := ReplaceFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(name); string(got) != text {
			t.Errorf("the file holds %q, want %q", got, text)
		}
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file's mode: %v %v", info, err)
		}
	}
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "in it"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(folder, []byte("x")); err == nil {
		t.Error("a folder is replaced")
	}
	if err := ReplaceFile(filepath.Join(dir, "none", "snapshot"), []byte("x")); err == nil {
		t.Error("a file in a missing folder is written")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%d files in the folder, want the file and the folder: %v", len(names), err)
	}
}
