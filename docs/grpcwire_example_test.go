package docs_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

type plainEcho struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (plainEcho) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.GetText()}, nil
}

// Many small calls: gRPC by a loop of its own, on a port of its own.
func Example_fastWire() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, plainEcho{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	resolver := discovery.Static(map[string][]string{"kitchen": {listener.Addr().String()}})

	go grpcwire.NewServer(server, nil).Serve(ctx, listener)

	kitchen := rpi.Remote("kitchen", resolver, &rpi.RemoteOptions{
		Endpoint: func(addr string) connect.Transport { return grpcwire.NewTransport(addr, nil) },
	})

	go kitchen.Run(ctx)
	res, err := echoapi.NewEchoServiceClient(connect.NewClient(kitchen)).Echo(ctx, &echoapi.EchoRequest{Text: "chicken vindaloo"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.GetText())
	// Output: chicken vindaloo
}
