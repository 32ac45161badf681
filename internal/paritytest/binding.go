package paritytest

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// Trait is what sets a binding apart from others.
type Trait uint

// The traits on which rows of the table depend.
const (
	Foreign Trait = 1 << iota // the client is not of rpi: no deadline of its own, errors of its own kind
	JSON                      // messages are JSON: bytes are a third longer
	GRPC                      // an error without a message is trailers only
	GRPCWeb                   // metadata of an error is in the body
	Get                       // requests are GETs
	InSame                    // there is no connection
)

// Binding is a way to reach a server.
type Binding struct {
	Name   string
	Traits Trait
	// Bind binds to s until the test ends; nil if the client is a foreign one.
	Bind func(t testing.TB, s *connect.Server, o rpi.CallOptions) connect.Transport
	// Foreign binds to s until the test ends.
	Foreign func(t testing.TB, s *connect.Server) Exchange
}

// Exchange makes one call of a method of the EchoService: sends the requests, takes the answers, of which no
// more than most.
type Exchange func(ctx context.Context, method string, header map[string][]string, requests []*echoapi.EchoRequest, most int) Answer

// Answer is what a caller gets.
type Answer struct {
	Responses       []*echoapi.EchoResponse
	Err             error
	Header, Trailer map[string][]string
}

// Serving serves s until the test ends and returns its address.
type Serving func(t testing.TB, s *connect.Server) string

// Bindings are all those of rpi. The first is the one to which the others are compared.
func Bindings() []Binding {
	all := append([]Binding{Local()}, Over(Serve)...)
	return append(all, Binding{Name: "gRPC over grpcwire", Traits: GRPC, Bind: lean}, Binding{Name: "remote", Bind: Remote(Serve, nil)})
}

// Local is the binding within a process.
func Local() Binding {
	return Binding{Name: "local", Traits: InSame, Bind: func(_ testing.TB, s *connect.Server, o rpi.CallOptions) connect.Transport {
		return rpi.Local(s, &rpi.LocalOptions{Call: o})
	}}
}

// Over are the bindings over HTTP.
func Over(serve Serving) []Binding {
	return []Binding{
		{Name: "Connect over HTTP/1.1", Bind: serve.wire(false)},
		{Name: "Connect over HTTP/1.1, JSON", Traits: JSON, Bind: serve.wire(false, connecthttp.WithProtoJSON())},
		{Name: "Connect over HTTP/1.1, gzip", Bind: serve.wire(false, connecthttp.WithSendGzip())},
		{Name: "Connect over HTTP/1.1, GET", Traits: Get, Bind: serve.wire(false, connecthttp.WithHTTPGet(), connecthttp.WithHTTPGetMaxURLSize(4096, true))},
		{Name: "Connect over h2c", Bind: serve.wire(true)},
		{Name: "gRPC over h2c", Traits: GRPC, Bind: serve.wire(true, connecthttp.WithGRPC())},
		{Name: "gRPC-Web", Traits: GRPCWeb, Bind: serve.wire(false, connecthttp.WithGRPCWeb())},
	}
}

// Serve serves s over HTTP/1.1 and h2c until the test ends, and returns its address.
func Serve(t testing.TB, s *connect.Server) string {
	server := httptest.NewUnstartedServer(rpi.Handler(s))
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols = protocols
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func (serve Serving) wire(h2c bool, options ...connecthttp.Option) func(testing.TB, *connect.Server, rpi.CallOptions) connect.Transport {
	return func(t testing.TB, s *connect.Server, o rpi.CallOptions) connect.Transport {
		addr := serve(t, s)
		carrier := &http.Transport{}
		if h2c {
			carrier.Protocols = &http.Protocols{}
			carrier.Protocols.SetUnencryptedHTTP2(true)
		}
		t.Cleanup(carrier.CloseIdleConnections)
		return rpi.Wire(connecthttp.NewTransport(&http.Client{Transport: carrier}, "http://"+addr, options...), o)
	}
}

// lean binds by the HTTP/2 of rpi/grpcwire, both ends.
func lean(t testing.TB, s *connect.Server, o rpi.CallOptions) connect.Transport {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- grpcwire.NewServer(s, nil).Serve(ctx, ln) }()
	transport := grpcwire.NewTransport(ln.Addr().String(), nil)
	t.Cleanup(func() {
		transport.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return rpi.Wire(transport, o)
}

// Remote binds by rpi.Remote to one instance, of which meta is known.
func Remote(serve Serving, meta map[string]string) func(testing.TB, *connect.Server, rpi.CallOptions) connect.Transport {
	return func(t testing.TB, s *connect.Server, o rpi.CallOptions) connect.Transport {
		addr := serve(t, s)
		r := rpi.Remote("echo", at{{ID: addr, Service: "echo", Addr: addr, Meta: meta}}, &rpi.RemoteOptions{Call: o, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return r
	}
}

// at names the instances of any service.
type at []discovery.Instance

func (a at) Watch(ctx context.Context, service string) iter.Seq2[discovery.Snapshot, error] {
	return func(yield func(discovery.Snapshot, error) bool) {
		if yield(discovery.Snapshot{Service: service, Instances: a}, nil) {
			<-ctx.Done()
		}
	}
}

// exchange calls through b.
func (b Binding) exchange(t testing.TB, s *connect.Server, o rpi.CallOptions) Exchange {
	if b.Foreign != nil {
		return b.Foreign(t, s)
	}
	client := echoapi.NewEchoServiceClient(connect.NewClient(b.Bind(t, s, o)))
	return func(ctx context.Context, method string, header map[string][]string, requests []*echoapi.EchoRequest, most int) (a Answer) {
		ctx, info := connect.NewClientContext(ctx)
		for k, v := range header {
			info.RequestHeader().SetValues(k, v)
		}
		switch {
		case method == "CountUp":
			a.Responses, a.Err = countUp(ctx, client, requests[0], most)
		case method == "Sum":
			a.Responses, a.Err = sum(ctx, client, requests)
		case b.Traits&Get != 0:
			a.Responses, a.Err = one(client.Look(ctx, requests[0]))
		default:
			a.Responses, a.Err = one(client.Echo(ctx, requests[0]))
		}
		a.Header, a.Trailer = all(info.ResponseHeader()), all(info.ResponseTrailer())
		return a
	}
}

func one(res *echoapi.EchoResponse, err error) ([]*echoapi.EchoResponse, error) {
	if err != nil {
		return nil, err
	}
	return []*echoapi.EchoResponse{res}, nil
}

func countUp(ctx context.Context, client echoapi.EchoServiceClient, req *echoapi.EchoRequest, most int) (got []*echoapi.EchoResponse, err error) {
	stream, err := client.CountUp(ctx, req)
	if err != nil {
		return nil, err
	}
	defer stream.Close() // the verdict is Receive's
	for len(got) < most {
		res, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, res)
	}
	return got, nil
}

func sum(ctx context.Context, client echoapi.EchoServiceClient, requests []*echoapi.EchoRequest) ([]*echoapi.EchoResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of a call that is given up
	stream, err := client.Sum(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range requests {
		if err := stream.Send(r); errors.Is(err, io.EOF) {
			break // the answer tells why
		} else if err != nil {
			return nil, err
		}
	}
	return one(stream.CloseAndReceive())
}

func all(h *connect.Header) map[string][]string {
	m := map[string][]string{}
	for k, v := range h.All() {
		m[k] = v
	}
	return m
}
