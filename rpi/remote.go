package rpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/retry"
)

// RemoteOptions tune Remote. Nil means the defaults.
type RemoteOptions struct {
	Call     CallOptions
	Attempts int                        // most tries of one call. Default: 3
	Balancer *discovery.BalancerOptions // Default: its own
	Breaker  *breaker.Breaker           // Default: one that opens when half of at least 5 calls in 10 s fail
	Conns    ConnOptions                // to each instance
	HTTP     http.RoundTripper          // carries the requests instead. Default: connections of its own
	Caller   string                     // who calls, to tell the measurements of several apart. Default: ""
	Wire     []connecthttp.Option       // such as connecthttp.WithGRPC, for what is not Connect. Default: Connect, binary
	Logger   *slog.Logger               // Default: slog.Default()
}

// RemoteTransport is a transport to the instances of a service, wherever they
// run.
type RemoteTransport struct {
	service  string
	resolver discovery.Resolver
	attempts int
	breaker  *breaker.Breaker
	budget   retry.Budget
	balancer *discovery.Balancer
	conns    ConnOptions
	http     http.RoundTripper // nil: pools for each instance
	wire     []connecthttp.Option
	logger   *slog.Logger
	caller   string
	meter    metric.Meter // nil: none
	chain    chain

	known     chan struct{} // closed when the first snapshot is here
	knownOnce sync.Once

	mu        sync.Mutex
	endpoints map[string]endpoint // by address
}

// endpoint is one instance's transport and the connections to it.
type endpoint struct {
	connect.Transport
	pool *pool // nil: the caller's
}

func (e endpoint) close() {
	if e.pool != nil {
		e.pool.close()
	}
}

// Remote returns a transport to the instances of service that r names. It
// knows them while its Run runs.
func Remote(service string, r discovery.Resolver, o *RemoteOptions) *RemoteTransport {
	var opts RemoteOptions
	if o != nil {
		opts = *o
	}
	if opts.Attempts <= 0 {
		opts.Attempts = 3
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	t := &RemoteTransport{
		service: service, resolver: r, attempts: opts.Attempts, logger: opts.Logger,
		balancer: discovery.NewBalancer(opts.Balancer), known: make(chan struct{}), endpoints: map[string]endpoint{},
		conns: opts.Conns, http: opts.HTTP, wire: wireOptions(opts.Wire), caller: opts.Caller, meter: opts.Call.Meter,
	}
	if t.breaker = opts.Breaker; t.breaker == nil {
		t.breaker = newBreaker(service, func(e breaker.Event) {
			t.logger.Warn("breaker changed", "service", e.Breaker, "from", e.From.String(), "to", e.To.String(), "reason", string(e.Reason))
		})
	}
	t.chain = chained(t.open, opts.Call.interceptor("remote"))
	return t
}

// Run follows the resolver until ctx ends.
func (t *RemoteTransport) Run(ctx context.Context) error {
	defer t.observe()()
	for snapshot, err := range t.resolver.Watch(ctx, t.service) {
		if err != nil {
			t.logger.DebugContext(ctx, "news of instances may be missing", "service", t.service, "error", err)
			continue
		}
		t.balancer.Update(snapshot)
		t.forget(snapshot)
		t.knownOnce.Do(func() { close(t.known) })
	}
	t.forget(discovery.Snapshot{})
	return nil
}

// forget lets go of the connections to addresses that are gone: an instance
// that stops need not wait for them.
func (t *RemoteTransport) forget(s discovery.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for addr, e := range t.endpoints {
		gone := true
		for _, in := range s.Instances {
			gone = gone && in.Addr != addr
		}
		if gone {
			delete(t.endpoints, addr)
			e.close()
		}
	}
}

// NewClientStream opens a call to one of the instances.
func (t *RemoteTransport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	return t.chain.NewClientStream(ctx, spec)
}

func (t *RemoteTransport) open(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	if spec.StreamType == connect.StreamTypeUnary {
		return &unaryCall{t: t, ctx: ctx, spec: spec}, nil
	}
	permit, err := t.breaker.Allow()
	if err != nil {
		return nil, refused(t.service, err)
	}
	picked, err := t.pick(ctx)
	if err != nil {
		permit.Done(ctx, err)
		return nil, err
	}
	begin := time.Now()
	end := func(err error) { picked.Done(unwell(err)); permit.Done(ctx, err) }
	stream, err := t.endpoint(picked.Instance.Addr).NewClientStream(ctx, spec)
	if err != nil {
		end(err)
		return nil, err
	}
	// What a stream says of its service is whether it opens, not how long it lasts.
	return &watched{ClientStream: stream, onFirst: func() { picked.Answered(time.Since(begin), nil); permit.Done(ctx, nil) }, onEnd: end}, nil
}

// Breaker returns the breaker that guards the service.
func (t *RemoteTransport) Breaker() *breaker.Breaker { return t.breaker }

// Balancer returns what chooses among the instances.
func (t *RemoteTransport) Balancer() *discovery.Balancer { return t.balancer }

// pick chooses an instance that was not tried yet, or any if all were.
func (t *RemoteTransport) pick(ctx context.Context, tried ...string) (*discovery.Picked, error) {
	select {
	case <-t.known:
	default:
		select {
		case <-t.known:
		case <-ctx.Done():
			return nil, contextError(ctx.Err())
		}
	}
	picked, err := t.balancer.Pick(tried...)
	if err != nil && len(tried) > 0 {
		picked, err = t.balancer.Pick()
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, fmt.Sprintf("%s: %v", t.service, err)).WithCause(err)
	}
	return picked, nil
}

