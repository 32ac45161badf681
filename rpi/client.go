package rpi

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/event"
)

// CallOptions tune the caller's side of either binding. The zero value means
// the defaults.
type CallOptions struct {
	Errors  *ErrorSet     // what errors.Is finds in remote errors. Default: those of auth
	Timeout time.Duration // of a unary call without a deadline. Default: 10 s; negative: none
	Tracer  trace.Tracer  // Default: none; an incoming trace is carried on all the same
	Meter   metric.Meter  // Default: none
}

const defaultTimeout = 10 * time.Second

// propagator carries traces in the W3C headers.
var propagator = propagation.TraceContext{}

// Wire puts the caller's side of the chain before any transport, such as one
// of connecthttp to a fixed address.
func Wire(t connect.Transport, o CallOptions) connect.Transport {
	return chained(t.NewClientStream, o.interceptor("wire"), repair)
}

// interceptor is the part of the client's chain that all bindings share: each
// call is a span and a measurement, has a deadline, takes token, correlation,
// trace and what its answer must include along, and brings back what it has
// caused and errors that errors.Is recognizes.
func (o CallOptions) interceptor(binding string) connect.ClientInterceptor {
	tracer := tracerOr(o.Tracer)
	duration := histogram(o.Meter, "rpc.client.duration", "How long calls took, tries and waits included.")
	known := func(err error) error { return builtin.fromWire(o.Errors.fromWire(err)) }
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			begin := time.Now()
			ctx, span := tracer.Start(traceOfMeta(ctx), spanName(spec), trace.WithSpanKind(trace.SpanKindClient),
				trace.WithAttributes(spanAttributes(spec, binding)...))
			info, _ := connect.CallInfoForClientContext(ctx)
			consistency := consistencyOf(ctx)
			stamp(ctx, info.RequestHeader(), consistency)
			ctx, cancel := o.withDeadline(ctx, spec)
			end := func(err error) {
				cancel()
				consistency.gather(info.ResponseHeader())
				duration.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributes(
					attribute.String("rpc.method", spanName(spec)), attribute.String("rpc.code", codeText(err))))
				endSpan(span, err)
			}
			stream, err := next(ctx, spec)
			if err != nil {
				end(err)
				return nil, known(err)
			}
			return &watched{ClientStream: stream, unary: spec.StreamType == connect.StreamTypeUnary, mapErr: known, onEnd: end}, nil
		}
	}
}

// stamp writes what travels with a call.
func stamp(ctx context.Context, h *connect.Header, c *Consistency) {
	propagator.Inject(ctx, carrier{h})
	if raw := auth.Raw(ctx); raw != "" && !h.Has("Authorization") {
		h.Set("Authorization", "Bearer "+raw)
	}
	if m := event.MetaFrom(ctx); m.Correlation != "" && !h.Has(CorrelationHeader) {
		h.Set(CorrelationHeader, m.Correlation)
	}
	c.ask(h)
}

// withDeadline gives a unary call without a deadline one.
func (o CallOptions) withDeadline(ctx context.Context, spec connect.Spec) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || o.Timeout < 0 || spec.StreamType != connect.StreamTypeUnary {
		return ctx, func() {}
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}

func histogram(m metric.Meter, name, description string) metric.Float64Histogram {
	if m == nil {
		m = metricnoop.Meter{}
	}
	h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description))
	if err != nil {
		h, _ = metricnoop.Meter{}.Float64Histogram(name)
	}
	return h
}

// codeText names how a call ended.
func codeText(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[*connect.Error](err); ok && e != nil {
		return e.Code().String()
	}
	return codeOf(err).String()
}
