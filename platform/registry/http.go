package registry

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/discovery/registryapi"
)

// Handler serves the Connect interface of the store, and /livez. Changes need the token unless it is
// empty. Requests to a loopback address must name a loopback host.
func (s *Store) Handler(token string) http.Handler {
	server := connect.NewServer(authorize(token))
	registryapi.RegisterRegistryServiceHandler(server, api{s})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, connecthttp.WithReadMaxBytes(1<<20), connecthttp.WithCompressMinBytes(4<<10))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	return checkHost(http.NewCrossOriginProtection().Handler(mux))
}

// checkHost refuses requests to a loopback address that name another host: a web page whose own name was
// made to resolve to loopback would send them.
func checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if listening, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			own, err := netip.ParseAddrPort(listening.String())
			if err == nil && own.Addr().Unmap().IsLoopback() && !loopback(r.Host) {
				http.Error(w, "this address answers only requests to the local machine", http.StatusMisdirectedRequest)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
