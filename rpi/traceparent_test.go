package rpi_test

import (
	"context"
	"log/slog"
	"testing"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

const (
	sampledTrace   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampledTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// countingTracer is a tracer that counts the spans it is asked for.
type countingTracer struct {
	trace.Tracer
	spans *int
}

func (c countingTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	*c.spans++
	return c.Tracer.Start(ctx, name, o...)
}

// seen is what a handler knows of its trace.
type seen struct {
	header, meta, correlation string
	span                      trace.SpanContext
}

// called calls a handler within ctx and returns what it has seen and how many
// spans were made for it, by the client and by the server.
func called(ctx context.Context, t *testing.T, wrap func(trace.Tracer) trace.Tracer) (s seen, client, server int) {
	t.Helper()
	tracer := func(n *int) trace.Tracer { return wrap(countingTracer{noop.Tracer{}, n}) }
	to := rpi.NewServer(&rpi.ServerOptions{Tracer: tracer(&server), Logger: slog.New(slog.DiscardHandler)})
	echoapi.RegisterEchoServiceHandler(to, &impl{echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		info, _ := connect.CallInfoForServerContext(ctx)
		m := event.MetaFrom(ctx)
		s = seen{info.RequestHeader().Get("traceparent"), m.TraceParent, m.Correlation, trace.SpanContextFromContext(ctx)}
		return nil, nil
	}})
	c := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(to, &rpi.LocalOptions{Call: rpi.CallOptions{Tracer: tracer(&client)}})))
	if _, err := c.Echo(ctx, &echoapi.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	return s, client, server
}

func as(t trace.Tracer) trace.Tracer { return t }

func within(traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
}

func TestATraceThatIsNotSampledMakesNoSpansAndGoesOn(t *testing.T) {
	t.Parallel()
	s, client, server := called(within(unsampledTrace), t, as)
	if client+server != 0 {
		t.Errorf("%d and %d spans were made", client, server)
	}
	if s.header != unsampledTrace || s.meta != unsampledTrace || s.correlation != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the handler sees %+v", s)
	}
	if s.span.TraceID().String() != s.correlation || !s.span.IsRemote() {
		t.Errorf("logs would tell of %+v", s.span)
	}
}

func TestASampledTraceMakesASpanOnEachSide(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(trace.Tracer) trace.Tracer{"plain": as, "no share": func(t trace.Tracer) trace.Tracer { return rpi.Sampled(t, 0) }} {
		if s, client, server := called(within(sampledTrace), t, wrap); client != 1 || server != 1 || s.header != sampledTrace {
			t.Errorf("%s: %d and %d spans were made; the handler sees %+v", name, client, server, s)
		}
	}
}

func TestATraceThatBeginsHereIsSampledByItsShare(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]int{0: 0, 1: 1} {
		s, client, _ := called(t.Context(), t, func(t trace.Tracer) trace.Tracer { return rpi.Sampled(t, share) })
		if client != want {
			t.Errorf("share %v: %d spans were made", share, client)
		}
		if share == 0 && (!s.span.IsValid() || s.span.IsSampled() || s.correlation != s.span.TraceID().String() || s.header == "") {
			t.Errorf("the handler sees %+v, which is no trace", s)
		}
	}
	n := 0
	some := rpi.Sampled(countingTracer{noop.Tracer{}, &n}, 0.1)
	for range 10_000 {
		some.Start(context.Background(), "x")
	}
	if n < 800 || n > 1200 {
		t.Errorf("%d of 10000 were sampled", n)
	}
}

func TestASampledTracerStartsNoSpanInATraceThatIsNotSampled(t *testing.T) {
	t.Parallel()
	n := 0
	all := rpi.Sampled(countingTracer{noop.Tracer{}, &n}, 1)
	ctx, span := all.Start(within(unsampledTrace), "x")
	span.End()
	if got := trace.SpanContextFromContext(ctx); n != 0 || span.IsRecording() || got.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("%d spans, in %+v", n, got)
	}
	if all.Start(within(unsampledTrace), "x", trace.WithNewRoot()); n != 1 {
		t.Errorf("%d spans for a new root", n)
	}
}

func TestTracesAreReadAsThePropagatorReadsThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		sampledTrace, unsampledTrace, "",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
		"00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
		"00-0af7651916cd43dd8448eb211c8031xx-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033xx-01",
	} {
		for _, state := range []string{"", "a=1,b=2"} {
			want := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": text, "tracestate": state}))
			var got seen
			server := rpi.NewServer(nil)
			echoapi.RegisterEchoServiceHandler(server, &impl{echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
				got.span = trace.SpanContextFromContext(ctx)
				return nil, nil
			}})
			ctx, info := connect.NewClientContext(t.Context())
			for k, v := range map[string]string{"traceparent": text, "tracestate": state} {
				if v != "" {
					info.RequestHeader().Set(k, v)
				}
			}
			if _, err := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil))).Echo(ctx, &echoapi.EchoRequest{}); err != nil {
				t.Fatal(err)
			}
			if !got.span.Equal(want) {
				t.Errorf("%q, %q: got %+v, want %+v", text, state, got.span, want)
			}
		}
	}
}
