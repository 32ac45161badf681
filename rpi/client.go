package rpi

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/metric"
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

	// Interceptors run within each call's span and deadline, the first
	// outermost, before it is bound. Default: none
	Interceptors []connect.ClientInterceptor
}

const defaultTimeout = 10 * time.Second

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
	spans := newSpans(o.Tracer, trace.SpanKindClient, binding)
	watch := newStopwatch(o.Meter, "rpc.client.duration", "How long calls took, tries and waits included.")
	return func(next connect.ClientFunc) connect.ClientFunc {
		next = chained(next, o.Interceptors...).open
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			c := &clientCall{errors: o.Errors, watch: watch, begin: watch.begin(), spec: spec, consistency: consistencyOf(ctx)}
			c.info, _ = connect.CallInfoForClientContext(ctx)
			ctx, c.span = spans.start(traceOfMeta(ctx), spec)
			stamp(ctx, c.info.RequestHeader(), c.consistency)
			c.ctx, c.cancel = o.withDeadline(ctx, spec)
			stream, err := next(c.ctx, spec)
			if err != nil {
				return nil, c.see(err)
			}
			c.ClientStream = stream
			return c, nil
		}
	}
}

// clientCall is one call under way.
type clientCall struct {
	connect.ClientStream
	ctx         context.Context
	cancel      context.CancelFunc // nil: the deadline is the caller's
	spec        connect.Spec
	info        *connect.CallInfo
	errors      *ErrorSet
	consistency *Consistency
	span        trace.Span // nil: none
	watch       *stopwatch
	begin       time.Time
	ended       atomic.Bool
}

// end takes note of how the call ended, once: with an error, at the end of the
// stream, or when it is closed.
func (c *clientCall) end(err error) {
	if !c.ended.CompareAndSwap(false, true) {
		return
	}
	if c.cancel != nil {
		c.cancel()
	}
	c.consistency.gather(c.info.ResponseHeader())
	if err != nil && c.spec.StreamType == connect.StreamTypeUnary && pushedBack(c.info) < 0 { // word from further down goes on up
		giveUp(c.ctx)
	}
	c.watch.end(c.ctx, c.begin, c.spec, err)
	noteProtocol(c.span, c.info)
	endSpan(c.span, err)
}

// see returns err as the caller is to see it.
func (c *clientCall) see(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	err = builtin.fromWire(c.errors.fromWire(err))
	c.end(err)
	return err
}

func (c *clientCall) Send(msg any) error { return c.see(c.ClientStream.Send(msg)) }

func (c *clientCall) Receive(msg any) error {
	err := c.ClientStream.Receive(msg)
	if err == nil && c.spec.StreamType != connect.StreamTypeUnary {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		c.end(nil)
	}
	return c.see(err)
}

func (c *clientCall) Close() error {
	err := c.ClientStream.Close()
	c.end(nil)
	return err
}

// stamp writes what travels with a call.
func stamp(ctx context.Context, h *connect.Header, c *Consistency) {
	injectTrace(ctx, h)
	if repeated(ctx) && !h.Has(attemptHeader) {
		h.Set(attemptHeader, "2")
	}
	if raw := auth.Raw(ctx); raw != "" && !h.Has("Authorization") {
		h.Set("Authorization", "Bearer "+raw)
	}
	if m := event.MetaFrom(ctx); m.Correlation != "" && !h.Has(CorrelationHeader) {
		h.Set(CorrelationHeader, m.Correlation)
	}
	stampCriticality(ctx, h)
	c.ask(h)
}

// withDeadline gives a unary call without a deadline one. cancel is nil if it
// has its own.
func (o CallOptions) withDeadline(ctx context.Context, spec connect.Spec) (_ context.Context, cancel context.CancelFunc) {
	timeout := o.timeout()
	if _, ok := ctx.Deadline(); ok || timeout == 0 || spec.StreamType != connect.StreamTypeUnary {
		return ctx, nil
	}
	return context.WithTimeout(ctx, timeout)
}

// timeout is that of a unary call without a deadline, 0 if it has none.
func (o CallOptions) timeout() time.Duration {
	if o.Timeout == 0 {
		return defaultTimeout
	}
	return max(o.Timeout, 0)
}
