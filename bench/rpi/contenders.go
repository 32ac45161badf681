package main

import (
	"bytes"
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

func sections() []section {
	return []section{
		{"in the same process", sameProcess},
		{"tracing, a call in the same process", tracing},
		{"the client's chain, requests answered at once", answeredAtOnce},
		{"the client's chain, over loopback", loopback},
	}
}

type echoServer struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (echoServer) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.Text, Number: r.Number}, nil
}

var quiet = slog.New(slog.DiscardHandler)

func bare() *connect.Server { return serving(connect.NewServer()) }

func full(t trace.Tracer) *connect.Server {
	return serving(rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Tracer: t}))
}

func serving(s *connect.Server) *connect.Server {
	echoapi.RegisterEchoServiceHandler(s, echoServer{})
	return s
}

func through(name string, t connect.Transport) contender {
	return contender{name, echoapi.NewEchoServiceClient(connect.NewClient(t)).Echo}
}

func sameProcess() ([]contender, func()) {
	return []contender{
		through("rpi.Local, whole chain", rpi.Local(full(nil), nil)),
		through("rpi.Local, no server's chain", rpi.Local(bare(), nil)),
		through("connectinprocess, no chain", connectinprocess.New(bare())),
		{"plain method call", echoServer{}.Echo},
	}, func() {}
}

// tracing compares calls whose every trace begins with them.
func tracing() ([]contender, func()) {
	traced := func(t trace.Tracer) connect.Transport {
		return rpi.Local(full(t), &rpi.LocalOptions{Call: rpi.CallOptions{Tracer: t}})
	}
	sdk := func(s sdktrace.Sampler) (trace.Tracer, func()) {
		p := sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithSpanProcessor(dropped{}))
		return p.Tracer("bench"), func() { _ = p.Shutdown(context.Background()) }
	}
	always, stop1 := sdk(sdktrace.AlwaysSample())
	seldom, stop2 := sdk(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)))
	begun := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	inTrace := func(name string, t connect.Transport) contender {
		c := through(name, t)
		ctx := trace.ContextWithSpanContext(context.Background(), begun)
		echo := c.echo
		c.echo = func(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) { return echo(ctx, r) }
		return c
	}
	return []contender{
		inTrace("off, in a trace", traced(nil)),
		inTrace("1 %, in a trace that is not sampled", traced(rpi.Sampled(always, 0.01))),
		through("off, no trace", traced(nil)),
		through("1 %, a trace begins, rpi.Sampled", traced(rpi.Sampled(always, 0.01))),
		through("1 %, a trace begins, the SDK's sampler", traced(seldom)),
		through("100 %, a trace begins", traced(rpi.Sampled(always, 1))),
	}, func() { stop1(); stop2() }
}

// dropped is a processor that does nothing with a span.
type dropped struct{}

func (dropped) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (dropped) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (dropped) Shutdown(context.Context) error                  { return nil }
func (dropped) ForceFlush(context.Context) error                { return nil }

// at names one address.
type at string

func (a at) Watch(ctx context.Context, service string) iter.Seq2[discovery.Snapshot, error] {
	return func(yield func(discovery.Snapshot, error) bool) {
		if yield(discovery.Snapshot{Service: service, Instances: []discovery.Instance{{ID: string(a), Service: service, Addr: string(a)}}}, nil) {
			<-ctx.Done()
		}
	}
}

// answers is a connection that answers every request at once, with what an echo would say.
type answers struct{ body []byte }

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	_ = r.Body.Close()
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/proto"}},
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r}, nil
}

func answeredAtOnce() ([]contender, func()) {
	body, err := proto.Marshal(&echoapi.EchoResponse{Text: "hello", Number: 7})
	if err != nil {
		panic(err) // a message of ours
	}
	return beside("echo", answers{body}, answers{body})
}

func loopback() ([]contender, func()) {
	server := httptest.NewServer(rpi.Handler(bare()))
	carrier := &http.Transport{MaxIdleConnsPerHost: 64}
	contenders, stop := beside(server.Listener.Addr().String(), carrier, nil)
	return contenders, func() { stop(); carrier.CloseIdleConnections(); server.Close() }
}

// beside compares a client of connect alone with a Remote.
func beside(addr string, alone, under http.RoundTripper) ([]contender, func()) {
	plain := connecthttp.NewTransport(&http.Client{Transport: alone}, "http://"+addr, connecthttp.WithCompressMinBytes(1<<10))
	timed := through("connect with a deadline", plain)
	echo := timed.echo
	timed.echo = func(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return echo(ctx, r)
	}
	remote := rpi.Remote("echo", at(addr), &rpi.RemoteOptions{Logger: quiet, HTTP: under})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- remote.Run(ctx) }()
	return []contender{through("connect alone", plain), timed, through("rpi.Remote, whole chain", remote)}, func() { cancel(); <-ran }
}
