package pgtest

import (
	"os/exec"
	"runtime"
	"syscall"
)

// child is a process that does not outlive this one.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startChild starts cmd as owner. It gets the signal when this process ends; the
// kernel ties that to the thread that started it, which is kept for it.
func startChild(cmd *exec.Cmd, owner *syscall.Credential, signal syscall.Signal) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
	endWithParent(cmd.SysProcAttr, signal)
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(c.done)
	}()
	return c, <-started
}

func (c *child) end(signal syscall.Signal) {
	c.cmd.Process.Signal(signal)
	<-c.done
}
