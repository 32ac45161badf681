package rpi

import (
	"context"
	"strings"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// carrier lets a propagator read and write a connect.Header.
type carrier struct{ *connect.Header }

func (c carrier) Keys() []string {
	var keys []string
	for k := range c.All() {
		keys = append(keys, k)
	}
	return keys
}

func tracerOr(t trace.Tracer) trace.Tracer {
	if t == nil {
		return noop.Tracer{}
	}
	return t
}

// traceServer makes a span of each call served, within the caller's trace.
func (o ServerOptions) traceServer(next connect.ServerFunc) connect.ServerFunc {
	tracer := tracerOr(o.Tracer)
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			ctx = propagator.Extract(ctx, carrier{info.RequestHeader()})
		}
		ctx, span := tracer.Start(ctx, spanName(spec), trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(spanAttributes(spec, "")...))
		err := next(ctx, spec, stream)
		endSpan(span, err)
		return err
	}
}

func spanName(spec connect.Spec) string { return strings.TrimPrefix(spec.Procedure, "/") }

func spanAttributes(spec connect.Spec, binding string) []attribute.KeyValue {
	service, method, _ := strings.Cut(spanName(spec), "/")
	as := []attribute.KeyValue{
		attribute.String("rpc.system", "connect_rpc"),
		attribute.String("rpc.service", service),
		attribute.String("rpc.method", method),
	}
	if binding != "" {
		as = append(as, attribute.String("cleave.binding", binding))
	}
	return as
}

func endSpan(span trace.Span, err error) {
	if err != nil {
		code := connect.CodeOf(err).String()
		span.SetAttributes(attribute.String("rpc.connect_rpc.error_code", code))
		span.SetStatus(codes.Error, code)
	}
	span.End()
}
