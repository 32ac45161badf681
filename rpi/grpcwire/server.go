package grpcwire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
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

	// Authority says whether calls for a host, as :authority names it, are
	// served; others are answered with 403. Default: all are
	Authority func(host string) bool
}

// Server serves the methods of a connect.Server to gRPC clients.
type Server struct {
	opts    ServerOptions
	methods map[string]method
	unknown *connect.Server // answers for methods that there are not
	workers *pool

	mu      sync.Mutex
	conns   map[*serverConn]struct{}
	leaving context.Context // ends when calls under way must have ended; nil: new ones are taken
	left    chan struct{}   // tells Shutdown that a connection has ended
}

// method is one that a server has.
type method struct {
	spec  connect.Spec
	calls *connect.Server
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
	srv := &Server{
		opts: opts, methods: map[string]method{}, unknown: s, workers: newPool(),
		conns: map[*serverConn]struct{}{}, left: make(chan struct{}, 1),
	}
	srv.Add(s)
	return srv
}

// Add has the methods of another server served, too. It is for use before the
// first connection.
func (s *Server) Add(more *connect.Server) {
	for spec := range more.Specs() {
		s.methods[spec.Procedure] = method{spec, more}
	}
}

// Serve answers calls on the connections of ln until ctx ends or ln fails. It
// then closes ln and shuts the server down.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	err := s.accept(ctx, ln)
	_ = ln.Close() // nothing more is accepted
	late, cancel := context.WithTimeout(context.Background(), s.opts.Drain)
	defer cancel()
	_ = s.Shutdown(late) // that calls were cut off, their callers know
	return err
}

func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	refusals := 0
	for {
		nc, err := ln.Accept()
		if err == nil {
			refusals = 0
			if c := s.enter(nc); c != nil {
				go s.serve(c, nil)
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if refusals++; refusals > maxRefusals || errors.Is(err, net.ErrClosed) {
			return err
		}
		s.opts.Logger.Warn("no connection accepted", "error", err) // as when there are too many open files
		select {
		case <-time.After(time.Duration(refusals) * 50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// enter makes nc one of the server's connections. It returns nil, and has closed
// nc, if there are too many.
func (s *Server) enter(nc net.Conn) *serverConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.opts.MaxConns {
		_ = nc.Close()
		return nil
	}
	c := s.newConn(nc)
	s.conns[c] = struct{}{}
	if s.leaving != nil {
		c.drainCalls(s.leaving)
	}
	return c
}

// serve answers calls on c until it ends and all have returned. first was read
// of it before.
func (s *Server) serve(c *serverConn, first []byte) {
	err := c.run(first)
	s.opts.Logger.Debug("connection ended", "peer", c.addr, "error", err)
	c.calls.Wait()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	notify(s.left)
}

// Shutdown tells all peers to go elsewhere and returns when the calls under way
// have ended; when ctx ends before, it cuts them off and says so. Peers that come
// later are told the same. A server that was shut down does not serve again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.leaving == nil {
		s.leaving = ctx
		s.workers.close()
		for c := range s.conns {
			c.drainCalls(ctx)
		}
	}
	s.mu.Unlock()
	for {
		s.mu.Lock()
		open := len(s.conns)
		s.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-s.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxRefusals bounds how often in a row a listener may fail to accept.
const maxRefusals = 20

// Protocol is what connect.CallInfo.Protocol says of calls over this wire.
const Protocol = "grpc"
