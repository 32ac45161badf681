package acceptance_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// system is FTGO as `cleave up` runs it, with a state folder and ports of its own.
type system struct {
	cleave, dir, state string
	webURL, mobileURL  string // of the graphs
	restURL            string
	registryURL        string
	dnsAddr            string
	dashboardURL       string
	stop               func()
}

const upTimeout = 4 * time.Minute // an empty build cache on a small machine

// start boots the system and stops it when the test ends.
func start(t *testing.T, topology string) *system {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	offset := freeOffset(t)
	s := &system{
		cleave: buildCleave(t), dir: root, state: t.TempDir(),
		webURL:       fmt.Sprintf("http://127.0.0.1:%d/graphql", 8080+offset),
		restURL:      fmt.Sprintf("http://127.0.0.1:%d", 8080+offset),
		mobileURL:    fmt.Sprintf("http://127.0.0.1:%d/graphql", 8081+offset),
		registryURL:  fmt.Sprintf("http://127.0.0.1:%d", 8761+offset),
		dnsAddr:      fmt.Sprintf("127.0.0.1:%d", 8053+offset),
		dashboardURL: fmt.Sprintf("http://127.0.0.1:%d", 9000+offset),
	}
	earlier := filepath.Join(filepath.Dir(s.cleave), "build")
	share(earlier, s.built()) // only the first system has to link everything
	cmd := exec.Command(s.cleave, "up", s.dir, "--topology", topology, "--port-offset", strconv.Itoa(offset))
	cmd.Env = s.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var output lockedBuffer
	cmd.Stdout, cmd.Stderr = &output, &output
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Errorf("cleave up did not stop within 30 s:\n%s", output.String())
			cmd.Process.Kill()
		}
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("cleave up said:\n%s", output.String())
			s.dumpLogs(t)
		}
	})
	probe := client{t: t, url: s.webURL}
	within(t, upTimeout, "the web BFF answers:\n"+output.String(), func() bool {
		select {
		case err := <-ended:
			t.Fatalf("cleave up ended: %v\n%s", err, output.String())
		default:
		}
		if !strings.Contains(output.String(), s.restURL) { // printed when all are ready; calls before that open breakers
			return false
		}
		a, err := probe.try(`{ restaurants(first: 1) { nodes { id } } }`, nil)
		return err == nil && len(a.Errors) == 0
	})
	share(s.built(), earlier)
	t.Logf("%s: up after %v", topology, time.Since(began).Round(100*time.Millisecond))
	return s
}

// built is the folder where cleave has the programs linked.
func (s *system) built() string { return filepath.Join(s.state, "build", "0") }

// share makes the files of one folder those of another too. What cannot be shared is linked again.
func share(from, to string) {
	files, _ := filepath.Glob(filepath.Join(from, "*"))
	if len(files) > 0 {
		_ = os.MkdirAll(to, 0o700)
	}
	for _, name := range files {
		_ = os.Link(name, filepath.Join(to, filepath.Base(name)))
	}
}

// web returns a client of the web BFF for the person with that id and role.
func (s *system) web(t testing.TB, id, role string) client {
	t.Helper()
	return client{t: t, url: s.webURL, token: s.token(t, id, role)}
}

func (s *system) token(t testing.TB, id, role string, more ...string) string {
	t.Helper()
	var out struct{ Token string }
	s.cliJSON(t, &out, append([]string{"token", "--sub", id, "--role", role}, more...)...)
	return out.Token
}

func (s *system) environ() []string { return append(os.Environ(), "CLEAVE_STATE="+s.state) }

// cli runs a command of cleave on this system and returns what it printed.
func (s *system) cli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.cleave, append(args, "--dir", s.dir)...)
	cmd.Env = s.environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cleave %s: %w: %s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), err
}

func (s *system) cliJSON(t testing.TB, v any, args ...string) {
	t.Helper()
	out, err := s.cli(append(args, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("cleave %v printed %q: %v", args, out, err)
	}
}

func (s *system) dumpLogs(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(s.state, "logs", "*.log"))
	for _, name := range files {
		if lines := lastLines(name, 15); lines != "" {
			t.Logf("%s:\n%s", filepath.Base(name), lines)
		}
	}
}

func lastLines(name string, n int) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if lines = append(lines, sc.Text()); len(lines) > n {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}

var built struct {
	sync.Once
	path string
	err  error
}

func buildCleave(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		dir, err := os.MkdirTemp("", "cleave-acceptance-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "cleave")
		cmd := exec.Command("go", "build", "-o", built.path, "./platform/cmd/cleave")
		cmd.Dir = filepath.Join("..", "..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.path != "" {
		os.RemoveAll(filepath.Dir(built.path))
	}
	os.Exit(code)
}

var offsets struct {
	sync.Mutex
	next int
}

// freeOffset returns an offset at which none of the fixed ports is taken.
func freeOffset(t *testing.T) int {
	t.Helper()
	offsets.Lock()
	defer offsets.Unlock()
	if offsets.next == 0 {
		offsets.next = 10_000 + os.Getpid()%200*50
	}
	for range 100 {
		offset := offsets.next
		offsets.next += 50
		if free(offset) {
			return offset
		}
	}
	t.Fatal("no free ports")
	return 0
}

func free(offset int) bool {
	for _, port := range []int{8080, 8081, 8053, 8761, 9000, 9001} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset))
		if err != nil {
			return false
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return false
		}
	}
	return true
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
