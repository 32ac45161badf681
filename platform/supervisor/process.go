package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a child, or a process that an earlier supervisor started.
type process struct {
	pid   int
	birth string    // tells the process from a later one with the same pid
	cmd   *exec.Cmd // nil for an adopted one
}

// launcher starts every child from one thread that lives as long as the
// supervisor: a child's death signal follows the thread that started it.
type launcher struct {
	jobs chan func()
}

func newLauncher() *launcher {
	l := &launcher{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

func (l *launcher) close() { close(l.jobs) }

func (l *launcher) start(cmd *exec.Cmd) (*process, error) {
	done := make(chan error)
	l.jobs <- func() { done <- cmd.Start() }
	if err := <-done; err != nil {
		return nil, err
	}
	return &process{pid: cmd.Process.Pid, birth: birthOf(cmd.Process.Pid), cmd: cmd}, nil
}

// signal reaches the whole process group.
func (p *process) signal(sig syscall.Signal) {
	if p == nil || p.pid <= 1 || (p.cmd == nil && birthOf(p.pid) != p.birth) {
		return
	}
	_ = syscall.Kill(-p.pid, sig)
}

// wait returns how the process ended, after the rest of its group was ended too.
func (p *process) wait() string {
	how := "ended"
	if p.cmd != nil {
		how = exitReason(p.cmd.Wait())
	} else {
		awaitExit(p.pid, p.birth)
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	return how
}

func exitReason(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "ended by itself (exit status 0)"
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return fmt.Sprintf("ended by signal: %s", ws.Signal())
		}
		return fmt.Sprintf("ended with exit status %d", exit.ExitCode())
	}
	return err.Error()
}

// lives reports whether the process that was born so still exists.
func lives(pid int, birth string) bool {
	return pid > 1 && birth != "" && syscall.Kill(pid, 0) == nil && birthOf(pid) == birth
}

func ownedBySelf(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() || !info.IsDir() {
		return fmt.Errorf("%s is not a folder of this user", dir)
	}
	return nil
}
