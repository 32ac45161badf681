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

// metaServer has the events that a handler records carry correlation, trace
// and actor.
func (o ServerOptions) metaServer(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		correlation := ""
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			correlation = info.RequestHeader().Get(CorrelationHeader)
		}
		return next(WithRequestMeta(ctx, correlation), spec, stream)
	}
}

// WithRequestMeta returns a context in which events carry the correlation, the
// trace that ctx is in and who asks. An empty correlation becomes the trace's
// id, or a new one. Servers have done this for their handlers.
func WithRequestMeta(ctx context.Context, correlation string) context.Context {
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
	return event.WithMeta(ctx, m)
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
