package wire

import (
	"context"
	"net"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cleave-go/cleave/internal/echoapi"
)

const echoMethod = "/cleave.rpi.echo.v1.EchoService/Echo"

type echoer interface {
	Echo(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
}

// echoDesc is what protoc-gen-go-grpc would generate of one method.
var echoDesc = grpc.ServiceDesc{
	ServiceName: "cleave.rpi.echo.v1.EchoService",
	HandlerType: (*echoer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(srv any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := &echoapi.EchoRequest{}
		if err := dec(in); err != nil {
			return nil, err
		}
		if intercept == nil {
			return srv.(echoer).Echo(ctx, in)
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: echoMethod}, func(ctx context.Context, req any) (any, error) {
			return srv.(echoer).Echo(ctx, req.(*echoapi.EchoRequest))
		})
	}}},
}

func otelOptions() []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(tracer()),
		otelgrpc.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
	}
}

func otelServer() grpc.ServerOption {
	return grpc.StatsHandler(otelgrpc.NewServerHandler(otelOptions()...))
}
func otelClient() grpc.DialOption {
	return grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelOptions()...))
}

func grpcServe(options ...func() grpc.ServerOption) func(net.Listener) error {
	return func(ln net.Listener) error {
		var set []grpc.ServerOption
		for _, o := range options {
			set = append(set, o())
		}
		s := grpc.NewServer(set...)
		s.RegisterService(&echoDesc, echoServer{})
		return s.Serve(ln)
	}
}

func grpcDial(options ...func() grpc.DialOption) func(string) (Caller, error) {
	return func(addr string) (Caller, error) {
		set := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
		for _, o := range options {
			set = append(set, o())
		}
		c, err := grpc.NewClient(addr, set...)
		if err != nil {
			return nil, err
		}
		return invoker(c), nil
	}
}

func invoker(c grpc.ClientConnInterface) Caller {
	return func(ctx context.Context, req *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		res := &echoapi.EchoResponse{}
		return res, c.Invoke(ctx, echoMethod, req, res)
	}
}
