package supervisor

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Running returns the pid of the folder's supervisor, 0 when there is none.
func Running(dir string) int {
	l := Layout{dir}
	f, err := os.Open(l.lockFile())
	if err != nil {
		return 0
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0
	}
	data, _ := os.ReadFile(l.lockFile())
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// Occupied is Running, but waits up to two seconds for a supervisor that answers
// no more: it is about to be gone.
func Occupied(dir string) int {
	began := time.Now()
	for {
		pid := Running(dir)
		if pid == 0 || time.Since(began) > 2*time.Second {
			return pid
		}
		if conn, err := net.Dial("unix", Layout{dir}.Socket()); err == nil {
			conn.Close()
			return pid
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Sweep ends what a detached supervisor that is gone left running, and returns
// how many processes that were. It fails with [*RunningError] while the folder
// has a supervisor.
func Sweep(dir string) (int, error) {
	l := Layout{dir}
	if _, err := os.Stat(l.stateFile()); err != nil {
		return 0, nil
	}
	lock, err := lockDir(l)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	old, err := readState(l)
	if err != nil {
		return 0, err
	}
	var left []*process
	for _, o := range old.Instances {
		if lives(o.PID, o.Birth) {
			left = append(left, &process{pid: o.PID, birth: o.Birth})
		}
	}
	finish(left)
	old.PID, old.Instances = 0, nil
	return len(left), writeState(l, old)
}

// finish asks processes that are no children to end, and makes them after ten
// seconds.
func finish(list []*process) {
	for _, p := range list {
		p.signal(syscall.SIGTERM)
	}
	late := time.AfterFunc(10*time.Second, func() {
		for _, p := range list {
			p.signal(syscall.SIGKILL)
		}
	})
	defer late.Stop()
	for _, p := range list {
		p.wait()
	}
}
