// Command kitex is bench/wire with kitex beside the others. It is a module of
// its own, outside the workspace, because kitex's JSON libraries reach into the
// standard library, which the linker has to be told to let pass:
//
//	GOWORK=off go run -C bench/kitex -ldflags=-checklinkname=0 . -only grpc-go,grpcwire,kitex
package main

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/bench/internal/wire"
	"github.com/cleave-go/cleave/internal/echoapi"
)

func main() {
	klog.SetOutput(io.Discard)
	wire.Main(
		wire.Contender{Name: "kitex, protobuf, multiplexed", Serve: serve(server.WithMuxTransport()), Dial: dial(client.WithMuxConnection(1))},
		wire.Contender{Name: "kitex, protobuf, a connection per call under way", Serve: serve(),
			Dial: dial(client.WithTransportProtocol(transport.TTHeaderFramed), client.WithLongConnection(connpool.IdleConfig{
				MaxIdlePerAddress: 256, MaxIdleGlobal: 256, MaxIdleTimeout: time.Minute}))},
	)
}

// echoInfo is what kitex would generate of one method.
var echoInfo = &serviceinfo.ServiceInfo{
	ServiceName:  "EchoService",
	PayloadCodec: serviceinfo.Protobuf,
	Methods: map[string]serviceinfo.MethodInfo{"Echo": serviceinfo.NewMethodInfo(
		func(_ context.Context, _, args, result any) error {
			r := args.(*message).request
			result.(*message).response = &echoapi.EchoResponse{Text: r.GetText(), Number: r.GetNumber(), Data: r.GetData(), List: r.GetList()}
			return nil
		},
		func() any { return &message{request: &echoapi.EchoRequest{}} },
		func() any { return &message{response: &echoapi.EchoResponse{}} },
		false, serviceinfo.WithStreamingMode(serviceinfo.StreamingUnary))},
	Extra: map[string]any{"PackageName": "cleave.rpi.echo.v1"},
}

// message is a request or a response.
type message struct {
	request  *echoapi.EchoRequest
	response *echoapi.EchoResponse
}

func (m *message) either() proto.Message {
	if m.request != nil {
		return m.request
	}
	return m.response
}

func (m *message) Marshal(out []byte) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(out, m.either())
}

func (m *message) Unmarshal(in []byte) error { return proto.Unmarshal(in, m.either()) }

func serve(options ...server.Option) func(net.Listener) error {
	return func(ln net.Listener) error {
		set := append([]server.Option{server.WithListener(ln), server.WithServerBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: "echo"})}, options...)
		s := server.NewServer(set...)
		if err := s.RegisterService(echoInfo, &struct{}{}); err != nil {
			return err
		}
		return s.Run()
	}
}

func dial(options ...client.Option) func(string) (wire.Caller, error) {
	return func(addr string) (wire.Caller, error) {
		set := append([]client.Option{client.WithDestService("echo"), client.WithHostPorts(addr), client.WithRPCTimeout(5 * time.Second)}, options...)
		c, err := client.NewClient(echoInfo, set...)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
			answer := &message{response: &echoapi.EchoResponse{}}
			return answer.response, c.Call(ctx, "Echo", &message{request: r}, answer)
		}, nil
	}
}
