package rpi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/auth"
)

// ServerOptions tune NewServer. Nil means the defaults.
type ServerOptions struct {
	Errors      *ErrorSet      // domain errors that callers may see. Default: none
	Verifier    *auth.Verifier // of callers' tokens. Default: none is read, every caller is anonymous
	Logger      *slog.Logger   // Default: slog.Default()
	Tracer      trace.Tracer   // Default: none
	Meter       metric.Meter   // Default: none
	MaxDeadline time.Duration  // longest a unary call may take, whatever its caller allows. Default: 30 s

	// Interceptors run before a call's token and body are read, the first
	// outermost, such as Shed. Default: none
	Interceptors []connect.ServerInterceptor
}

// NewServer returns a server whose every method runs behind the chain that the
// package comment promises. Register generated handlers with it, then bind it
// with Handler or Local.
func NewServer(o *ServerOptions) *connect.Server {
	var opts ServerOptions
	if o != nil {
		opts = *o
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.MaxDeadline <= 0 {
		opts.MaxDeadline = 30 * time.Second
	}
	chain := []connect.ServerInterceptor{opts.traceServer, opts.observe, opts.recover, opts.attempt, opts.criticality}
	chain = append(chain, opts.Interceptors...)
	return connect.NewServer(append(chain, opts.identify, opts.request, opts.clamp, opts.mapErrors)...)
}

// Handler serves s over HTTP: Connect, gRPC and gRPC-Web, binary and JSON.
// Options count over what is set here, such as the size of messages.
func Handler(s *connect.Server, options ...connecthttp.Option) http.Handler {
	mux := http.NewServeMux()
	Mount(mux, s, options...)
	return mux
}

// Mount adds what Handler serves to mux.
func Mount(mux connecthttp.ServeMux, s *connect.Server, options ...connecthttp.Option) {
	connecthttp.Mount(mux, s, wireOptions(options)...)
}

// wireOptions are what both ends of the wire are set to before options.
func wireOptions(options []connecthttp.Option) []connecthttp.Option {
	set := []connecthttp.Option{connecthttp.WithReadMaxBytes(MaxMessage), connecthttp.WithCompressMinBytes(compressFrom)}
	return append(set, options...)
}

// compressFrom is the size in bytes from which messages are compressed.
const compressFrom = 1 << 10

// recover turns a panic into code internal without text. Over HTTP/1.1 it
// would look like a broken connection, which invites a retry.
func (o ServerOptions) recover(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
		defer func() {
			if p := recover(); p != nil {
				o.Logger.ErrorContext(ctx, "handler panicked", "procedure", spec.Procedure, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = connect.NewError(connect.CodeInternal, "")
			}
		}()
		return next(ctx, spec, stream)
	}
}

// observe measures each call and logs what is the server's fault.
func (o ServerOptions) observe(next connect.ServerFunc) connect.ServerFunc {
	watch := newStopwatch(o.Meter, "rpc.server.duration", "How long calls took to serve.")
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		begin := time.Now()
		err := next(ctx, spec, stream)
		watch.end(ctx, begin, spec, err)
		level, code := slog.LevelDebug, codeText(err)
		switch code {
		case "internal", "unknown", "data_loss":
			level = slog.LevelError
		}
		if o.Logger.Enabled(ctx, level) {
			o.Logger.LogAttrs(ctx, level, "call served", slog.String("procedure", spec.Procedure),
				slog.String("code", code), slog.Duration("took", time.Since(begin)), slog.Any("error", causeOf(err)))
		}
		return err
	}
}

// clamp keeps unary calls within the longest deadline and refuses those that
// arrive too late.
func (o ServerOptions) clamp(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if err := ctx.Err(); err != nil {
			return contextError(err)
		}
		if spec.StreamType != connect.StreamTypeUnary {
			return next(ctx, spec, stream)
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= o.MaxDeadline {
			return next(ctx, spec, stream)
		}
		ctx, cancel := context.WithTimeout(ctx, o.MaxDeadline)
		defer cancel()
		return next(ctx, spec, stream)
	}
}

func (o ServerOptions) mapErrors(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		err := next(ctx, spec, stream)
		if err == nil {
			return nil
		}
		return builtin.toWire(o.Errors.toWire(err))
	}
}

// causeOf returns what to log of err: the local cause, if there is one.
func causeOf(err error) error {
	if err == nil {
		return nil
	}
	if u, ok := err.(interface{ Unwrap() error }); ok && u.Unwrap() != nil {
		return fmt.Errorf("%w (%w)", err, u.Unwrap())
	}
	return err
}
