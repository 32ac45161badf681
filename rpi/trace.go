package rpi

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// spans makes the spans of calls. Nil makes none.
//
// Whether a call has one is decided before anything is made for it: a trace
// that is not sampled where it began gets no spans here, only its ids go on.
type spans struct {
	tracer  trace.Tracer
	head    *sampled // nil: the tracer decides on traces that begin here
	kind    trace.SpanKind
	binding string
	options sync.Map // of procedure: []trace.SpanStartOption
	size    atomic.Int64
}

func newSpans(t trace.Tracer, kind trace.SpanKind, binding string) *spans {
	if t == nil {
		return nil
	}
	s := &spans{tracer: t, kind: kind, binding: binding}
	if head, ok := t.(*sampled); ok {
		s.head, s.tracer = head, head.Tracer
	}
	return s
}

// start returns the context of a call and its span, nil if it has none.
func (s *spans) start(ctx context.Context, spec connect.Spec) (context.Context, trace.Span) {
	if s == nil {
		return ctx, nil
	}
	parent := trace.SpanContextFromContext(ctx)
	switch {
	case parent.IsSampled():
	case parent.IsValid():
		return ctx, nil
	case s.head != nil && !s.head.begins():
		return withNewTrace(ctx), nil
	}
	return s.tracer.Start(ctx, methodName(spec.Procedure), s.of(spec.Procedure)...)
}

// attempt returns ctx in the span of a try that sends a request to addr, and that
// span, nil if the call has none either.
func (t *RemoteTransport) attempt(ctx context.Context, spec connect.Spec, addr string, n int) (context.Context, trace.Span) {
	if t.tracer == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	return t.tracer.Start(ctx, methodName(spec.Procedure)+" attempt", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("server.address", addr), attribute.Int("cleave.attempt", n)))
}

// mostMethods bounds what spans keeps.
const mostMethods = 1_000

func (s *spans) of(procedure string) []trace.SpanStartOption {
	if known, ok := s.options.Load(procedure); ok {
		return known.([]trace.SpanStartOption)
	}
	service, method, _ := strings.Cut(methodName(procedure), "/")
	as := []attribute.KeyValue{
		attribute.String("rpc.system", "connect_rpc"),
		attribute.String("rpc.service", service),
		attribute.String("rpc.method", method),
	}
	if s.binding != "" {
		as = append(as, attribute.String("cleave.binding", s.binding))
	}
	made := []trace.SpanStartOption{trace.WithSpanKind(s.kind), trace.WithAttributes(as...)}
	if s.size.Add(1) <= mostMethods {
		s.options.Store(procedure, made)
	}
	return made
}

func methodName(procedure string) string { return strings.TrimPrefix(procedure, "/") }

func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil && span.IsRecording() {
		code := connect.CodeOf(err).String()
		span.SetAttributes(attribute.String("rpc.connect_rpc.error_code", code))
		span.SetStatus(codes.Error, code)
	}
	span.End()
}

// noteProtocol says by what a call went, such as connect or grpc.
func noteProtocol(span trace.Span, info *connect.CallInfo) {
	if span != nil && info != nil && info.Protocol != "" && span.IsRecording() {
		span.SetAttributes(attribute.String("cleave.protocol", info.Protocol))
	}
}

// traceServer makes a span of each call served, within the caller's trace.
func (o ServerOptions) traceServer(next connect.ServerFunc) connect.ServerFunc {
	spans := newSpans(o.Tracer, trace.SpanKindServer, "")
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		if ok {
			ctx = extractTrace(ctx, info.RequestHeader())
		}
		ctx, span := spans.start(ctx, spec)
		noteProtocol(span, info)
		err := next(ctx, spec, stream)
		endSpan(span, err)
		return err
	}
}
