package rpi

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// Sampled returns a tracer that records the given share, from 0 to 1, of the
// traces that begin with it, and a trace that began elsewhere if it is recorded
// there. Clients and servers decide so before they make anything of a span;
// the others get ids all the same, for logs and for the services they call.
//
// t is to record every trace that it is given: the shares of two multiply.
func Sampled(t trace.Tracer, share float64) trace.Tracer { return &sampled{t, share} }

type sampled struct {
	trace.Tracer
	share float64
}

func (s *sampled) begins() bool { return rand.Float64() < s.share }

// Start is for those who do not ask begins first.
func (s *sampled) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	config := trace.NewSpanStartConfig(options...)
	parent := trace.SpanContextFromContext(ctx)
	if config.NewRoot() {
		parent = trace.SpanContext{}
		ctx = trace.ContextWithSpanContext(ctx, parent)
	}
	if parent.IsSampled() || !parent.IsValid() && s.begins() {
		return s.Tracer.Start(ctx, name, options...)
	}
	if parent.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, parent)
	} else {
		ctx = withNewTrace(ctx)
	}
	return ctx, trace.SpanFromContext(ctx) // it has ids and records nothing
}

// withNewTrace returns ctx in a new trace that is not sampled.
func withNewTrace(ctx context.Context) context.Context {
	var config trace.SpanContextConfig
	binary.NativeEndian.PutUint64(config.TraceID[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(config.TraceID[8:], rand.Uint64()|1) // ids are not zero
	binary.NativeEndian.PutUint64(config.SpanID[:], rand.Uint64()|1)
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(config))
}
