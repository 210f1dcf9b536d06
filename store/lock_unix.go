//go:build unix

package store

import (
	"os"
	"syscall"
)

// lock locks the journal against other processes, until the file is closed or the process ends.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
