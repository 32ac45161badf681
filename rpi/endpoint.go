package rpi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// endpoint is how one instance is called.
type endpoint struct {
	connect.Transport // Connect, or the caller's own
	http              http.RoundTripper
	pool              *pool               // nil: the caller's
	fast              *grpcwire.Transport // for an instance that announces it; nil: not to be used

	logger  *slog.Logger
	blocked atomic.Int64 // until when fast is not tried, in Unix nanoseconds; 0: it is
}

// blockedFor is how long an instance is called over Connect after it turned out
// that something on the way to it does not let the fast wire through.
const blockedFor = time.Minute

func (t *RemoteTransport) endpoint(in discovery.Instance) *endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.endpoints[in.Addr]
	if !ok {
		e = t.newEndpoint(in.Addr)
		t.endpoints[in.Addr] = e
	}
	return e
}

func (t *RemoteTransport) newEndpoint(addr string) *endpoint {
	e := &endpoint{http: t.http, logger: t.logger.With("service", t.service, "instance", addr)}
	if t.other != nil {
		e.Transport = t.other(addr)
		return e
	}
	if e.http == nil {
		e.pool = newPool(addr, t.conns)
		e.http = e.pool
	}
	if t.fast {
		e.fast = grpcwire.NewTransport(addr, t.conns.fast())
	}
	wire := connecthttp.NewTransport(doer{e.http}, t.conns.scheme()+"://"+addr, t.wire...)
	e.Transport = chained(wire.NewClientStream, repair)
	return e
}

// fast returns the options for the fast wire.
func (o ConnOptions) fast() *grpcwire.TransportOptions {
	dial := o.DialContext
	o = o.withDefaults()
	options := &grpcwire.TransportOptions{MaxMessage: MaxMessage, DialTimeout: o.Dial, Silence: o.Ping, Pong: o.Pong}
	if dial != nil {
		options.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) }
	}
	return options
}

// doer sends requests as they are: it follows no redirects.
type doer struct{ http.RoundTripper }

func (d doer) Do(r *http.Request) (*http.Response, error) { return d.RoundTrip(r) }

// over chooses what carries a call to in, which is the endpoint's, and sees to it
// that it can: the fast wire if in announces it and it passes.
func (e *endpoint) over(ctx context.Context, in discovery.Instance) (connect.Transport, error) {
	if e.fast == nil || in.Meta[discovery.MetaWire] != discovery.WireGRPC {
		return e.Transport, nil
	}
	if until := e.blocked.Load(); until != 0 && time.Now().UnixNano() < until {
		return e.Transport, nil
	}
	err := e.fast.Ready(ctx)
	if !errors.Is(err, grpcwire.ErrNotHTTP2) {
		return e.fast, err
	}
	if e.blocked.Swap(time.Now().Add(blockedFor).UnixNano()) == 0 {
		e.logger.WarnContext(ctx, "the instance announces the fast wire, but it does not get through: calls go over Connect", "error", err)
	}
	return e.Transport, nil
}

// newStream begins a call to in.
func (e *endpoint) newStream(ctx context.Context, in discovery.Instance, spec connect.Spec) (connect.ClientStream, error) {
	wire, err := e.over(ctx, in)
	if err != nil {
		return nil, err
	}
	return wire.NewClientStream(ctx, spec)
}

// ready makes a connection to in unless there is one.
func (e *endpoint) ready(ctx context.Context, in discovery.Instance) error {
	wire, err := e.over(ctx, in)
	if _, fast := wire.(*grpcwire.Transport); err == nil && !fast && e.pool != nil {
		err = e.pool.ready(ctx)
	}
	return err
}

func (e *endpoint) close() {
	if e.pool != nil {
		e.pool.close()
	}
	if e.fast != nil {
		_ = e.fast.Close()
	}
	if c, ok := e.Transport.(io.Closer); ok {
		_ = c.Close()
	}
}
