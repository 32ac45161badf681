package service

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
)

// Shared serves h on a socket that others accept from, too, until drain.
func Shared(socket net.Listener, h http.Handler) (serve func() error, drain func(linger, grace time.Duration) error) {
	l := &listener{name: "shared", socket: newSharedSocket(socket), served: make(chan struct{}), open: map[net.Conn]*connection{}}
	l.server = &http.Server{Handler: l.closeAnswered(h), ConnState: l.follow, ConnContext: l.contextOf}
	return l.serve, l.drain
}

// Ordinary serves s on a listener such as Run opens for services, until stop.
func Ordinary(s *connect.Server) (addr string, stop func() error, err error) {
	p := &process{logger: slog.New(slog.DiscardHandler), settings: settings{wire: wireGRPC}}
	if err := p.addListener("business", nil, "127.0.0.1:0", []*Host{{name: "echo", process: p, server: s}}); err != nil {
		return "", nil, err
	}
	l := p.listeners[0]
	go l.serve() // drain waits for it
	return l.addr(), func() error { return l.drain(50*time.Millisecond, 10*time.Second) }, nil
}

// Acceptor returns a listener over l that ends once nobody connects any more
// after finish was called.
func Acceptor(l net.Listener, settle time.Duration) (a net.Listener, finish func()) {
	own := newAcceptor(l, settle)
	return own, own.finish
}
