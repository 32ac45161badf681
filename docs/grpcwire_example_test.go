package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

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

// Many small calls: gRPC by a loop of its own, on the port that HTTP is served on.
func Example_fastWire() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, plainEcho{})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	resolver := discovery.Static(map[string][]string{"kitchen": {socket.Addr().String()}})
	listener := &http.Server{Handler: rpi.Handler(server), ReadHeaderTimeout: 5 * time.Second}

	fast := grpcwire.NewServer(server, nil)
	go listener.Serve(fast.Beside(socket)) // what is not for fast is for listener

	kitchen := rpi.Remote("kitchen", resolver, &rpi.RemoteOptions{
		Endpoint: func(addr string) connect.Transport { return grpcwire.NewTransport(addr, nil) },
	})

	go kitchen.Run(ctx)
	res, err := echoapi.NewEchoServiceClient(connect.NewClient(kitchen)).Echo(ctx, &echoapi.EchoRequest{Text: "chicken vindaloo"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.GetText())
	if err := errors.Join(listener.Shutdown(ctx), fast.Shutdown(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output: chicken vindaloo
}
