package rpi

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/limit"
)

// CriticalityHeader carries how much it matters that a call is served:
// critical, default or sheddable.
const CriticalityHeader = "Cleave-Criticality"

type criticalityKey struct{}

// WithCriticality returns a context whose calls are of priority p, as are the
// calls that are made to serve them. A server at the edge must not believe what
// strangers say of themselves: remove CriticalityHeader there.
func WithCriticality(ctx context.Context, p limit.Priority) context.Context {
	return context.WithValue(ctx, criticalityKey{}, p)
}

// CriticalityOf returns the priority of the calls made with ctx, which is that
// of the call it serves unless WithCriticality has changed it.
func CriticalityOf(ctx context.Context) limit.Priority {
	p, _ := ctx.Value(criticalityKey{}).(limit.Priority)
	return p
}

func stampCriticality(ctx context.Context, h *connect.Header) {
	if p := CriticalityOf(ctx); p != limit.Default && !h.Has(CriticalityHeader) {
		h.Set(CriticalityHeader, p.String())
	}
}

// criticality has the calls that a handler makes be of its own priority.
func (o ServerOptions) criticality(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			if p, ok := limit.ParsePriority(field(info.RequestHeader(), CriticalityHeader)); ok && p != limit.Default {
				ctx = WithCriticality(ctx, p)
			}
		}
		return next(ctx, spec, stream)
	}
}

const (
	// ReasonOverloaded is the reason of a call that a server refused for want
	// of capacity. It has done nothing of it.
	ReasonOverloaded = "OVERLOADED"

	// ReasonThrottled is the reason of a call that was not sent because the
	// server refuses most of those it gets.
	ReasonThrottled = "THROTTLED"
)

// ShedOptions tune Shed. Nil means the defaults.
type ShedOptions struct {
	Exempt     func(connect.Spec) bool // what is never refused, besides health checks and reflection. Default: nothing
	RetryAfter time.Duration           // how long refused callers shall stay away, a quarter more or less by chance. Default: 1 s
}

// Shed returns an interceptor that refuses the calls that l has no room for,
// with resource_exhausted and a RetryInfo, before their body is read. It counts
// unary calls; a stream is refused like one but holds no slot, for how long it
// lasts says nothing of the load. Procedures that wait by design are best exempt.
func Shed(l *limit.Adaptive, o *ShedOptions) connect.ServerInterceptor {
	var opts ShedOptions
	if o != nil {
		opts = *o
	}
	if opts.RetryAfter <= 0 {
		opts.RetryAfter = time.Second
	}
	refused := refusals(opts.RetryAfter)
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if housekeeping(spec) || opts.Exempt != nil && opts.Exempt(spec) {
				return next(ctx, spec, stream)
			}
			slot, err := l.Acquire(ctx, spec.Procedure, CriticalityOf(ctx))
			if errors.Is(err, limit.ErrShed) {
				return refused[rand.IntN(len(refused))]
			}
			if err != nil {
				return contextError(err)
			}
			defer slot.Done(limit.Ignored) // after a panic
			if spec.StreamType != connect.StreamTypeUnary {
				slot.Done(limit.Ignored)
				return next(ctx, spec, stream)
			}
			err = next(ctx, spec, stream)
			switch {
			case err == nil:
				slot.Done(limit.Served)
			case errors.Is(ctx.Err(), context.DeadlineExceeded), connect.CodeOf(err) == connect.CodeDeadlineExceeded:
				slot.Done(limit.Overran)
			}
			return err
		}
	}
}

// housekeeping is what has to work when nothing else does.
func housekeeping(spec connect.Spec) bool {
	return strings.HasPrefix(spec.Procedure, "/grpc.health.") || strings.HasPrefix(spec.Procedure, "/grpc.reflection.")
}

// refusals returns the errors that calls are refused with. They are made once, their details
// as the wire has them: to refuse a call must cost less than to serve it.
func refusals(retryAfter time.Duration) (all [8]error) {
	for i := range all {
		spread := 0.75 + 0.5*float64(i)/float64(len(all)-1)
		e := connect.NewError(connect.CodeResourceExhausted, "the server is at its limit").WithCause(limit.ErrShed)
		for _, m := range []proto.Message{
			&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(float64(retryAfter) * spread).Round(time.Millisecond))},
			&errdetails.ErrorInfo{Reason: ReasonOverloaded},
		} {
			if d, err := connectproto.NewErrorDetail(m); err == nil { // these marshal
				d.Debug, _ = protojson.Marshal(m)
				e = e.WithDetail(d)
			}
		}
		all[i] = e
	}
	return all
}

// Throttle returns an interceptor for CallOptions that no longer sends most of
// what the other side would refuse with resource_exhausted. What is not sent is
// resource_exhausted, too.
func Throttle(t *limit.Throttle) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			p := CriticalityOf(ctx)
			if !t.Allow(p) {
				return nil, withInfo(connect.NewError(connect.CodeResourceExhausted, "the server refuses most calls, this one was not sent"), ReasonThrottled, nil)
			}
			end := func(err error) {
				if connect.CodeOf(err) != connect.CodeResourceExhausted {
					t.Accepted(p)
				}
			}
			stream, err := next(ctx, spec)
			if err != nil {
				end(err)
				return nil, err
			}
			return &watched{ClientStream: stream, unary: spec.StreamType == connect.StreamTypeUnary, onEnd: end}, nil
		}
	}
}

// ObserveLimit shows on m what l does for a service, until stop is called.
func ObserveLimit(m metric.Meter, service string, l *limit.Adaptive) (stop func()) {
	most, err1 := m.Int64ObservableGauge("rpc.server.limit", metric.WithDescription("Calls that are let in at a time."))
	inUse, err2 := m.Int64ObservableGauge("rpc.server.limit.used", metric.WithDescription("Calls under way of those."))
	shed, err3 := m.Int64ObservableCounter("rpc.server.shed", metric.WithDescription("Calls refused for want of room, by criticality."))
	if err1 != nil || err2 != nil || err3 != nil {
		return func() {}
	}
	of := attribute.String("rpc.service", service)
	shown, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := l.Stats()
		o.ObserveInt64(most, int64(s.Limit), metric.WithAttributes(of))
		o.ObserveInt64(inUse, int64(s.InUse), metric.WithAttributes(of))
		for p, n := range s.Shed {
			o.ObserveInt64(shed, int64(n), metric.WithAttributes(of, attribute.String("criticality", limit.Priority(p).String())))
		}
		return nil
	}, most, inUse, shed)
	if err != nil {
		return func() {}
	}
	return func() { _ = shown.Unregister() }
}
