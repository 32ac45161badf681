package rpi

import (
	"context"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/event"
)

// CorrelationHeader carries the name of the request or saga that a call
// belongs to; the events it records carry it on.
const CorrelationHeader = "Cleave-Correlation"

// maxCorrelation bounds what is taken from a header into events.
const maxCorrelation = 128

// field returns what h says of key. Many calls in the same process have no
// header at all, and connect takes its time to bring each key into form.
func field(h *connect.Header, key string) string {
	if h.Len() == 0 {
		return ""
	}
	return h.Get(key)
}

// withRequestMeta returns a context in which events carry correlation and trace
// of the request that ctx serves, and who asks. An empty correlation becomes the
// trace's id, or a new one. All this is made when something is recorded, which
// handlers that only read never do.
func withRequestMeta(ctx context.Context, correlation string) context.Context {
	return event.WithMetaFunc(ctx, func() event.Meta {
		m := event.MetaFrom(ctx)
		if span := trace.SpanContextFromContext(ctx); span.IsValid() {
			m.TraceParent = traceparent(span)
		}
		m.Correlation = correlation
		switch {
		case correlation != "" && len(correlation) <= maxCorrelation:
		case m.TraceParent != "":
			m.Correlation = m.TraceParent[traceAt : spanAt-1]
		default:
			m.Correlation = event.NewID().String()
		}
		return m
	})
}

// traceOfMeta continues the trace of the message that ctx works on, unless ctx
// is in a trace already.
func traceOfMeta(ctx context.Context) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	if tp := event.MetaFrom(ctx).TraceParent; tp != "" {
		return propagator.Extract(ctx, propagation.MapCarrier{"traceparent": tp})
	}
	return ctx
}
