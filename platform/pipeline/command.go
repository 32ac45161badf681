package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// maxOutput is how much of a command's output is kept: its beginning and its
// end.
const maxOutput = 128 << 10

// command is something to run.
type command struct {
	dir   string
	env   []string
	stdin string
	args  []string
}

// run returns what the command wrote to standard output, and all that it wrote.
// An error is that of starting it, or an *exec.ExitError.
func (c command) run(ctx context.Context) (stdout, all string, err error) {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	if path := lookPath(c.args[0], c.env); path != "" {
		cmd.Path, cmd.Err = path, nil
	}
	if c.stdin != "" {
		cmd.Stdin = strings.NewReader(c.stdin)
	}
	var out bytes.Buffer
	both := &output{}
	cmd.Stdout, cmd.Stderr = tee{&out, both}, both
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("%s is not in PATH; install it", c.args[0])
	}
	return out.String(), both.String(), err
}

// lookPath finds a program by the PATH of the command's own environment.
func lookPath(name string, env []string) string {
	if strings.Contains(name, "/") {
		return ""
	}
	for _, v := range env {
		path, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			file := dir + "/" + name
			if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return file
			}
		}
	}
	return ""
}

// output keeps the first and the last bytes written to it.
type output struct {
	head, tail []byte
	lost       int
}

func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	if room := maxOutput/2 - len(o.head); room > 0 {
		take := min(room, len(p))
		o.head, p = append(o.head, p[:take]...), p[take:]
	}
	o.tail = append(o.tail, p...)
	if over := len(o.tail) - maxOutput/2; over > 0 {
		o.lost += over
		o.tail = append(o.tail[:0], o.tail[over:]...)
	}
	return n, nil
}

func (o *output) String() string {
	if o.lost == 0 {
		return string(o.head) + string(o.tail)
	}
	return fmt.Sprintf("%s\n… %d bytes left out …\n%s", o.head, o.lost, o.tail)
}

type tee struct {
	a *bytes.Buffer
	b *output
}

func (t tee) Write(p []byte) (int, error) {
	t.a.Write(p)
	return t.b.Write(p)
}
