package supervisor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Role runs the two roles that the supervisor itself needs its executable for,
// `guard` and `exec`, and reports whether name was one of them.
func Role(name string, args []string) (bool, error) {
	switch name {
	case "guard":
		return true, guard(os.Stdin)
	case "exec":
		return true, execWithSockets(args)
	}
	return false, nil
}

// execWithSockets becomes another program that finds its inherited sockets: the
// variable that names their owner must hold the program's own pid.
func execWithSockets(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("role exec: no program named")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	env := append(os.Environ(), "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	return syscall.Exec(path, args, env)
}

// guard holds the ids of the living process groups, read as lines +ID and -ID.
// When the supervisor dies the pipe closes, and guard ends what is left.
func guard(in io.Reader) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	groups := map[int]bool{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		id, err := strconv.Atoi(strings.TrimLeft(lines.Text(), "+-"))
		if err != nil || id <= 1 {
			continue
		}
		if lines.Text()[0] == '+' {
			groups[id] = true
		} else {
			delete(groups, id)
		}
	}
	for id := range groups {
		_ = syscall.Kill(-id, syscall.SIGKILL)
	}
	return nil
}

// warden is the supervisor's end of the guard's pipe. A nil warden guards
// nothing.
type warden struct {
	mu   sync.Mutex
	pipe io.WriteCloser
	cmd  *exec.Cmd
}

func newWarden(executable string) (*warden, error) {
	cmd := exec.Command(executable, "role", "guard")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard process: %w", err)
	}
	return &warden{pipe: pipe, cmd: cmd}, nil
}

func (w *warden) add(pid int)    { w.tell("+%d\n", pid) }
func (w *warden) remove(pid int) { w.tell("-%d\n", pid) }

func (w *warden) tell(format string, pid int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = fmt.Fprintf(w.pipe, format, pid)
}

func (w *warden) close() {
	if w == nil {
		return
	}
	_ = w.pipe.Close()
	_ = w.cmd.Wait()
}
