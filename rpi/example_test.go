package rpi_test

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// ErrTooLong is a domain error: it knows nothing of codes.
var ErrTooLong = errors.New("the text is too long")

type parrot struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (parrot) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if r.Text == "" {
		return nil, rpi.InvalidField("text", "must not be empty")
	}
	if len(r.Text) > 10 {
		return nil, fmt.Errorf("repeat %q: %w", r.Text, ErrTooLong)
	}
	return &echoapi.EchoResponse{Text: r.Text}, nil
}

// A domain error declared once is the same on both sides of a call.
func Example() {
	declared := rpi.Errors(rpi.ErrorDef{Err: ErrTooLong, Code: connect.CodeFailedPrecondition, Reason: "TOO_LONG"})

	server := rpi.NewServer(&rpi.ServerOptions{Errors: declared})
	echoapi.RegisterEchoServiceHandler(server, parrot{})

	transport := rpi.Local(server, &rpi.LocalOptions{Call: rpi.CallOptions{Errors: declared}})
	client := echoapi.NewEchoServiceClient(connect.NewClient(transport))

	for _, text := range []string{"hello", "", "a long story"} {
		res, err := client.Echo(context.Background(), &echoapi.EchoRequest{Text: text})
		switch field, invalid := rpi.FieldOf(err); {
		case err == nil:
			fmt.Println(res.Text)
		case invalid:
			fmt.Println("wrong:", field)
		case errors.Is(err, ErrTooLong):
			fmt.Println(err)
		}
	}
	// Output:
	// hello
	// wrong: text
	// failed_precondition: the text is too long
}
