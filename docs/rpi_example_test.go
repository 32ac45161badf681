package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

var errTooLong = errors.New("the text is too long")

var declared = rpi.Errors(
	rpi.ErrorDef{Err: errTooLong, Code: connect.CodeFailedPrecondition, Reason: "TOO_LONG"},
)

type echo struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (echo) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if r.Text == "" {
		return nil, rpi.InvalidField("text", "must not be empty")
	}
	if len(r.Text) > 100 {
		return nil, fmt.Errorf("echo %d bytes: %w", len(r.Text), errTooLong)
	}
	return &echoapi.EchoResponse{Text: r.Text}, nil
}

// The same client, bound to a server in the process and to one on the wire.
func Example_bindings() {
	server := rpi.NewServer(&rpi.ServerOptions{Errors: declared})
	echoapi.RegisterEchoServiceHandler(server, echo{})

	// in the same process
	here := rpi.Local(server, &rpi.LocalOptions{Call: rpi.CallOptions{Errors: declared}})

	// anywhere else
	listener := httptest.NewServer(rpi.Handler(server))
	defer listener.Close()
	addresses := discovery.Static(map[string][]string{"echo": {listener.Listener.Addr().String()}})
	there := rpi.Remote("echo", addresses, &rpi.RemoteOptions{Call: rpi.CallOptions{Errors: declared}})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go there.Run(ctx)

	for _, transport := range []connect.Transport{here, there} {
		client := echoapi.NewEchoServiceClient(connect.NewClient(transport))
		res, err := client.Echo(ctx, &echoapi.EchoRequest{Text: "hello"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Text)
	}
	// Output:
	// hello
	// hello
}

// What a caller makes of the errors of a call.
func Example_errors() {
	server := rpi.NewServer(&rpi.ServerOptions{Errors: declared})
	echoapi.RegisterEchoServiceHandler(server, echo{})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, &rpi.LocalOptions{Call: rpi.CallOptions{Errors: declared}})))

	_, err := client.Echo(context.Background(), &echoapi.EchoRequest{})
	field, invalid := rpi.FieldOf(err)
	switch {
	case errors.Is(err, errTooLong):
		fmt.Println("shorten it")
	case invalid:
		fmt.Println("correct the", field)
	case connect.CodeOf(err) == connect.CodeUnavailable:
		fmt.Println("try again later")
	}
	// Output: correct the text
}

// A read that includes what an earlier write has caused.
func Example_consistency() {
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, committing{})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil)))

	ctx, collected := rpi.WithConsistency(context.Background(), event.Token{})
	if _, err := client.Store(ctx, &echoapi.EchoRequest{Text: "hello"}); err != nil {
		log.Fatal(err)
	}
	res, err := client.Look(ctx, &echoapi.EchoRequest{}) // asks for what Store has caused
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Number, collected.Token().IsZero())
	// Output: 7 false
}

type committing struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (committing) Store(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	rpi.Committed(ctx, "echo", "2026", 7)
	return &echoapi.EchoResponse{}, nil
}

func (committing) Look(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	mark, _ := rpi.Required(ctx).Mark("echo")
	return &echoapi.EchoResponse{Number: int64(mark.Position)}, nil
}

// A server for callers that speak HTTP/1.1, HTTP/2 without TLS, or both.
func Example_listener() {
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, echo{})

	mux := http.NewServeMux()
	rpi.Mount(mux, server)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	listener := &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: 5 * time.Second}

	fmt.Println(listener.Protocols)
	// Output: {HTTP1,UnencryptedHTTP2}
}
