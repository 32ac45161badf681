package kit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/service"
)

// TestMain makes the test binary a service when it is told to be one.
func TestMain(m *testing.M) {
	switch os.Getenv("KIT_TEST_SERVE") {
	case "":
	case "echo":
		kit.Main("echo", newEcho)
	default:
		kit.MainAll(kit.Service{Name: "echo", New: newEcho}, kit.Service{Name: "gate", New: newGate})
	}
	os.Exit(m.Run())
}

// child is a process that serves on a socket it inherited.
type child struct {
	cmd  *exec.Cmd
	logs *strings.Builder
}

// newGate is a gateway.
func newGate(_ context.Context, h *service.Host) error {
	h.Edge("127.0.0.1:1") // not to be had: the inherited socket comes first
	h.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "gate") }))
	return nil
}

// startChild returns when the child said that it is ready. It serves what names
// the services that sockets are for.
func startChild(t *testing.T, serve, names string, sockets ...*os.File) *child {
	t.Helper()
	dir, err := os.MkdirTemp("", "kit") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	c := &child{cmd: exec.Command(os.Args[0]), logs: &strings.Builder{}}
	c.cmd.Env = append(os.Environ(), "KIT_TEST_SERVE="+serve, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES="+names, "NOTIFY_SOCKET="+path, "CLEAVE_DATA="+dir)
	c.cmd.ExtraFiles = sockets
	c.cmd.Stderr = c.logs
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill() }) // it ended already
	if err := notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	for {
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatalf("the child was not ready: %v\n%s", err, c.logs)
		}
		if strings.HasPrefix(string(buf[:n]), "READY=1") {
			return c
		}
	}
}

// stop asks the child to end and returns how long it took.
func (c *child) stop(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the child ended with %v\n%s", err, c.logs)
	}
	return time.Since(begin)
}

func TestRestartsOnAnInheritedSocketLoseNoRequest(t *testing.T) {
	t.Parallel()
	l, socket := hold(t)
	url := "http://" + l.Addr().String()
	current := startChild(t, "echo", "", socket)

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var calls, failed atomic.Int64
	for range 4 { // keep-alive clients that POST and never repeat
		load.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := echoapi.NewEchoServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, url)))
			for ctx.Err() == nil {
				calls.Add(1)
				if _, err := client.Echo(context.Background(), &echoapi.EchoRequest{Text: "x"}); err != nil {
					failed.Add(1)
					t.Errorf("call %d: %v", calls.Load(), err)
				}
			}
		})
	}
	restarts := 5
	if !testing.Short() {
		restarts = 20
	}
	var longest time.Duration
	for range restarts {
		next := startChild(t, "echo", "", socket)
		longest = max(longest, current.stop(t))
		current = next
	}
	stop()
	load.Wait()
	current.stop(t)
	t.Logf("%d restarts, %d calls, %d failed, longest stop %v", restarts, calls.Load(), failed.Load(), longest)
}

func TestAnInheritedFileThatIsNoSocketIsRefused(t *testing.T) {
	t.Parallel()
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KIT_TEST_SERVE=echo", "LISTEN_FDS=1", "CLEAVE_DATA="+t.TempDir())
	cmd.ExtraFiles = []*os.File{file}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "LISTEN_FDS: descriptor 3 is not a listening socket") {
		t.Errorf("ended with %v\n%s", err, out)
	}
}

// A supervisor that passes on what the listener's File method returns makes the
// socket blocking for everyone, so that an accept under way cannot be ended.
func TestABlockingSocketDoesNotKeepAProcessFromEnding(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := startChild(t, "echo", "", socket)
	socket.Fd()                                // as another start would do
	get(t, "http://"+l.Addr().String()+"/any") // the next accept blocks
	if took := c.stop(t); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	l, socket := hold(t)
	c := startChild(t, "echo", "", socket)
	conn, err := net.Dial("tcp", l.Addr().String()) // holds the drain up
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	signal := time.NewTicker(50 * time.Millisecond)
	defer signal.Stop()
	ended := make(chan error, 1)
	go func() { ended <- c.cmd.Wait() }()
	for n := 0; ; n++ {
		select {
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); n < 2 || !ok || exit.ExitCode() != -1 {
				t.Errorf("ended with %v after %d signals", err, n)
			}
			return
		case <-signal.C:
			c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		case <-time.After(20 * time.Second):
			t.Fatal("two signals did not end it")
		}
	}
}

// hold opens a socket for children to inherit.
func hold(t *testing.T) (net.Listener, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var socket *os.File
	err = raw.Control(func(fd uintptr) {
		// Not File: what it returns makes the socket blocking for all who share it
		// each time it is passed on, and a child would wait in accept for ever.
		if own, err := syscall.Dup(int(fd)); err != nil {
			t.Error(err)
		} else {
			syscall.CloseOnExec(own)
			socket = os.NewFile(uintptr(own), "socket")
		}
	})
	if err != nil || socket == nil {
		t.Fatal("the socket was not copied: ", err)
	}
	t.Cleanup(func() { socket.Close() })
	return l, socket
}

func TestInheritedSocketsGoToTheServicesTheyAreNamedFor(t *testing.T) {
	t.Parallel()
	business, businessSocket := hold(t)
	gate, gateSocket := hold(t)
	c := startChild(t, "both", "business:gate", businessSocket, gateSocket)
	if _, body := get(t, "http://"+business.Addr().String()+"/hello"); body != "hello" {
		t.Errorf("the business socket said %q", body)
	}
	if _, body := get(t, "http://"+gate.Addr().String()+"/"); body != "gate" {
		t.Errorf("the gateway's socket said %q", body)
	}
	c.stop(t)
}
