package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor"
)

// notRunningError says that there is no system to act on.
type notRunningError struct{}

func (*notRunningError) Error() string { return "the system is not up" }

// system returns the folder of the system to act on: that of --dir, else that
// of the current folder or above, else the only one that is up.
func (e *env) system() (string, error) {
	if e.dir != "" {
		abs, err := filepath.Abs(e.dir)
		if err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(abs)
		if err != nil {
			return "", &usageError{"--dir " + e.dir + " is not a folder"}
		}
		return real, nil
	}
	if dir, err := manifest.Find("."); err == nil {
		return dir, nil
	}
	switch up := runningSystems(); len(up) {
	case 0:
		return "", &notRunningError{}
	case 1:
		return up[0], nil
	default:
		return "", &usageError{"several systems are up, name one with --dir: " + strings.Join(up, ", ")}
	}
}

func (e *env) dial() (controlapi.ControlServiceClient, error) {
	dir, err := e.system()
	if err != nil {
		return nil, err
	}
	if supervisor.Running(dir) == 0 {
		return nil, &notRunningError{}
	}
	return control.Dial(supervisor.Layout{Dir: dir}.Socket()), nil
}

// index is the folder of notes about this user's running systems.
func index() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("cleave-%d-systems", os.Getuid()))
}

// announce notes that a system is up, until the returned function is called and
// it is not. A note that is left over does no harm: it is looked at again.
func announce(dir string) func() {
	sum := sha256.Sum256([]byte(dir))
	name := filepath.Join(index(), hex.EncodeToString(sum[:8]))
	if os.MkdirAll(index(), 0o700) != nil || os.WriteFile(name, []byte(dir), 0o600) != nil {
		return func() {}
	}
	return func() {
		if supervisor.Running(dir) == 0 { // else the note is that of the one who was first
			_ = os.Remove(name)
		}
	}
}

func runningSystems() []string {
	entries, _ := os.ReadDir(index())
	var list []string
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(index(), entry.Name()))
		if dir := string(data); err == nil && filepath.IsAbs(dir) && supervisor.Running(dir) != 0 {
			list = append(list, dir)
		}
	}
	slices.Sort(list)
	return list
}
