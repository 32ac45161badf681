//go:build unix

package messaging

import (
	"os"

	"golang.org/x/sys/unix"
)

// flock takes the file for this process until it is closed.
func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
