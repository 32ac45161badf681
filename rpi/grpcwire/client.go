package grpcwire

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"golang.org/x/net/http2/hpack"
)

// TransportOptions tune NewTransport. Nil means the defaults.
type TransportOptions struct {
	MaxMessage  int                                                      // largest response in bytes. Default: MaxMessage
	DialTimeout time.Duration                                            // of a connection, up to the server's first word. Default: 2 s
	Silence     time.Duration                                            // how long a server that owes answers may be silent before it is pinged. Default: 5 s
	Pong        time.Duration                                            // how long it then has. Default: 3 s
	UserAgent   string                                                   // Default: "grpc-go-cleave"
	Dial        func(ctx context.Context, addr string) (net.Conn, error) // Default: TCP
}

// ErrUnprocessed is the cause of a call that its server has certainly not
// begun: it said so, or was not reached.
var ErrUnprocessed = errors.New("grpcwire: the server has not begun the call")

// ErrNotHTTP2 is the cause, beside ErrUnprocessed, of a call to an address where
// connections are accepted but not answered as HTTP/2 has it: by HTTP/1.1, by
// their end or, if HTTP/2 was never spoken there, not at all.
var ErrNotHTTP2 = errors.New("grpcwire: no HTTP/2 is spoken there")

// Transport carries calls to one address over one connection at a time.
type Transport struct {
	addr  string
	opts  TransportOptions
	ended chan struct{} // closed by Close

	mu      sync.Mutex
	current *clientConn // nil: none
	dialing *dial       // nil: none is under way
	proven  bool        // a server of HTTP/2 was there
	silent  error       // why no call is tried until the server answers; nil: it does
	closed  bool
}

// NewTransport returns a transport to addr. It connects when it is first used,
// and again when the connection has ended.
func NewTransport(addr string, o *TransportOptions) *Transport {
	var opts TransportOptions
	if o != nil {
		opts = *o
	}
	if opts.MaxMessage <= 0 {
		opts.MaxMessage = MaxMessage
	}
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 2 * time.Second
	}
	if opts.Silence <= 0 {
		opts.Silence = 5 * time.Second
	}
	if opts.Pong <= 0 {
		opts.Pong = 3 * time.Second
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "grpc-go-cleave"
	}
	if opts.Dial == nil {
		d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
		opts.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	return &Transport{addr: addr, opts: opts, ended: make(chan struct{})}
}

// Close lets no more calls begin. The connection ends with the calls on it.
func (t *Transport) Close() error {
	t.mu.Lock()
	if !t.closed {
		close(t.ended)
	}
	t.closed = true
	c := t.current
	t.current = nil
	t.mu.Unlock()
	if c != nil {
		c.leave()
	}
	return nil
}

// NewClientStream begins a call; nothing is sent yet.
func (t *Transport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	s := &clientStream{t: t, ctx: ctx, spec: spec}
	s.info, _ = connect.CallInfoForClientContext(ctx)
	if s.info == nil {
		s.info = &connect.CallInfo{}
	}
	s.info.Spec, s.info.PeerAddr, s.info.Protocol, s.info.Codec = spec, t.addr, Protocol, connect.CodecNameProto
	s.info.RequestEncoding, s.info.ResponseEncoding = connect.CompressionNameIdentity, connect.CompressionNameIdentity
	return s, nil
}

// clientConn is a connection to a server; conn.mu guards its fields.
type clientConn struct {
	*conn
	t       *Transport
	nextID  uint32
	most    int // calls at a time
	known   bool
	ready   chan struct{} // closed with the first settings
	leaving bool
	queue   []chan struct{} // of calls that wait for others to end
}

func (c *clientConn) unknown(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return id%2 == 1 && id < c.nextID
}

func (c *clientConn) failed(err error) {
	c.t.retire(c)
	if err == errSilent {
		c.t.fallSilent(err)
	}
}

func (c *clientConn) maxStreams(n uint32) {
	c.mu.Lock()
	c.most = int(min(n, 1<<20))
	if !c.known {
		c.known = true
		close(c.ready)
	}
	for len(c.queue) > 0 {
		c.free()
	}
	c.mu.Unlock()
}

// free wakes the call that has waited longest; c is locked.
func (c *clientConn) free() {
	if len(c.queue) > 0 {
		notify(c.queue[0])
		c.queue = slices.Delete(c.queue, 0, 1)
	}
}

// leave ends c when its calls have ended.
func (c *clientConn) leave() {
	c.mu.Lock()
	c.leaving = true
	idle := len(c.streams) == 0
	for len(c.queue) > 0 {
		c.free()
	}
	c.mu.Unlock()
	if idle {
		c.close()
	}
}

// wait blocks until another call has ended. It unlocks c.
func (c *clientConn) wait(ctx context.Context) error {
	turn := make(chan struct{}, 1)
	c.queue = append(c.queue, turn)
	c.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-c.gone:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.queue, turn); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
	} else {
		c.free() // its turn goes to the next
	}
	return contextError(ctx.Err())
}

func (c *clientConn) goAway(last, _ uint32) {
	c.t.retire(c)
	c.mu.Lock()
	var lost []*stream
	for id, s := range c.streams {
		if id > last {
			lost = append(lost, s)
			delete(c.streams, id)
		}
	}
	c.mu.Unlock()
	c.last = nil
	for _, s := range lost {
		s.broken(ErrUnprocessed)
	}
	c.leave()
}

func (c *clientConn) headers(id uint32, fields []hpack.HeaderField, tooLarge, end bool) error {
	s := c.stream(id)
	if s == nil {
		if !c.unknown(id) {
			return violation(codeProtocol, "HEADERS on an idle stream")
		}
		return nil
	}
	return s.side.(*clientStream).fields(fields, tooLarge, end)
}
