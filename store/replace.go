package store

import (
	"errors"
	"os"
	"path/filepath"
)

// ReplaceFile writes data so that after a crash the file holds the old bytes or the new, never a
// mix. Only its owner may read the new file.
func ReplaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	syncFolder(name)
	return nil
}

// syncFolder makes the name of a file survive the machine. Not every system can sync a folder.
func syncFolder(name string) {
	if dir, err := os.Open(filepath.Dir(name)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}
