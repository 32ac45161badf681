package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/cleave-go/cleave/graphql"
	"github.com/cleave-go/cleave/rpi"
)

// checkHost refuses names that somebody else's DNS may have pointed at a loopback listener.
func (g *gateway) checkHost(r *http.Request) *graphql.Error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return nil // not behind a listener
	}
	addr, err := netip.ParseAddrPort(local.String())
	if err != nil || !addr.Addr().Unmap().IsLoopback() {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".cleave") || slices.Contains(g.options.Hosts, host) {
		return nil
	}
	return &graphql.Error{Code: graphql.BadUserInput, Field: "Host", Message: "this gateway does not answer to that name"}
}

// cors answers the preflights of allowed origins and lets their pages read
// answers; done is true when the request is answered. Other origins get no header at all.
func (g *gateway) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	if len(g.origins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !g.origins[origin] {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", rpi.ConsistencyHeader+", Retry-After, X-Request-Id")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Traceparent, X-Request-Id, "+rpi.ConsistencyHeader)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// address is the caller's, without the port; of IPv6 the network of one customer.
func address(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
