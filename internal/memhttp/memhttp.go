// Package memhttp serves HTTP over pipes in memory, so that servers and clients can be tested inside
// testing/synctest, where waiting on a real network would stop the clock.
package memhttp

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// A Server is a network of one host. It can be taken down and up again; its clients then fail to
// connect, and open connections break.
type Server struct {
	mu   sync.Mutex
	http *http.Server
	l    *listener
}

// New returns a server that is up.
func New(handler http.Handler) *Server {
	s := &Server{}
	s.Up(handler)
	return s
}

// Up serves handler from now on.
func (s *Server) Up(handler http.Handler) {
	s.Down()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.http = &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	s.l = &listener{queue: make(chan net.Conn), closed: make(chan struct{})}
	go s.http.Serve(s.l)
}

// Down breaks all connections and refuses new ones.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		s.http.Close()
		s.l.Close()
		s.http, s.l = nil, nil
	}
}

// Client returns an HTTP/1.1 client whose every request goes to the server, whatever its host.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.Dial}}
}

// Dial connects to the server; network and address are ignored.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	l := s.l
	s.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "mem", Err: net.ErrClosed}
	if l == nil {
		return nil, refused
	}
	near, far := net.Pipe()
	select {
	case l.queue <- far:
		return near, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type listener struct {
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)} }
