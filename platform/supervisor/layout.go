package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Layout names the places of a system's state.
type Layout struct{ Dir string }

// StateDir is the folder of everything the system keeps: .cleave in Dir, or what
// CLEAVE_STATE names, so that one checkout can be run twice.
func (l Layout) StateDir() string {
	if dir := os.Getenv("CLEAVE_STATE"); dir != "" {
		return dir
	}
	return filepath.Join(l.Dir, ".cleave")
}

// Bin is the folder of the built programs.
func (l Layout) Bin() string { return filepath.Join(l.StateDir(), "bin") }

// Data is the folder of the services' databases.
func (l Layout) Data() string { return filepath.Join(l.StateDir(), "data") }

// Logs is the folder of the instances' logs.
func (l Layout) Logs() string { return filepath.Join(l.StateDir(), "logs") }

// RunDir is the folder of what belongs to the running system.
func (l Layout) RunDir() string { return filepath.Join(l.StateDir(), "run") }

// Role is the folder where a role keeps its own state.
func (l Layout) Role(name string) string { return filepath.Join(l.StateDir(), name) }

// IssuerKey is the file of the development issuer's key.
func (l Layout) IssuerKey() string { return filepath.Join(l.StateDir(), "issuer.pem") }

// Socket is the control socket. A folder whose path is too long for a socket's
// name has it below the system's temporary folder.
func (l Layout) Socket() string { return filepath.Join(l.socketDir(), "ctl.sock") }

func (l Layout) notify(instance string) string {
	return filepath.Join(l.socketDir(), "n-"+instance)
}

func (l Layout) log(instance string) string { return filepath.Join(l.Logs(), instance+".log") }

func (l Layout) build(round int) string {
	return filepath.Join(l.StateDir(), "build", strconv.Itoa(round))
}

func (l Layout) lockFile() string  { return filepath.Join(l.RunDir(), "pid") }
func (l Layout) stateFile() string { return filepath.Join(l.RunDir(), "state.json") }

// socketDir keeps socket names below the 104 bytes that every Unix allows.
func (l Layout) socketDir() string {
	if dir := l.RunDir(); len(dir) <= 55 {
		return dir
	}
	sum := sha256.Sum256([]byte(l.StateDir()))
	return filepath.Join(os.TempDir(), fmt.Sprintf("cleave-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6])))
}

// create makes the folders, for their owner only, and hides them from git.
func (l Layout) create() error {
	for _, dir := range []string{l.StateDir(), l.Bin(), l.Data(), l.Logs(), l.RunDir(), l.socketDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := ownedBySelf(dir); err != nil {
			return err
		}
	}
	if err := os.Chmod(l.StateDir(), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.StateDir(), ".gitignore"), []byte("*\n"), 0o600)
}
