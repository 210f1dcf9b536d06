//go:build unix

package store

import (
	"os"
	"syscall"
)

// lock keeps other processes from opening the journal as theirs. It ends with the file, or the
// process.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
