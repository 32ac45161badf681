package rpi_test

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// Servers of grpcwire say which calls they have not begun, so that even calls
// that may do harm twice survive their restarts.
func TestRollingRestartsOverGRPCWireLoseNoCallAndRepeatNone(t *testing.T) {
	var executed atomic.Int64
	served := &impl{echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		executed.Add(1)
		return &echoapi.EchoResponse{}, nil
	}}
	server := rpi.NewServer(&rpi.ServerOptions{Logger: slog.New(slog.DiscardHandler)})
	echoapi.RegisterEchoServiceHandler(server, served)
	start := func(addr string) (string, func()) {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- grpcwire.NewServer(server, nil).Serve(ctx, ln) }()
		return ln.Addr().String(), func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	var addrs [2]string
	var stops [2]func()
	for i := range addrs {
		addrs[i], stops[i] = start("127.0.0.1:0")
	}
	remote := rpi.Remote("echo", discovery.Static(map[string][]string{"echo": addrs[:]}), &rpi.RemoteOptions{
		Endpoint: func(addr string) connect.Transport { return grpcwire.NewTransport(addr, nil) },
		Logger:   slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- remote.Run(ctx) }()
	client := echoapi.NewEchoServiceClient(connect.NewClient(remote))
	var calls atomic.Int64
	var callers sync.WaitGroup
	load, stop := context.WithCancel(t.Context())
	for range 4 {
		callers.Go(func() {
			for load.Err() == nil {
				calls.Add(1)
				if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
					t.Errorf("a call failed: %v", err)
				}
			}
		})
	}
	for i := range 20 {
		for before := calls.Load(); calls.Load() < before+100; {
			runtime.Gosched()
		}
		stops[i%2]()
		_, stops[i%2] = start(addrs[i%2])
	}
	stop()
	callers.Wait()
	if calls.Load() != executed.Load() {
		t.Errorf("%d calls were executed %d times", calls.Load(), executed.Load())
	}
	cancel()
	if err := <-followed; err != nil {
		t.Error(err)
	}
	stops[0]()
	stops[1]()
}
