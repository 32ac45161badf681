// Package local guards the loopback addresses of the platform against web pages
// that try to reach them.
package local

import (
	"net"
	"net/http"
	"strings"
)

// Guard refuses requests whose Host is not a name of this machine, as a page
// that rebinds its own name sends them, and those that another origin's page
// sends and that could change something.
func Guard(next http.Handler) http.Handler {
	safe := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Host(r.Host) {
			http.Error(w, "this address is only for its own machine: Host "+r.Host+" is not", http.StatusForbidden)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !Host(strings.TrimPrefix(strings.TrimPrefix(origin, "http://"), "https://")) {
			http.Error(w, "pages of other origins may not read this", http.StatusForbidden)
			return
		}
		safe.ServeHTTP(w, r)
	})
}

// Host reports whether a Host header names this machine.
func Host(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
