package grpcwire

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"golang.org/x/net/http2/hpack"
)

// serverConn is one connection of a client.
type serverConn struct {
	*conn
	s    *Server
	addr string
	host string // that was allowed last; the reader's

	top      uint32         // highest stream seen; the reader's, and conn.mu's for others
	calls    sync.WaitGroup // that have begun
	running  int            // as many; conn.mu
	draining bool           // conn.mu
	empty    chan struct{}
}

func (s *Server) newConn(nc net.Conn) *serverConn {
	c := &serverConn{s: s, addr: nc.RemoteAddr().String(), empty: make(chan struct{}, 1)}
	c.conn = newConn(nc, c)
	c.out = appendSettings(c.out, setting{settingKin, 1}, setting{settingMaxStreams, uint32(s.opts.MaxStreams)},
		setting{settingInitialWindow, streamWindow}, setting{settingMaxHeaderBytes, maxHeaders})
	c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, connWindow-defaultWindow)
	return c
}

// handshake is how long a client may take to say what it speaks.
const handshake = 5 * time.Second

func (c *serverConn) run(first []byte) error {
	go c.write()
	_ = c.nc.SetReadDeadline(time.Now().Add(handshake))
	first, err := expectPreface(c.nc, first)
	if err != nil {
		c.fail(err)
		return err
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.release(false)
	go c.keepAlive(c.s.opts.Silence, c.s.opts.Silence)
	return c.serve(first)
}

// expectPreface reads what a client of HTTP/2 begins with, of which first was
// read before, and returns what of first comes behind it.
func expectPreface(nc net.Conn, first []byte) ([]byte, error) {
	var got [len(preface)]byte
	n := copy(got[:], first)
	for rest := first[n:]; ; {
		if string(got[:n]) != preface[:n] {
			return nil, violation(codeProtocol, "not HTTP/2 with prior knowledge")
		}
		if n == len(got) {
			return rest, nil
		}
		m, err := nc.Read(got[n:])
		if n += m; err != nil && n < len(got) {
			return nil, err
		}
	}
}

// linger is how long a client may take to leave when its calls have ended.
// Until then its late calls are refused: a connection closed under them would
// not say that they were not begun.
const linger = time.Second

// drainCalls tells the client to go elsewhere, and has the connection end when
// its calls have ended, or with ctx. No call begins after it has returned.
func (c *serverConn) drainCalls(ctx context.Context) {
	c.mu.Lock()
	c.draining = true
	c.out = appendGoAway(c.out, c.top, codeNone, "")
	idle := c.running == 0 && len(c.streams) == 0
	c.release(false)
	go c.awaitCalls(ctx, idle)
}

func (c *serverConn) awaitCalls(ctx context.Context, idle bool) {
	if !idle {
		select {
		case <-c.empty:
		case <-ctx.Done():
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
	b = e.appendStatus(b, endingOf(r.err))
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
	var method, path, host, content, encoding, timeout string
	header := st.info.RequestHeader()
	for i := range fields {
		name, value := fields[i].Name, fields[i].Value
		switch name {
		case ":method":
			method = value
		case ":path":
			path = value
		case ":authority":
			host = value
		case ":scheme", "te", "grpc-accept-encoding":
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
	case !st.conn.allowed(host):
		return &refusal{httpStatus: "403", err: connect.NewError(connect.CodePermissionDenied, "calls for this host are not served here")}
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
	st.method = st.conn.s.method(path)
	st.info.Spec, st.info.PeerAddr, st.info.Protocol, st.info.Codec = st.spec, st.conn.addr, Protocol, connect.CodecNameProto
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

// method returns that of a path. One that there is not takes any call, to refuse
// it.
func (s *Server) method(path string) method {
	if m, ok := s.methods[path]; ok {
		return m
	}
	return method{connect.Spec{Procedure: path, StreamType: connect.StreamTypeBidi}, s.unknown}
}

// allowed asks once for as long as the client stays with a host.
func (c *serverConn) allowed(host string) bool {
	if c.s.opts.Authority == nil || host != "" && host == c.host {
		return true
	}
	if !c.s.opts.Authority(host) {
		return false
	}
	c.host = host
	return true
}
