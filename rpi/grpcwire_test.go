package rpi_test

import (
	"context"
	"net"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// overGRPCWire binds by the HTTP/2 of rpi/grpcwire, both ends.
func overGRPCWire(t *testing.T, s *connect.Server, o rpi.CallOptions) connect.Transport {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- grpcwire.NewServer(s, nil).Serve(ctx, ln) }()
	wire := grpcwire.NewTransport(ln.Addr().String(), nil)
	t.Cleanup(func() {
		wire.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return rpi.Wire(wire, o)
}
