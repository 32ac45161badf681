//go:build !linux

package supervisor

import (
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// attributes puts a child into a group of its own. There is no death signal
// here: the guard process ends the children of a supervisor that died.
func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// birthOf returns the start time of a process, or "" when there is none.
func birthOf(pid int) string {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// awaitExit returns when a process that is not a child has ended.
func awaitExit(pid int, birth string) {
	for lives(pid, birth) {
		time.Sleep(200 * time.Millisecond)
	}
}

func takeListeners(int, int) []*net.TCPListener { return nil }
