package wire

import (
	"context"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// Contender is one way to carry a call.
type Contender struct {
	Name  string
	Serve func(net.Listener) error
	Dial  func(addr string) (Caller, error)
}

const baseline = "grpc-go"

var contenders = []Contender{
	{baseline, grpcServe(), grpcDial()},
	{"grpc-go, OpenTelemetry 1 %", grpcServe(otelServer), grpcDial(otelClient)},
	{"grpcwire", leanServe(bareServer), leanDial},
	{"grpcwire, whole chain, traces 1 %", leanServe(chainServer), chainDial},
	{"grpcwire, whole chain, no tracer", leanServe(plainServer), plainDial},
	{"grpc-go client, grpcwire server", leanServe(bareServer), grpcDial()},
	{"grpcwire client, grpc-go server", grpcServe(), leanDial},
	{"Kratos, traces 1 %", kratosServe, kratosDial},
	{"go-zero zrpc", zrpcServe, zrpcDial},
	{"connect, h2c", connectServe, connectDial()},
	{"connect, gRPC over h2c", connectServe, connectDial(connecthttp.WithGRPC())},
	{"raw frames", framesServe, framesDial},
}

type echoServer struct{ echoapi.EchoServiceHandler }

func (echoServer) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.GetText(), Number: r.GetNumber(), Data: r.GetData(), List: r.GetList()}, nil
}

func tracer() *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(.01))))
}

func bareServer() *connect.Server {
	s := connect.NewServer()
	echoapi.RegisterEchoServiceHandler(s, echoServer{})
	return s
}

func chainServer() *connect.Server { return server(sampled()) }
func plainServer() *connect.Server { return server(nil) }

func server(t trace.Tracer) *connect.Server {
	s := rpi.NewServer(&rpi.ServerOptions{Tracer: t})
	echoapi.RegisterEchoServiceHandler(s, echoServer{})
	return s
}

// sampled records one trace in a hundred.
func sampled() trace.Tracer {
	return rpi.Sampled(sdktrace.NewTracerProvider().Tracer("wire"), .01)
}

func chainDial(addr string) (Caller, error) { return remote(addr, sampled()) }
func plainDial(addr string) (Caller, error) { return remote(addr, nil) }

// remote is what a service uses: balancer, breaker, retries and the rest.
func remote(addr string, t trace.Tracer) (Caller, error) {
	remote := rpi.Remote("echo", discovery.Static(map[string][]string{"echo": {addr}}), &rpi.RemoteOptions{
		Call:     rpi.CallOptions{Tracer: t},
		Endpoint: func(addr string) connect.Transport { return grpcwire.NewTransport(addr, nil) },
	})
	go func() { exit(remote.Run(context.Background())) }()
	return echoapi.NewEchoServiceClient(connect.NewClient(remote)).Echo, nil
}

func leanServe(server func() *connect.Server) func(net.Listener) error {
	return func(ln net.Listener) error { return grpcwire.NewServer(server(), nil).Serve(context.Background(), ln) }
}

func leanDial(addr string) (Caller, error) {
	return echoapi.NewEchoServiceClient(connect.NewClient(grpcwire.NewTransport(addr, nil))).Echo, nil
}

func connectServe(ln net.Listener) error {
	mux := http.NewServeMux()
	connecthttp.Mount(mux, bareServer(), connecthttp.WithCompressMinBytes(1<<10))
	s := &http.Server{Handler: mux, Protocols: h2c(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}, ReadHeaderTimeout: time.Minute}
	return s.Serve(ln)
}

func h2c() *http.Protocols {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	return p
}

func connectDial(options ...connecthttp.Option) func(string) (Caller, error) {
	return func(addr string) (Caller, error) {
		client := &http.Client{Transport: &http.Transport{Protocols: h2c()}}
		t := connecthttp.NewTransport(client, "http://"+addr, append(options, connecthttp.WithCompressMinBytes(1<<10))...)
		return echoapi.NewEchoServiceClient(connect.NewClient(t)).Echo, nil
	}
}
