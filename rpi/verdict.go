package rpi

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// ReasonBreakerOpen is the reason of a call that was refused because the
// service it goes to is down. It has reached nobody.
const ReasonBreakerOpen = "BREAKER_OPEN"

// Classify says what a call's end tells a breaker. That the service cannot be
// reached or does not answer in time is a failure; an answer is none, whatever
// it says: one caller's bad requests must not cut off the others.
func Classify(ctx context.Context, err error) breaker.Outcome {
	if err == nil {
		return breaker.Success
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return breaker.Ignored
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded:
		return breaker.Failure
	case connect.CodeCanceled:
		return breaker.Ignored
	}
	return breaker.Success
}

// newBreaker returns the breaker of one service. It judges early: a caller
// that asks five times in ten seconds should not wait for a dead service the
// twentieth time.
func newBreaker(service string, onEvent func(breaker.Event)) *breaker.Breaker {
	b, err := breaker.New(service, &breaker.Options{
		MinCalls: 5, Probes: 2, Classify: Classify, OnEvent: onEvent,
		OpenFor: func(opening int) time.Duration { // 1 s to 16 s, and callers do not come back in step
			return time.Duration((0.8 + 0.4*rand.Float64()) * float64(time.Second<<min(opening-1, 4)))
		},
	})
	if err != nil {
		panic(err) // constants are out of range
	}
	return b
}

// refused is what a caller sees of an open breaker.
func refused(service string, err error) error {
	e := connect.NewError(connect.CodeUnavailable, service+": "+err.Error()).WithCause(err)
	if open, ok := errors.AsType[*breaker.OpenError](err); ok && open.RetryAfter() > 0 {
		e = withDetail(e, &errdetails.RetryInfo{RetryDelay: durationpb.New(open.RetryAfter())})
	}
	return withInfo(e, ReasonBreakerOpen, nil)
}

// unsent reports whether err proves that no server has begun to serve the
// request: there was none, the connection was never made, nothing was written
// to it, or the server has said so.
func unsent(err error) bool {
	if errors.Is(err, discovery.ErrNoInstance) {
		return true
	}
	if _, ok := errors.AsType[*unsentError](err); ok || errors.Is(err, grpcwire.ErrUnprocessed) {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err) // of a caller's own carrier
	return ok && op.Op == "dial"
}

// broken returns err as unavailable if it is a connection that broke or was
// not made in time. connect calls that canceled or deadline_exceeded, which
// say that the caller gave up or has no time left.
func broken(ctx context.Context, spec connect.Spec, err error) error {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e.IsRemote() || ctx.Err() != nil {
		return err
	}
	_, lost := errors.AsType[*lostError](err)
	switch {
	case lost, errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		// Dialing took too long, or net/http has closed the connection for a
		// call that had it before and ran out of time just then.
	case errors.Is(err, context.Canceled) && spec.StreamType == connect.StreamTypeUnary:
		// The same for a call that was given up. A stream ends like this when
		// its caller closes it.
	default:
		return err
	}
	return connect.NewError(connect.CodeUnavailable, e.Message()).WithCause(e.Unwrap())
}

// repair maps what a connection's errors are called beneath, and takes back a
// request that could not be sent whole: closing its stream would end it well,
// and a server would work on an empty one.
func repair(next connect.ClientFunc) connect.ClientFunc {
	return func(outer context.Context, spec connect.Spec) (connect.ClientStream, error) {
		ctx, cancel := context.WithCancel(outer)
		stream, err := next(ctx, spec)
		if err != nil {
			cancel()
			return nil, broken(outer, spec, err)
		}
		return &repaired{stream, outer, cancel, spec}, nil
	}
}

// repaired is a stream whose errors say what became of the call, and which
// ends with the first.
type repaired struct {
	connect.ClientStream
	outer  context.Context
	cancel context.CancelFunc
	spec   connect.Spec
}

func (r *repaired) see(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	r.cancel()
	return broken(r.outer, r.spec, err)
}

func (r *repaired) Send(msg any) error { return r.see(r.ClientStream.Send(msg)) }

func (r *repaired) Receive(msg any) error {
	err := r.ClientStream.Receive(msg)
	if err == nil && r.spec.StreamType == connect.StreamTypeUnary || errors.Is(err, io.EOF) {
		r.cancel()
	}
	return r.see(err)
}

func (r *repaired) Close() error {
	defer r.cancel()
	return r.ClientStream.Close()
}

// unwell returns err if it says that the instance is not well, nil if it is an
// answer.
func unwell(err error) error {
	if err == nil {
		return nil
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return err
	}
	return nil
}
