package rpi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
	"github.com/cleave-go/cleave/service"
)

// TestMain is also the processes that the tests call: CLEAVE_TEST_PROCESS names
// one, and its first line of output says where it listens.
func TestMain(m *testing.M) {
	switch os.Getenv("CLEAVE_TEST_PROCESS") {
	case "":
		dbtest.Main(m, "TestARepeatedCall")
	case "bare":
		exit(bare())
	case "service":
		exit(hosted())
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// here answers with the number it is asked.
type here struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (here) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Number: r.Number, Text: os.Getenv("CLEAVE_INSTANCE")}, nil
}

func (h here) Store(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return h.Echo(ctx, r)
}

func (h here) Look(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return h.Echo(ctx, r)
}

// bare serves until it is killed.
func bare() error {
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(s, here{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: rpi.Handler(s), Protocols: &http.Protocols{}}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server.Serve(grpcwire.NewServer(s, nil).Beside(l))
}

// hosted is a service that stops in two phases when it is asked to.
func hosted() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return service.Run(ctx, []service.Named{{Name: "echo", New: func(_ context.Context, h *service.Host) error {
		echoapi.RegisterEchoServiceHandler(h.Server(), here{})
		return nil
	}}}, &service.Options{Logger: quiet, Started: func(a service.Addresses) { fmt.Println(a.Services["echo"]) }})
}

// process is one that this test runs.
type process struct {
	cmd  *exec.Cmd
	addr string
}

func start(t *testing.T, kind string, environ ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(append(os.Environ(), "CLEAVE_TEST_PROCESS="+kind), environ...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill() // it may have ended
			p.cmd.Wait()         // killed
		}
	})
	timer := time.AfterFunc(20*time.Second, func() { p.cmd.Process.Kill() }) // makes the line end
	defer timer.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the %s process said nothing: %v", kind, err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// kill ends the process in the middle of whatever it does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil {
		t.Fatal("ended by itself")
	}
}

// stop asks the process to stop and returns how long that took.
func (p *process) stop(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(errors.Join(errors.New("did not stop well"), err))
	}
	return time.Since(begin)
}
