package rpi_test

import (
	"context"
	"reflect"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/paritytest"
	"github.com/cleave-go/cleave/rpi"
)

// bindings are the ways to reach a server that must not be told apart.
var bindings = paritytest.Bindings()

// It is not parallel to other tests: it takes all the time there is.
func TestBindingsCannotBeToldApart(t *testing.T) {
	paritytest.Run(t, bindings)
}

// impl answers by a function that the case brings.
type impl struct {
	echoapi.UnimplementedEchoServiceHandler
	echo  func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
	calls atomic.Int64
}

func (i *impl) Echo(ctx context.Context, req *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	i.calls.Add(1)
	return i.echo(ctx, req)
}

func fails(err error) func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) { return nil, err }
}

func echoes(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.Text, Number: r.Number, Data: r.Data, List: r.List}, nil
}

func TestLocalCopiesMessages(t *testing.T) {
	t.Parallel()
	var seen *echoapi.EchoRequest
	sent := &echoapi.EchoResponse{List: []string{"b"}}
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, &impl{echo: func(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		seen = r
		r.List[0] = "changed by the handler"
		return sent, nil
	}})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil)))
	req := &echoapi.EchoRequest{List: []string{"a"}}
	res, err := client.Echo(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	res.List[0] = "changed by the caller"
	if seen == req || req.List[0] != "a" || sent.List[0] != "b" {
		t.Errorf("a message is shared: request %v, response %v", req, sent)
	}
	if reflect.ValueOf(res).Pointer() == reflect.ValueOf(sent).Pointer() {
		t.Error("the response is the handler's own")
	}
}
