package registry_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/registry"
	"github.com/cleave-go/cleave/platform/router"
)

// TestMain is also the registry process of the tests that stop and kill one.
func TestMain(m *testing.M) {
	dir := os.Getenv("REGISTRY_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() { // ends with the test process, however that ends
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	err := registry.Run(ctx, registry.Options{
		Listen: os.Getenv("REGISTRY_TEST_LISTEN"), DNS: "127.0.0.1:0", Dir: dir,
		Router: router.Options{Listen: func(addr string) (net.Listener, error) {
			return net.Listen("tcp", strings.TrimSuffix(addr, ":80")+":0")
		}},
		Ready: func(f registry.Faces) { fmt.Println(f.URL) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process runs a registry as a process of its own and returns it with its URL.
func process(t *testing.T, dir, listen string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REGISTRY_TEST_DIR="+dir, "REGISTRY_TEST_LISTEN="+listen)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the registry did not start: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

// gaps follows a service over a while and counts how often it was seen without instances once it had one.
type gaps struct {
	mu          sync.Mutex
	epochs      map[string]bool
	had         bool
	empty, errs int
	changed     chan struct{}
}

func (g *gaps) follow(ctx context.Context, c *discovery.Client, service string) {
	for s, err := range c.Watch(ctx, service) {
		g.mu.Lock()
		switch {
		case err != nil:
			g.errs++
		case len(s.Live()) > 0:
			g.had = true
			g.epochs[s.Epoch] = true
		case g.had:
			g.empty++
		}
		g.mu.Unlock()
		select {
		case g.changed <- struct{}{}:
		default:
		}
	}
}

func (g *gaps) await(t *testing.T, epochs int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		g.mu.Lock()
		n := len(g.epochs)
		g.mu.Unlock()
		if n == epochs {
			return
		}
		select {
		case <-g.changed:
		case <-deadline:
			t.Fatalf("heard of %d registries, want %d", n, epochs)
		}
	}
}

func TestAKilledRegistryComesBackAndNobodySeesAnEmptyService(t *testing.T) {
	dir := t.TempDir()
	cmd, url := process(t, dir, "127.0.0.1:0")
	c := realClient(t, url)
	join(t, c, "kitchen", "k1")
	g := &gaps{epochs: map[string]bool{}, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go g.follow(ctx, realClient(t, url), "kitchen")
	g.await(t, 1)
	awaitFile(t, dir+"/instances.json", `"k1"`)
	for kill := 1; kill <= 3; kill++ {
		cmd.Process.Kill()
		cmd.Wait()
		cmd, _ = process(t, dir, strings.TrimPrefix(url, "http://"))
		g.await(t, kill+1)
	}
	if g.mu.Lock(); g.empty != 0 {
		t.Errorf("the service was seen empty %d times", g.empty)
	}
	g.mu.Unlock()
}

func TestARegistryThatWasStoppedForgivesTheSilence(t *testing.T) {
	cmd, url := process(t, t.TempDir(), "127.0.0.1:0")
	quiet := slog.New(slog.DiscardHandler)
	c, err := discovery.NewClient(url, "", &discovery.ClientOptions{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	// Two instances whose addresses refuse connections: no probe would save them.
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, id := range []string{"k1", "k2"} {
		reg, err := c.NewRegistration(discovery.Instance{Service: "kitchen", ID: id, Addr: refusing(t)}, &discovery.RegistrationOptions{Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { reg.Run(ctx) })
		<-reg.Registered()
	}
	before := vip(t, c, "kitchen")
	cmd.Process.Signal(syscall.SIGSTOP)
	select { // the leases run out meanwhile
	case <-time.After(2500 * time.Millisecond):
	case <-t.Context().Done():
	}
	cmd.Process.Signal(syscall.SIGCONT)
	select { // and a while later everybody has beaten again
	case <-time.After(700 * time.Millisecond):
	case <-t.Context().Done():
	}
	after := vip(t, c, "kitchen")
	if after.Revision != before.Revision || len(after.Live()) != 2 {
		t.Errorf("after the stop revision %d with %d live instances, want %d with 2", after.Revision, len(after.Live()), before.Revision)
	}
}

func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
