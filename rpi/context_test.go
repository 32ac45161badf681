package rpi_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// eachBinding runs f with a front service that calls a back service, bound
// each way.
func eachBinding(t *testing.T, back func(context.Context), f func(t *testing.T, front echoapi.EchoServiceClient)) {
	t.Helper()
	for _, b := range bindings {
		t.Run(b.Name, func(t *testing.T) {
			behind := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
			echoapi.RegisterEchoServiceHandler(behind, &impl{echo: func(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
				back(ctx)
				return &echoapi.EchoResponse{Text: rpi.Required(ctx).String()}, nil
			}})
			backClient := echoapi.NewEchoServiceClient(connect.NewClient(b.Bind(t, behind, rpi.CallOptions{})))
			ahead := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
			echoapi.RegisterEchoServiceHandler(ahead, &impl{echo: func(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
				rpi.Committed(ctx, "front", "e1", 7)
				return backClient.Echo(ctx, r)
			}})
			f(t, echoapi.NewEchoServiceClient(connect.NewClient(b.Bind(t, ahead, rpi.CallOptions{}))))
		})
	}
}

func TestConsistencyTokensTravelAndGather(t *testing.T) {
	t.Parallel()
	eachBinding(t, func(ctx context.Context) { rpi.Committed(ctx, "back", "e1", 9) }, func(t *testing.T, front echoapi.EchoServiceClient) {
		ctx, c := rpi.WithConsistency(t.Context(), event.Token{}.With("menu", "e1", 3))
		res, err := front.Echo(ctx, &echoapi.EchoRequest{})
		if err != nil {
			t.Fatal(err)
		}
		atBack, err := event.ParseToken(res.Text)
		if err != nil {
			t.Fatal(err)
		}
		for source, want := range map[string]event.Position{"menu": 3, "front": 7, "back": 9} {
			if m, _ := atBack.Mark(source); m.Position != want {
				t.Errorf("the back was asked for %s at %d, want %d", source, m.Position, want)
			}
			if m, _ := c.Token().Mark(source); m.Position != want {
				t.Errorf("the caller holds %s at %d, want %d", source, m.Position, want)
			}
		}
		if m, ok := c.Caused().Mark("menu"); ok {
			t.Errorf("menu at %d was caused by nobody", m.Position)
		}
	})
}

func TestATokenThatDoesNotParseIsRefused(t *testing.T) {
	t.Parallel()
	server := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(server, &impl{echo: echoes})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil)))
	ctx, info := connect.NewClientContext(t.Context())
	info.RequestHeader().Set(rpi.ConsistencyHeader, "!!")
	_, err := client.Echo(ctx, &echoapi.EchoRequest{})
	if field, _ := rpi.FieldOf(err); connect.CodeOf(err) != connect.CodeInvalidArgument || field != rpi.ConsistencyHeader {
		t.Errorf("got %v", err)
	}
}

func TestTraceAndCorrelationReachTheEventsOfTheLastService(t *testing.T) {
	t.Parallel()
	id := trace.TraceID{1, 2, 3}
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled, Remote: true})
	metas := make(chan event.Meta, 2*len(bindings))
	eachBinding(t, func(ctx context.Context) { metas <- event.MetaFrom(ctx) }, func(t *testing.T, front echoapi.EchoServiceClient) {
		ctx := trace.ContextWithRemoteSpanContext(t.Context(), parent)
		ctx = event.WithMeta(ctx, event.Meta{Correlation: "saga-1"})
		if _, err := front.Echo(ctx, &echoapi.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
		m := <-metas
		if m.Correlation != "saga-1" || !strings.Contains(m.TraceParent, id.String()) {
			t.Errorf("got %+v", m)
		}
		// A worker handles a message: no span, but the message's own trace.
		ctx = event.WithMeta(t.Context(), event.Meta{TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
		if _, err := front.Echo(ctx, &echoapi.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
		if m := <-metas; !strings.Contains(m.TraceParent, "0af7651916cd43dd8448eb211c80319c") || m.Correlation != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("got %+v", m)
		}
	})
}
