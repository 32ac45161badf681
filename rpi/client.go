package rpi

import (
	"context"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// CallOptions tune the caller's side of either binding. The zero value means
// the defaults.
type CallOptions struct {
	Errors  *ErrorSet     // what errors.Is finds in remote errors. Default: none
	Timeout time.Duration // of a unary call without a deadline. Default: 10 s
	Tracer  trace.Tracer  // Default: none; an incoming trace is carried on all the same
}

const defaultTimeout = 10 * time.Second

// propagator carries traces in the W3C headers.
var propagator = propagation.TraceContext{}

// interceptors are the part of the client's chain that both bindings share.
func (o CallOptions) interceptors(binding string) []connect.ClientInterceptor {
	return []connect.ClientInterceptor{o.trace(binding), o.forward, o.meta, o.consistency, o.deadline, o.rehydrate}
}

// deadline gives a unary call without one a deadline.
func (o CallOptions) deadline(next connect.ClientFunc) connect.ClientFunc {
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		if _, ok := ctx.Deadline(); ok || spec.StreamType != connect.StreamTypeUnary {
			return next(ctx, spec)
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		stream, err := next(ctx, spec)
		if err != nil {
			cancel()
			return nil, err
		}
		return &watched{ClientStream: stream, unary: true, onEnd: func(error) { cancel() }}, nil
	}
}

// rehydrate makes declared errors recognizable by errors.Is.
func (o CallOptions) rehydrate(next connect.ClientFunc) connect.ClientFunc {
	known := func(err error) error { return builtin.fromWire(o.Errors.fromWire(err)) }
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		stream, err := next(ctx, spec)
		if err != nil {
			return nil, known(err)
		}
		return &watched{ClientStream: stream, mapErr: known}, nil
	}
}

// Wire puts the caller's side of the chain before any transport, such as one
// of connecthttp to a fixed address.
func Wire(t connect.Transport, o CallOptions) connect.Transport {
	return chained(t.NewClientStream, append(o.interceptors("wire"), repair)...)
}
