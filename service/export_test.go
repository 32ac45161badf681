package service

import (
	"net"
	"time"
)

// Acceptor returns a listener over l that ends once nobody connects any more
// after finish was called.
func Acceptor(l net.Listener, settle time.Duration) (a net.Listener, finish func()) {
	own := newAcceptor(l, settle)
	return own, own.finish
}
