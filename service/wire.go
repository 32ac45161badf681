package service

import (
	"net"

	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// fastWire returns what takes the connections of other services' clients out of
// a listener, nil if all of it is HTTP: at an edge, where strangers call, with
// TLS, and if the environment says so.
//
// Calls over it run through the same chain as over HTTP, from rpi.NewServer. Of what
// the listener adds, foreign Origins cannot come this way: browsers speak HTTP/2
// over TLS only, and send no setting of ours.
func (p *process) fastWire(hosts []*Host, addr net.Addr) *grpcwire.Server {
	if p.settings.wire == wireConnect || edge(hosts) || p.secured(hosts) {
		return nil
	}
	options := &grpcwire.ServerOptions{MaxMessage: rpi.MaxMessage, Logger: p.logger}
	if loopback(addr) {
		options.Authority = localName
	}
	fast := grpcwire.NewServer(hosts[0].server, options)
	for _, h := range hosts[1:] {
		fast.Add(h.server)
	}
	return fast
}

// The values of CLEAVE_WIRE.
const (
	wireGRPC    = "grpc"
	wireConnect = "connect"
)
