package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// process is a child that is told by lines what to do.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(ctx context.Context, j job) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	role, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), roleVariable+"="+string(role))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

func (p *process) say(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

func (p *process) hear() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("a process ended early: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// obey answers "cpu" with the CPU time used in microseconds, anything else with
// what run returns, until in ends.
func obey(in io.Reader, out io.Writer, run func() (any, error)) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() == "cpu" {
			fmt.Fprintf(out, "%f\n", cpuUsed())
			continue
		}
		result, err := run()
		if err != nil {
			return err
		}
		data, err := json.Marshal(result)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", data)
	}
	return lines.Err()
}
