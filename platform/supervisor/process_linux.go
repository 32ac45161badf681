package supervisor

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attributes puts a child into a group of its own; bound ties its life to the
// supervisor's.
func attributes(bound bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if bound {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}

// birthOf returns the start time of a process in clock ticks, or "" when there
// is none, or only its remains.
func birthOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field, the name in parentheses, may contain anything.
	_, rest, ok := bytes.Cut(data[bytes.LastIndexByte(data, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 || fields[0][0] == 'Z' {
		return ""
	}
	return string(fields[19])
}

// awaitExit returns when a process that is not a child has ended.
func awaitExit(pid int, birth string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
	}
	for lives(pid, birth) {
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
	}
}

// takeListeners copies the first n inherited sockets of a process, where the
// system lets one do that.
func takeListeners(pid, n int) []*net.TCPListener {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(pidfd)
	var list []*net.TCPListener
	for i := range n {
		fd, err := unix.PidfdGetfd(pidfd, 3+i, 0)
		if err != nil {
			return list
		}
		f := os.NewFile(uintptr(fd), "listener")
		ln, err := net.FileListener(f)
		f.Close()
		if tcp, ok := ln.(*net.TCPListener); err == nil && ok {
			list = append(list, tcp)
		} else if err == nil {
			ln.Close()
		}
	}
	return list
}
