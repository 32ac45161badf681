package rpi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/retry"
)

// RemoteOptions tune Remote. Nil means the defaults.
type RemoteOptions struct {
	Call     CallOptions
	Attempts int                        // most tries of one call. Default: 3
	PerTry   time.Duration              // longest a try of a unary call takes. Default: as long as the call
	Hedge    bool                       // send calls without side effects twice that take longer than 95 % of them. Default: no
	Balancer *discovery.BalancerOptions // Default: its own
	Breaker  *breaker.Breaker           // Default: one that opens when half of at least 5 calls in 10 s fail
	Conns    ConnOptions                // to each instance
	HTTP     http.RoundTripper          // carries the requests instead. Default: connections of its own
	Caller   string                     // who calls, to tell the measurements of several apart. Default: ""

	// Wire says what is spoken instead, such as connecthttp.WithGRPC; one that is
	// empty, but not nil, always Connect. Default: gRPC as grpcwire has it to instances that announce
	// it (discovery.MetaWire), if Conns is plain HTTP/1.1 and HTTP nil; else Connect, binary
	Wire []connecthttp.Option
	// Endpoint returns a transport to one instance, such as one of grpcwire,
	// instead of what Conns, HTTP and Wire say. It is closed, if it is an
	// io.Closer, when the instance is gone. Default: nil
	Endpoint func(addr string) connect.Transport
	Logger   *slog.Logger // Default: slog.Default()
}

// RemoteTransport is a transport to the instances of a service, wherever they
// run.
type RemoteTransport struct {
	service  string
	resolver discovery.Resolver
	attempts int
	perTry   time.Duration
	usual    *latencies // nil: calls are not hedged
	breaker  *breaker.Breaker
	budget   retry.Budget
	balancer *discovery.Balancer
	conns    ConnOptions
	http     http.RoundTripper // nil: pools for each instance
	wire     []connecthttp.Option
	fast     bool                                // where an instance announces it
	other    func(addr string) connect.Transport // nil: none
	logger   *slog.Logger
	caller   string
	meter    metric.Meter // nil: none
	tracer   trace.Tracer // nil: none
	chain    chain

	known     chan struct{} // closed when the first snapshot is here
	knownOnce sync.Once

	mu        sync.Mutex
	endpoints map[string]*endpoint // by address
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
		service: service, resolver: r, attempts: opts.Attempts, perTry: opts.PerTry, logger: opts.Logger,
		balancer: discovery.NewBalancer(opts.Balancer), known: make(chan struct{}), endpoints: map[string]*endpoint{}, other: opts.Endpoint,
		fast:  opts.Wire == nil && opts.HTTP == nil && !opts.Conns.HTTP2 && opts.Conns.TLS == nil,
		conns: opts.Conns, http: opts.HTTP, wire: wireOptions(opts.Wire), caller: opts.Caller, meter: opts.Call.Meter, tracer: opts.Call.Tracer,
	}
	if t.breaker = opts.Breaker; t.breaker == nil {
		t.breaker = newBreaker(service, func(e breaker.Event) {
			t.logger.Warn("breaker changed", "service", e.Breaker, "from", e.From.String(), "to", e.To.String(), "reason", string(e.Reason))
		})
	}
	if opts.Hedge {
		t.usual = &latencies{}
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
		giveUp(ctx)
		return nil, refused(t.service, err)
	}
	var once sync.Once // both directions of a stream may end it
	judge := func(err error) { once.Do(func() { permit.Done(ctx, err) }) }
	picked, err := t.reach(ctx)
	if err != nil {
		judge(err)
		return nil, err
	}
	begin := time.Now()
	end := func(err error) { picked.Done(unwell(err)); judge(err) }
	stream, err := t.endpoint(picked.Instance).newStream(ctx, picked.Instance, spec)
	if err != nil {
		end(err)
		return nil, err
	}
	// What a stream says of its service is whether it opens, not how long it lasts.
	return &watched{ClientStream: stream, onFirst: func() { picked.Answered(time.Since(begin), nil); judge(nil) }, onEnd: end}, nil
}

// reach chooses an instance to which there is a connection. A stream cannot be
// sent again, so those that cannot be reached are passed over before it begins.
func (t *RemoteTransport) reach(ctx context.Context) (*discovery.Picked, error) {
	var tried []string
	picked, err := t.pick(ctx)
	for n := 1; err == nil; n++ {
		if n > elsewhere {
			return picked, nil
		}
		if err = t.endpoint(picked.Instance).ready(ctx, picked.Instance); err == nil {
			return picked, nil
		}
		err = plainError(ctx, err)
		picked.Done(unwell(err))
		tried = append(tried, picked.Instance.ID)
		if ctx.Err() != nil {
			return nil, err
		}
		if next, none := t.balancer.Pick(tried...); none == nil {
			picked, err = next, nil
		}
	}
	return nil, err
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
