package rpi_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// busyAtFirst answers that it cannot, once.
type busyAtFirst struct {
	echoapi.UnimplementedEchoServiceHandler
	calls atomic.Int32
}

func (b *busyAtFirst) Look(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if b.calls.Add(1) == 1 {
		return nil, connect.NewError(connect.CodeUnavailable, "not just now")
	}
	return &echoapi.EchoResponse{Text: r.Text}, nil
}

func TestEachTryIsASpanAndTheServersParent(t *testing.T) {
	tests := []struct {
		name string
		call func(at discovery.Resolver, o rpi.CallOptions) (func() error, func(context.Context) error)
	}{
		{"a call", func(at discovery.Resolver, o rpi.CallOptions) (func() error, func(context.Context) error) {
			remote := rpi.Remote("echo", at, &rpi.RemoteOptions{Call: o})
			client := echoapi.NewEchoServiceClient(connect.NewClient(remote))
			return func() error {
				_, err := client.Look(context.Background(), &echoapi.EchoRequest{Text: "hello"})
				return err
			}, remote.Run
		}},
		{"a plain request", func(at discovery.Resolver, o rpi.CallOptions) (func() error, func(context.Context) error) {
			carrier := rpi.NewRoundTripper("echo", at, &rpi.RemoteOptions{Call: o})
			return func() error {
				r, err := http.NewRequest(http.MethodGet, "http://echo/cleave.rpi.echo.v1.EchoService/Look?connect=v1&encoding=json&message=%7B%7D", nil)
				if err != nil {
					return err
				}
				res, err := carrier.RoundTrip(r)
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				return err
			}, carrier.Run
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spans := tracetest.NewSpanRecorder()
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
			s := rpi.NewServer(&rpi.ServerOptions{Tracer: tracer, Logger: slog.New(slog.DiscardHandler)})
			echoapi.RegisterEchoServiceHandler(s, &busyAtFirst{})
			server := httptest.NewServer(rpi.Handler(s))
			defer server.Close()
			call, run := tt.call(discovery.Static(map[string][]string{"echo": {server.Listener.Addr().String()}}), rpi.CallOptions{Tracer: tracer})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- run(ctx) }()
			err := call()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			server.Close() // its spans have ended
			names := map[string]string{}
			for _, s := range spans.Ended() {
				names[s.SpanContext().SpanID().String()] = s.SpanKind().String() + " " + s.Name()
			}
			var got []string
			for _, s := range spans.Ended() {
				got = append(got, s.SpanKind().String()+" in "+strings.TrimPrefix(names[s.Parent().SpanID().String()], "client "))
			}
			slices.Sort(got)
			called := "cleave.rpi.echo.v1.EchoService/Look"
			if tt.name != "a call" {
				called = "echo/GET"
			}
			want := []string{"client in ", "client in " + called, "client in " + called, "server in " + called + " attempt", "server in " + called + " attempt"}
			if !slices.Equal(got, want) {
				t.Errorf("got spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