func (t *RemoteTransport) endpoint(addr string) endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.endpoints[addr]
	if !ok {
		e = t.newEndpoint(addr)
		t.endpoints[addr] = e
	}
	return e
}

func (t *RemoteTransport) newEndpoint(addr string) (e endpoint) {
	carrier := t.http
	if carrier == nil {
		e.pool = newPool(addr, t.conns)
		carrier = e.pool
	}
	wire := connecthttp.NewTransport(doer{carrier}, t.conns.scheme()+"://"+addr, t.wire...)
	e.Transport = chained(wire.NewClientStream, repair)
	return e
}

// doer sends requests as they are: it follows no redirects.
type doer struct{ http.RoundTripper }

func (d doer) Do(r *http.Request) (*http.Response, error) { return d.RoundTrip(r) }

// unaryCall sends one request, to another instance if the first cannot have
// done it or it does no harm twice.
type unaryCall struct {
	t        *RemoteTransport
	ctx      context.Context
	spec     connect.Spec
	msg      any
	sent     bool
	received bool
}

func (c *unaryCall) SendHeaders() error { return nil }

func (c *unaryCall) Send(msg any) error {
	if c.sent {
		return errors.New("rpi: unary stream sent more than once")
	}
	c.msg, c.sent = msg, true
	return nil
}

func (c *unaryCall) CloseSend() error { return nil }
func (c *unaryCall) Close() error     { return nil }

func (c *unaryCall) Receive(dst any) (err error) {
	if c.received {
		return io.EOF
	}
	c.received = true
	if err := c.ctx.Err(); err != nil {
		return contextError(err)
	}
	permit, err := c.t.breaker.Allow()
	if err != nil {
		return refused(c.t.service, err)
	}
	defer func() { permit.Done(c.ctx, err) }()
	return c.tryAll(dst)
}

func (c *unaryCall) tryAll(dst any) error {
	var tried []string
	policy := &retry.Policy{Retry: c.verdict, Attempts: c.t.attempts, Backoff: 30 * time.Millisecond, Budget: &c.t.budget}
	return retry.Do(c.ctx, policy, func(ctx context.Context) error {
		picked, err := c.t.pick(ctx, tried...)
		if err != nil {
			return err
		}
		if len(tried) > 0 {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set(attemptHeader, strconv.Itoa(len(tried)+1))
			}
		}
		tried = append(tried, picked.Instance.ID)
		err = c.try(picked, dst)
		picked.Done(unwell(err))
		return err
	})
}

func (c *unaryCall) try(picked *discovery.Picked, dst any) error {
	stream, err := c.t.endpoint(picked.Instance.Addr).NewClientStream(c.ctx, c.spec)
	if err != nil {
		return err
	}
	defer stream.Close() //nolint:errcheck // the verdict is Receive's
	if err := stream.Send(c.msg); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.Receive(dst)
}

// verdict says whether the call may be tried again after err: if it does no
// harm twice, or no server can have seen it.
func (c *unaryCall) verdict(err error) retry.Verdict {
	if connect.CodeOf(err) != connect.CodeUnavailable {
		return retry.Stop
	}
	if !unsent(err) && (c.spec.IdempotencyLevel == connect.IdempotencyUnknown || repeated(c.ctx)) {
		return retry.Stop
	}
	if info, ok := detail[*errdetails.RetryInfo](err); ok {
		return retry.After(info.GetRetryDelay().AsDuration())
	}
	return retry.Again
}
