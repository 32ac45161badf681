package supervisor

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// state is what a later supervisor of the folder has to know.
type state struct {
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Topology string    `json:"topology"`
	Offset   int       `json:"port_offset"`
	Detached bool      `json:"detached"`
	// Token and BrokerPort last over restarts: running programs hold them.
	Token      string          `json:"token"`
	BrokerPort int             `json:"broker_port"`
	Replicas   map[string]int  `json:"replicas,omitempty"` // set by scale
	Instances  []instanceState `json:"instances,omitempty"`
}

type instanceState struct {
	ID        string `json:"id"`
	Program   string `json:"program"`
	PID       int    `json:"pid"`
	Birth     string `json:"birth"`
	Port      int    `json:"port"`
	AdminPort int    `json:"admin_port"`
	Binary    string `json:"binary"`
	Version   string `json:"version"`
	Kit       bool   `json:"kit"`
	Sockets   int    `json:"sockets"`
	Ready     bool   `json:"ready"`
}

// lockDir claims the folder for this process until the file is closed.
func lockDir(l Layout) (*os.File, error) {
	f, err := os.OpenFile(l.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	lock := func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	err = lock()
	for range 5 { // Running holds it for a moment, to see whether somebody else does
		if !errors.Is(err, syscall.EWOULDBLOCK) || Occupied(l.Dir) != 0 {
			break
		}
		err = lock()
	}
	if err != nil {
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", l.lockFile(), err)
		}
		data, _ := os.ReadFile(l.lockFile())
		pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		return nil, &RunningError{Dir: l.Dir, PID: pid}
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, err
}

func readState(l Layout) (state, error) {
	data, err := os.ReadFile(l.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("%s: %w; remove the file to start afresh", l.stateFile(), err)
	}
	return s, nil
}

func writeState(l Layout, s state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(l.stateFile(), data)
}

// writeFile replaces a file as a whole.
func writeFile(name string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

func newToken() string {
	var b [24]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
