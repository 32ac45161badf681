package rpi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ConnOptions tune the connections to one instance. The zero value means the
// defaults.
type ConnOptions struct {
	// HTTP2 speaks HTTP/2 from the first byte, as gRPC and bidirectional
	// streams need it; over TLS, if the server does too. Default: HTTP/1.1.
	HTTP2 bool
	// TLS secures the connections. Default: plain text.
	TLS *tls.Config
	// Max bounds the connections; calls beyond wait for one. Default: 512, with HTTP2 16
	// of 100 calls each.
	Max int
	// Idle is how long an unused connection is kept. Default: 1 s, with HTTP2 a minute.
	// Over HTTP/1.1 it must be shorter than the time for which a stopping server
	// keeps idle connections, so that no call is sent into one that closes.
	Idle time.Duration
	// Dial bounds the making of a connection. Default: 2 s.
	Dial time.Duration
	// Ping is the silence during a call after which the instance has to show that it is
	// there, Pong how long it has for it; then its connections are closed, and it gets
	// no calls until it shows. HTTP/2 pings besides, which servers of grpc-go take ill on
	// silent streams unless their keepalive policy permits it. Default: 5 s and 3 s, so
	// that a call of 10 s has time for another instance.
	Ping, Pong time.Duration
	// DialContext makes the connections. Default: TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// perHTTP2 is how many calls share a connection. No server in wide use allows
// fewer; one that does has the rest wait.
const perHTTP2 = 100

func (o ConnOptions) withDefaults() ConnOptions {
	longest, idle := 512, time.Second
	if o.HTTP2 {
		longest, idle = 16, time.Minute
	}
	if o.Max <= 0 {
		o.Max = longest
	}
	for _, d := range []struct {
		p *time.Duration
		d time.Duration
	}{{&o.Idle, idle}, {&o.Dial, 2 * time.Second}, {&o.Ping, 5 * time.Second}, {&o.Pong, 3 * time.Second}} {
		if *d.p <= 0 {
			*d.p = d.d
		}
	}
	if o.DialContext == nil {
		o.DialContext = (&net.Dialer{KeepAlive: 10 * time.Second}).DialContext
	}
	return o
}

func (o ConnOptions) scheme() string {
	if o.TLS != nil {
		return "https"
	}
	return "http"
}

// dialer returns what makes connections. It carries no request itself:
// http.Transport sends some again by itself, unseen.
func (o ConnOptions) dialer() *http.Transport {
	t := &http.Transport{
		Protocols: &http.Protocols{}, TLSClientConfig: o.TLS.Clone(), TLSHandshakeTimeout: o.Dial,
		DisableCompression: true, // connect compresses messages itself
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := o.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			counted := &countingConn{Conn: nc}
			if c, ok := ctx.Value(connKey{}).(*conn); ok {
				c.wire, counted.heard = counted, c.heard
			}
			return counted, nil
		},
	}
	switch {
	case !o.HTTP2:
		t.Protocols.SetHTTP1(true)
	case o.TLS == nil:
		t.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Protocols.SetHTTP2(true)
		t.Protocols.SetHTTP1(true)
	}
	if o.HTTP2 {
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: o.Ping, PingTimeout: o.Pong, WriteByteTimeout: o.Pong}
	}
	return t
}

type connKey struct{}

// conn is one connection to an instance.
type conn struct {
	*http.ClientConn
	wire  *countingConn
	heard func() // the peer has said something
	most  int    // calls at a time; 1: HTTP/1.1

	// Guarded by the pool's mutex.
	users  int
	free   bool // in pool.free
	unused time.Time
}

// countingConn counts what was written, which tells whether a peer can have
// seen anything of a request.
type countingConn struct {
	net.Conn
	written atomic.Int64
	heard   func()
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard()
	}
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// roundTrip sends r. Its error is an *unsentError if the peer cannot have
// begun to serve r.
func (c *conn) roundTrip(r *http.Request) (*http.Response, error) {
	before := c.wire.written.Load()
	res, err := c.ClientConn.RoundTrip(r)
	switch {
	case err == nil:
		return res, nil
	case c.most == 1 && c.wire.written.Load() == before && c.Err() != nil, // else the request is at fault
		c.most > 1 && refusedStream(err):
		return nil, &unsentError{err}
	}
	return nil, err
}

// unsentError is the end of a request that no server has begun to serve.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// lostError is the end of a connection in the middle of an answer.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// refusedStream reports whether err says that a request over HTTP/2 was not
// served: the server refused its stream, or takes none as new on this
// connection.
func refusedStream(err error) bool {
	if reset, ok := errors.AsType[streamError](err); ok {
		const refused = 0x7
		return reset.Code == refused
	}
	return leaving(err)
}

// streamError has the fields of the type that net/http hides; its errors
// convert to it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream error %d", e.Code) }

// goingAway is how errors end of connections that take no new requests: never
// written, or beyond the last that the server takes. net/http has no types for
// them.
var goingAway = []string{
	"http2: client conn not usable",
	"http2: client conn could not be established",
	"http2: Transport received Server's graceful shutdown GOAWAY",
}

// leaving reports whether err is of a connection that takes no new requests.
func leaving(err error) bool {
	text := err.Error()
	return slices.ContainsFunc(goingAway, func(s string) bool { return strings.HasSuffix(text, s) })
}

// again returns r to be sent on another connection, if its body can be read
// once more.
func again(r *http.Request) (*http.Request, bool) {
	if !rewindable(r) {
		return nil, false
	}
	if r.Body == nil || r.Body == http.NoBody {
		return r, true
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	second := *r
	second.Body = body
	return &second, true
}

// rewindable reports whether r can be sent twice.
func rewindable(r *http.Request) bool {
	return r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close() // nothing reads it any more
	}
}
