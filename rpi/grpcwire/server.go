package grpcwire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"golang.org/x/net/http2/hpack"
)

// MaxMessage is the default size in bytes above which a message is refused.
const MaxMessage = 4 << 20

// ServerOptions tune NewServer. Nil means the defaults.
type ServerOptions struct {
	MaxMessage int           // largest request in bytes. Default: MaxMessage
	MaxStreams int           // calls at a time on a connection. Default: 1000
	MaxConns   int           // connections at a time; more are closed at once. Default: 4096
	Drain      time.Duration // how long calls may go on after Serve was told to stop. Default: 10 s
	Silence    time.Duration // how long a peer with calls under way may be silent before it is pinged, and then before it is given up. Default: 10 s
	Logger     *slog.Logger  // Default: slog.Default()
}

// Server serves a connect.Server to gRPC clients.
type Server struct {
	calls *connect.Server
	opts  ServerOptions
	specs map[string]connect.Spec
}

// NewServer returns a server of s, whose methods are registered already.
func NewServer(s *connect.Server, o *ServerOptions) *Server {
	var opts ServerOptions
	if o != nil {
		opts = *o
	}
	if opts.MaxMessage <= 0 {
		opts.MaxMessage = MaxMessage
	}
	if opts.MaxStreams <= 0 {
		opts.MaxStreams = 1000
	}
	if opts.MaxConns <= 0 {
		opts.MaxConns = 4096
	}
	if opts.Drain <= 0 {
		opts.Drain = 10 * time.Second
	}
	if opts.Silence <= 0 {
		opts.Silence = 10 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	srv := &Server{calls: s, opts: opts, specs: map[string]connect.Spec{}}
	for spec := range s.Specs() {
		srv.specs[spec.Procedure] = spec
	}
	return srv
}

// Serve answers calls on the connections of ln until ctx ends or ln fails. It
// then tells its peers to go elsewhere, waits for the calls under way, and
// closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	defer ln.Close() // nothing more is accepted
	var all sync.WaitGroup
	var mu sync.Mutex
	conns := map[*serverConn]struct{}{}
	workers := newPool()
	defer workers.close()
	var failed error
	refusals := 0
	for {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			if refusals++; refusals > maxRefusals || errors.Is(err, net.ErrClosed) {
				failed = err
				break
			}
			s.opts.Logger.Warn("no connection accepted", "error", err) // as when there are too many open files
			select {
			case <-time.After(time.Duration(refusals) * 50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		refusals = 0
		mu.Lock()
		if len(conns) >= s.opts.MaxConns {
			mu.Unlock()
			_ = nc.Close()
			continue
		}
		c := s.newConn(nc, workers)
		conns[c] = struct{}{}
		mu.Unlock()
		all.Go(func() {
			err := c.run()
			s.opts.Logger.Debug("connection ended", "peer", c.addr, "error", err)
			mu.Lock()
			delete(conns, c)
			mu.Unlock()
		})
	}
	mu.Lock()
	for c := range conns {
		go c.drainCalls(s.opts.Drain)
	}
	mu.Unlock()
	all.Wait()
	return failed
}

// maxRefusals bounds how often in a row a listener may fail to accept.
const maxRefusals = 20

// serverConn is one connection of a client.
type serverConn struct {
	*conn
	s       *Server
	workers *pool
	addr    string

	top      uint32 // highest stream seen; the reader's, and conn.mu's for others
	running  int    // calls that have begun; conn.mu
	draining bool   // conn.mu
	empty    chan struct{}
}

func (s *Server) newConn(nc net.Conn, workers *pool) *serverConn {
	c := &serverConn{s: s, workers: workers, addr: nc.RemoteAddr().String(), empty: make(chan struct{}, 1)}
	c.conn = newConn(nc, c)
	return c
}

// handshake is how long a client may take to say what it speaks.
const handshake = 5 * time.Second

func (c *serverConn) run() error {
	_ = c.nc.SetReadDeadline(time.Now().Add(handshake))
	if err := expectPreface(c.nc); err != nil {
		_ = c.nc.Close()
		return err
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.out = appendSettings(c.out, setting{settingMaxStreams, uint32(c.s.opts.MaxStreams)},
		setting{settingInitialWindow, streamWindow}, setting{settingMaxHeaderBytes, maxHeaders})
	c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, connWindow-defaultWindow)
	c.release(false)
	go c.keepAlive(c.s.opts.Silence)
	return c.serve()
}

func expectPreface(nc net.Conn) error {
	var got [len(preface)]byte
	for n := 0; n < len(got); {
		m, err := nc.Read(got[n:])
		if n += m; string(got[:n]) != preface[:n] {
			return violation(codeProtocol, "not HTTP/2 with prior knowledge")
		}
		if err != nil && n < len(got) {
			return err
		}
	}
	return nil
}

// linger is how long a client may take to leave when its calls have ended.
// Until then its late calls are refused: a connection closed under them would
// not say that they were not begun.
const linger = time.Second

// drainCalls tells the client to go elsewhere, and ends the connection when its
// calls have ended, or too much time has passed.
func (c *serverConn) drainCalls(atMost time.Duration) {
	c.mu.Lock()
	c.draining = true
	c.out = appendGoAway(c.out, c.top, codeNone, "")
	idle := c.running == 0 && len(c.streams) == 0
	c.release(false)
	if !idle {
		timer := time.NewTimer(atMost)
		defer timer.Stop()
		select {
		case <-c.empty:
		case <-timer.C:
			c.fail(net.ErrClosed)
			return
		case <-c.gone:
			return
		}
	}
	patience := time.NewTimer(linger)
	defer patience.Stop()
	select {
	case <-c.gone:
	case <-patience.C:
		c.close()
	}
}

func (c *serverConn) goAway(uint32, uint32) {}
func (c *serverConn) maxStreams(uint32)     {}
func (c *serverConn) failed(error)          {}

func (c *serverConn) unknown(id uint32) bool { return id%2 == 1 && id <= c.top }

func (c *serverConn) headers(id uint32, fields []hpack.HeaderField, tooLarge, end bool) error {
	if id%2 == 0 {
		return violation(codeProtocol, "a client's stream has an even number")
	}
	if id <= c.top {
		s := c.stream(id)
		if s == nil {
			return nil // of a stream that has ended here meanwhile
		}
		if !end {
			return violation(codeProtocol, "trailers that do not end their stream")
		}
		return s.take(nil, 0, true)
	}
	c.mu.Lock()
	c.top = id
	full := c.draining || len(c.streams) >= c.s.opts.MaxStreams || c.running >= c.s.opts.MaxStreams
	c.mu.Unlock()
	if full {
		return c.reply(func(b []byte) []byte { return appendUint32Frame(b, frameReset, id, codeRefused) })
	}
	st := &serverStream{conn: c}
	st.stream = stream{c: c.conn, id: id, side: st, allow: streamWindow}
	if refusal := st.read(fields, tooLarge); refusal != nil {
		return c.reply(func(b []byte) []byte { return refusal.append(&c.enc, b, id, end) })
	}
	c.mu.Lock()
	st.window = c.initial
	c.streams[id] = &st.stream
	c.mu.Unlock()
	c.last = &st.stream
	if end || st.spec.StreamType != connect.StreamTypeUnary {
		st.mu.Lock()
		st.ended = end
		st.begin()
		st.mu.Unlock()
	}
	return nil
}

// refusal answers a request that no handler sees.
type refusal struct {
	httpStatus string // not 200: this is no gRPC
	err        *connect.Error
}

func (r *refusal) append(e *encoder, b []byte, id uint32, ended bool) []byte {
	at := len(b)
	b = e.begin(append(b, make([]byte, frameHeaderLen)...))
	if r.httpStatus != "" {
		b = e.once(b, ":status", r.httpStatus)
	} else {
		b = e.constant(append(b, indexStatus), "content-type", "application/grpc")
	}
	b = e.appendStatus(b, r.err)
	b = endHeaders(b, at, id, true)
	if !ended {
		b = appendUint32Frame(b, frameReset, id, codeNone)
	}
	return b
}

// read takes what a request's fields say.
func (st *serverStream) read(fields []hpack.HeaderField, tooLarge bool) *refusal {
	if tooLarge {
		return &refusal{err: connect.NewError(connect.CodeResourceExhausted, "headers too large")}
	}
	var method, path, content, encoding, timeout string
	header := st.info.RequestHeader()
	for i := range fields {
		name, value := fields[i].Name, fields[i].Value
		switch name {
		case ":method":
			method = value
		case ":path":
			path = value
		case ":scheme", ":authority", "te", "grpc-accept-encoding":
		case "content-type":
			content = value
		case "grpc-encoding":
			encoding = value
		case "grpc-timeout":
			timeout = value
		default:
			if !validField(name, value) {
				return &refusal{httpStatus: "400", err: connect.NewError(connect.CodeInternal, "malformed header")}
			}
			addField(header, name, value)
		}
	}
	switch {
	case method != "POST":
		return &refusal{httpStatus: "405", err: connect.NewError(connect.CodeUnknown, "method is not POST")}
	case content != "application/grpc" && content != "application/grpc+proto":
		if strings.HasPrefix(content, "application/grpc+") {
			return &refusal{err: connect.Errorf(connect.CodeUnimplemented, "codec of content-type %q is not supported", content)}
		}
		return &refusal{httpStatus: "415", err: connect.NewError(connect.CodeUnknown, "content-type is not application/grpc")}
	case encoding != "" && encoding != connect.CompressionNameIdentity:
		return &refusal{err: connect.Errorf(connect.CodeUnimplemented, "unknown compression %q: supported encodings are identity", encoding)}
	}
	spec, ok := st.conn.s.specs[path]
	if !ok {
		spec = connect.Spec{Procedure: path, StreamType: connect.StreamTypeBidi}
	}
	st.spec = spec
	st.info.Spec, st.info.PeerAddr, st.info.Protocol, st.info.Codec = spec, st.conn.addr, Protocol, connect.CodecNameProto
	st.info.RequestEncoding, st.info.ResponseEncoding = connect.CompressionNameIdentity, connect.CompressionNameIdentity
	if timeout != "" {
		d, ok := parseTimeout(timeout)
		if !ok {
			return &refusal{err: connect.Errorf(connect.CodeInternal, "protocol error: invalid timeout %q", timeout)}
		}
		if d > 0 {
			st.ctx.deadline = time.Now().Add(d)
		}
	}
	return nil
}

// Protocol is what connect.CallInfo.Protocol says of calls over this wire.
const Protocol = "grpc"
