package rpi_test

import (
	"context"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// A server may refuse a call before it has read the request, and faster than
// the caller has sent it.
func TestARefusalBeforeTheRequestIsReadIsTheAnswer(t *testing.T) {
	server := connect.NewServer(func(connect.ServerFunc) connect.ServerFunc {
		return func(context.Context, connect.Spec, connect.ServerStream) error {
			return connect.NewError(connect.CodeUnauthenticated, "no")
		}
	})
	echoapi.RegisterEchoServiceHandler(server, &impl{})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil)))
	for n := range 20_000 {
		if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Fatalf("call %d: got %v", n, err)
		}
	}
}
