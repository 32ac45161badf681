package grpcwire

import (
	"context"
	"errors"
	"fmt"
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
	DialTimeout time.Duration                                            // Default: 2 s
	Silence     time.Duration                                            // how long a server that owes answers may be silent before it is pinged, and then before it is given up. Default: 5 s
	UserAgent   string                                                   // Default: "grpc-go-cleave"
	Dial        func(ctx context.Context, addr string) (net.Conn, error) // Default: TCP
}

// ErrUnprocessed is the cause of a call that its server has certainly not
// begun: it said so.
var ErrUnprocessed = errors.New("grpcwire: the server has not begun the call")

// Transport carries calls to one address over one connection at a time.
type Transport struct {
	addr string
	opts TransportOptions

	mu      sync.Mutex
	current *clientConn   // nil: none
	dialing chan struct{} // closed when a dial has ended; nil: none is under way
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
	if opts.UserAgent == "" {
		opts.UserAgent = "grpc-go-cleave"
	}
	if opts.Dial == nil {
		d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
		opts.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	return &Transport{addr: addr, opts: opts}
}

// Close lets no more calls begin. The connection ends with the calls on it.
func (t *Transport) Close() error {
	t.mu.Lock()
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

// conn returns a connection that takes calls.
func (t *Transport) conn(ctx context.Context) (*clientConn, error) {
	for {
		t.mu.Lock()
		switch {
		case t.closed:
			t.mu.Unlock()
			return nil, connect.NewError(connect.CodeUnavailable, "transport closed").WithCause(ErrUnprocessed)
		case t.current != nil:
			c := t.current
			t.mu.Unlock()
			return c, nil
		case t.dialing != nil:
			wait := t.dialing
			t.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, contextError(ctx.Err())
			}
		default:
			wait := make(chan struct{})
			t.dialing = wait
			t.mu.Unlock()
			c, err := t.connect(ctx)
			t.mu.Lock()
			t.dialing = nil
			if err == nil && !t.closed {
				t.current = c
			}
			t.mu.Unlock()
			close(wait)
			if err != nil {
				if ended := ctx.Err(); ended != nil {
					return nil, contextError(ended)
				}
				return nil, connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(fmt.Errorf("%w: %w", ErrUnprocessed, err))
			}
			return c, nil
		}
	}
}

func (t *Transport) connect(ctx context.Context) (*clientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.DialTimeout)
	defer cancel()
	nc, err := t.opts.Dial(ctx, t.addr)
	if err != nil {
		return nil, err
	}
	c := &clientConn{t: t, nextID: 1, ready: make(chan struct{})}
	c.conn = newConn(nc, c)
	c.out = append(c.out, preface...)
	c.out = appendSettings(c.out, setting{settingEnablePush, 0}, setting{settingInitialWindow, streamWindow},
		setting{settingMaxHeaderBytes, maxHeaders})
	c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, connWindow-defaultWindow)
	c.mu.Lock()
	c.release(false)
	go func() { _ = c.serve() }()
	go c.keepAlive(t.opts.Silence)
	select { // the server's settings: how many calls it takes
	case <-c.ready:
		return c, nil
	case <-c.gone:
		return nil, c.err
	case <-ctx.Done():
		c.fail(ctx.Err())
		return nil, ctx.Err()
	}
}

// retire lets no more calls begin on c.
func (t *Transport) retire(c *clientConn) {
	t.mu.Lock()
	if t.current == c {
		t.current = nil
	}
	t.mu.Unlock()
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

func (c *clientConn) failed(error) { c.t.retire(c) }

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
