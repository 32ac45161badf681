// Package service_test runs processes of package service against the real
// registry.
package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/conformance/internal/registrytest"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/service"
)

var quiet = slog.New(slog.DiscardHandler)

// echo counts its executions over all instances, and says by what protocol it was
// called.
type echo struct {
	echoapi.UnimplementedEchoServiceHandler
	executed *atomic.Int64
	instance string
}

func (e echo) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	e.executed.Add(1)
	info, _ := connect.CallInfoForServerContext(ctx)
	return &echoapi.EchoResponse{Text: e.instance, List: []string{info.Protocol}}, nil
}

// startInstance runs one process that hosts services and returns what stops
// it.
func startInstance(t *testing.T, name, registryURL string, services ...service.Named) (stop func() time.Duration) {
	t.Helper()
	return startWith(t, nil, name, registryURL, services...)
}

func startWith(t *testing.T, environ []string, name, registryURL string, services ...service.Named) (stop func() time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan service.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, services, &service.Options{
			Environ: append([]string{"CLEAVE_INSTANCE=" + name, "CLEAVE_REGISTRY=" + registryURL, "CLEAVE_TOKEN=" + registrytest.Token, "CLEAVE_DATA=" + t.TempDir()}, environ...),
			Logger:  quiet, Started: func(a service.Addresses) { started <- a },
		})
	}()
	t.Cleanup(cancel)
	select {
	case <-started:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(20 * time.Second):
		t.Fatal("not ready within 20 s")
	}
	return func() time.Duration {
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s stopped with %v", name, err)
		}
		return time.Since(begin)
	}
}

func TestARollingReplacementLosesNoCall(t *testing.T) {
	t.Parallel()
	url := registrytest.Start(t)
	var executed atomic.Int64
	instance := func(n int) func() time.Duration {
		name := fmt.Sprintf("echo-%d", n)
		return startInstance(t, name, url, service.Named{Name: "echo", New: func(_ context.Context, h *service.Host) error {
			echoapi.RegisterEchoServiceHandler(h.Server(), echo{executed: &executed, instance: name})
			return nil
		}})
	}
	client, err := discovery.NewClient(url, "", &discovery.ClientOptions{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	remote := rpi.Remote("echo", client, &rpi.RemoteOptions{Logger: quiet})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { remote.Run(ctx) }) // ends with ctx
	echoes := echoapi.NewEchoServiceClient(connect.NewClient(remote))

	stopOld := instance(0)
	var calls, failed atomic.Int64
	var seen sync.Map
	for range 4 {
		running.Go(func() {
			for ctx.Err() == nil {
				calls.Add(1)
				res, err := echoes.Echo(context.Background(), &echoapi.EchoRequest{})
				if err != nil {
					failed.Add(1)
					t.Errorf("call %d: %v", calls.Load(), err)
					continue
				}
				seen.Store(res.Text, true)
				if res.List[0] != "grpc" {
					t.Errorf("call %d went by %s, not over the fast wire", calls.Load(), res.List[0])
				}
			}
		})
	}
	const replacements = 10
	var longest time.Duration
	for n := range replacements {
		stopNew := instance(n + 1)
		longest = max(longest, stopOld())
		stopOld = stopNew
	}
	stop()
	running.Wait()
	stopOld()
	answered := 0
	seen.Range(func(any, any) bool { answered++; return true })
	if executed.Load() != calls.Load() {
		t.Errorf("%d calls were executed %d times", calls.Load(), executed.Load())
	}
	if answered < replacements {
		t.Errorf("%d instances answered, want at least %d", answered, replacements)
	}
	t.Logf("%d replacements, %d calls, %d failed, %d instances answered, longest stop %v", replacements, calls.Load(), failed.Load(), answered, longest)
}

func TestEachServiceOfAProcessIsFoundUnderItsOwnName(t *testing.T) {
	t.Parallel()
	url := registrytest.Start(t)
	var executed atomic.Int64
	offer := func(name string) service.Named {
		return service.Named{Name: name, New: func(_ context.Context, h *service.Host) error {
			if name == "echo" {
				echoapi.RegisterEchoServiceHandler(h.Server(), echo{executed: &executed, instance: "both-1"})
			}
			return nil
		}}
	}
	stopBoth := startInstance(t, "both-1", url, offer("echo"), offer("quiet"))
	answers := make(chan string, 1)
	caller := service.Named{Name: "caller", New: func(_ context.Context, h *service.Host) error {
		echoes := echoapi.NewEchoServiceClient(h.Client("echo"))
		h.Run("call", func(ctx context.Context) error {
			res, err := echoes.Echo(ctx, &echoapi.EchoRequest{})
			answers <- res.GetText()
			return err
		})
		return nil
	}}
	stopCaller := startInstance(t, "caller-1", url, caller)
	if got := <-answers; got != "both-1" {
		t.Errorf("answered by %q", got)
	}
	client, err := discovery.NewClient(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"echo", "quiet", "caller"} {
		for s, err := range client.Watch(t.Context(), name) {
			if err != nil || len(s.Live()) != 1 {
				t.Errorf("%s: %v, %v", name, s.Instances, err)
			}
			break
		}
	}
	stopCaller()
	stopBoth()
	list, err := client.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if len(s.Instances) != 0 {
			t.Errorf("%s is still registered: %v", s.Service, s.Instances)
		}
	}
}
