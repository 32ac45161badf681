package pipeline

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// program is an artefact that is run alone.
type program struct {
	file, name, dir string
	ready, stop     time.Duration
	kit             bool     // whether it has the chassis, with its admin listener
	calls           []string // services that it calls
	env             []string
	listen, admin   string
	after           []func() // ends what surrounds it, last first

	cmd   *exec.Cmd
	out   *guarded
	ended chan struct{}
	err   error // of the process, once ended is closed
}

// inspect asks the program what it calls, if it can say so.
func (p *program) inspect(ctx context.Context, env []string) error {
	info, err := buildinfo.ReadFile(p.file)
	if err != nil {
		return err
	}
	p.kit = slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "github.com/cleave-go/cleave/kit" })
	if !p.kit {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.ready, errors.New("-describe did not end"))
	defer cancel()
	out, all, err := command{dir: p.dir, env: env, args: []string{p.file, "-describe"}}.run(ctx)
	if err != nil {
		return fmt.Errorf("-describe: %w\n%s", err, all)
	}
	var described struct {
		Services []struct {
			Name  string
			Calls []string
		}
	}
	if err := json.Unmarshal([]byte(out), &described); err != nil {
		return fmt.Errorf("-describe: %w", err)
	}
	for _, s := range described.Services {
		if s.Name == p.name {
			p.calls = s.Calls
		}
	}
	return nil
}

// environment completes what the program is started with: that of the chassis,
// then what cleave.yaml says.
func (p *program) environment(ctx context.Context, scrubbed []string, declared map[string]string, digest string) error {
	var err error
	for _, at := range []*string{&p.listen, &p.admin} {
		if *at, err = freeAddress(ctx); err != nil {
			return err
		}
	}
	data := filepath.Join(p.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(p.listen)
	base := slices.DeleteFunc(slices.Clone(scrubbed), func(v string) bool {
		return strings.HasPrefix(v, "GO") || strings.HasPrefix(v, "CGO_") || strings.HasPrefix(v, "CLEAVE_")
	})
	p.env = append(append(base, p.env...),
		"CLEAVE_SERVICES="+p.name, "CLEAVE_INSTANCE="+p.name+"-component", "CLEAVE_VERSION="+digest[:12],
		"CLEAVE_DATA="+data, "DATABASE_URL=sqlite:"+filepath.Join(data, "{service}.db"),
		"HOST="+host, "PORT="+port, "CLEAVE_LISTEN="+p.listen, "CLEAVE_ADMIN_LISTEN="+p.admin)
	for name, value := range declared {
		p.env = append(p.env, name+"="+value)
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// start starts the program and waits until it is ready.
func (p *program) start(ctx context.Context) (time.Duration, error) {
	p.out, p.ended = &guarded{}, make(chan struct{})
	p.cmd = exec.Command(p.file)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.dir, p.env, p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	p.after = append(p.after, p.kill)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		last := p.isReady(ctx)
		if last == nil {
			return time.Since(begin), nil
		}
		if time.Since(begin) > p.ready {
			return time.Since(begin), fmt.Errorf("not ready within %s: %w", p.ready, last)
		}
		select {
		case <-p.ended:
			return time.Since(begin), fmt.Errorf("ended before it was ready: %s", p.how())
		case <-ctx.Done():
			return time.Since(begin), context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func (p *program) isReady(ctx context.Context) error {
	if p.kit {
		return p.get(ctx, "/readyz")
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", p.listen)
	if err != nil {
		return err
	}
	return conn.Close()
}

// get asks the admin listener.
func (p *program) get(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s %s", path, res.Status, bytes.TrimSpace(body))
	}
	return nil
}

func (p *program) health(ctx context.Context) (note, output string, err error) {
	for _, path := range []string{"/livez", "/readyz"} {
		if err := p.get(ctx, path); err != nil {
			return "", p.log(err), err
		}
	}
	return "/livez and /readyz answer", "", nil
}

// answers sends every call that consumers recorded.
func (p *program) answers(ctx context.Context, offered []pact) (note, output string, err error) {
	n := 0
	var wrong []string
	for _, o := range offered {
		calls, err := o.calls()
		if err != nil {
			return "", "", err
		}
		for _, c := range calls {
			n++
			if err := c.answered(ctx, "http://"+p.listen); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s, %s: %v", o.Consumer.Name, c.description, err))
			}
		}
	}
	if len(wrong) > 0 {
		return "", strings.Join(wrong, "\n") + "\n" + p.out.String(), fmt.Errorf("%d of %s not answered", len(wrong), plural(n, "recorded call"))
	}
	if n == 0 {
		return "they are about messages, which the integration stage verifies", "", nil
	}
	return plural(n, "recorded call") + " answered", "", nil
}

// end tells the program to end and waits.
func (p *program) end() (time.Duration, error) {
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("ended by itself: %s", p.how())
	}
	select {
	case <-p.ended:
	case <-time.After(p.stop):
		return time.Since(begin), fmt.Errorf("still runs %s after SIGTERM", p.stop)
	}
	if p.err != nil {
		return time.Since(begin), fmt.Errorf("does not end well after SIGTERM: %w", p.err)
	}
	return time.Since(begin), nil
}

// leave ends everything, in whatever state it is.
func (p *program) leave() {
	for _, end := range slices.Backward(p.after) {
		end()
	}
	p.after = nil
}

func (p *program) kill() {
	select {
	case <-p.ended:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

func (p *program) how() string {
	<-p.ended
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// log returns what the program wrote, when something is wrong.
func (p *program) log(err error) string {
	if err == nil || p.out == nil {
		return ""
	}
	return p.out.String()
}

// guarded is an output that may be read while it is written.
type guarded struct {
	mu  sync.Mutex
	out output
}

func (g *guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.Write(b)
}

func (g *guarded) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.String()
}
