package service

import (
	"context"
	"net/http"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/rpi"
)

// protect returns what stands before a service's calls.
func (p *process) protect(h *Host) ([]connect.ServerInterceptor, error) {
	var all []connect.ServerInterceptor
	if p.settings.peers != nil {
		all = append(all, p.peersCall(h))
	}
	if most := p.settings.maxCalls; most > 0 {
		l, err := limit.NewAdaptive(&limit.AdaptiveOptions{Min: min(10, most), Max: most})
		if err != nil {
			return nil, err
		}
		stop := rpi.ObserveLimit(p.meter, h.name, l)
		p.closers = append(p.closers, func() error { stop(); return nil })
		all = append(all, rpi.Shed(l, nil))
	}
	return all, nil
}

// secured reports whether a listener speaks mutual TLS. That of an edge is for
// strangers.
func (p *process) secured(hosts []*Host) bool {
	return p.tls != nil && !edge(hosts)
}

// peersCall refuses the calls of processes that are not named. Whether h is an edge
// is known once the process is composed.
func (p *process) peersCall(h *Host) connect.ServerInterceptor {
	allow := rpi.AllowPeers(p.settings.peers...)
	return func(next connect.ServerFunc) connect.ServerFunc {
		allowed := allow(next)
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if h.edge != "" {
				return next(ctx, spec, stream)
			}
			return allowed(ctx, spec, stream)
		}
	}
}

// peersAsk is peersCall for plain HTTP.
func (p *process) peersAsk(h *Host, next http.Handler) http.Handler {
	if p.settings.peers == nil || h.edge != "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rpi.PeerAllowed(r.Context(), p.settings.peers...) {
			http.Error(w, "this service does not serve the process that asked", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
