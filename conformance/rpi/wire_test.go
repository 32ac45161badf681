package rpi_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

func TestSpansNameTheWireOnBothSides(t *testing.T) {
	for wire, meta := range map[string]map[string]string{
		connect.ProtocolNameGRPC: {discovery.MetaWire: discovery.WireGRPC}, connect.ProtocolNameConnect: nil,
	} {
		t.Run(wire, func(t *testing.T) {
			spans := tracetest.NewSpanRecorder()
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
			s := rpi.NewServer(&rpi.ServerOptions{Tracer: tracer, Logger: quiet})
			echoapi.RegisterEchoServiceHandler(s, here{})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			fast, server := grpcwire.NewServer(s, nil), &http.Server{Handler: rpi.Handler(s)}
			go server.Serve(fast.Beside(l)) // until Shutdown
			resolver := &discoverytest.Resolver{}
			resolver.Set("echo", discovery.Instance{Service: "echo", ID: "one", Addr: l.Addr().String(), Meta: meta})
			if _, err := remoteOf(t, resolver, &rpi.RemoteOptions{Call: rpi.CallOptions{Tracer: tracer}}).Look(t.Context(), &echoapi.EchoRequest{}); err != nil {
				t.Fatal(err)
			}
			if err := server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := fast.Shutdown(t.Context()); err != nil { // the server's span has ended
				t.Error(err)
			}
			var got []string
			for _, s := range spans.Ended() {
				for _, a := range s.Attributes() {
					if a.Key == "cleave.protocol" {
						got = append(got, a.Value.AsString())
					}
				}
			}
			if want := strings.Repeat(wire+" ", 3); strings.Join(got, " ")+" " != want {
				t.Errorf("the spans of call, try and server name %v, want %s", got, want)
			}
		})
	}
}
