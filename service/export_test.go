package service

import (
	"net"
	"net/http"
	"time"
)

// Shared serves h on a socket that others accept from, too, until drain.
func Shared(socket net.Listener, h http.Handler) (serve func() error, drain func(linger, grace time.Duration) error) {
	l := &listener{name: "shared", socket: newSharedSocket(socket), served: make(chan struct{}), open: map[net.Conn]*connection{}}
	l.server = &http.Server{Handler: l.closeAnswered(h), ConnState: l.follow, ConnContext: l.contextOf}
	return l.serve, l.drain
}

// Acceptor returns a listener over l that ends once nobody connects any more
// after finish was called.
func Acceptor(l net.Listener, settle time.Duration) (a net.Listener, finish func()) {
	own := newAcceptor(l, settle)
	return own, own.finish
}
