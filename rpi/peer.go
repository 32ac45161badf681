package rpi

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
)

// ReasonPeerNotAllowed is the reason of a call from a process that may not make
// it, whoever it is made for.
const ReasonPeerNotAllowed = "PEER_NOT_ALLOWED"

type peerKey struct{}

// IdentifyPeers has the handlers behind next know who is at the other end of a
// connection that TLS.Server secures.
func IdentifyPeers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, r.TLS.PeerCertificates[0]))
		}
		next.ServeHTTP(w, r)
	})
}

// PeerOf returns the verified identities of the process that a request came
// from: its SPIFFE ID, then its DNS names. There are none if the connection is not
// mutually authenticated, or the caller is in the same process.
func PeerOf(ctx context.Context) []string {
	leaf, ok := ctx.Value(peerKey{}).(*x509.Certificate)
	if !ok {
		return nil
	}
	return identities(leaf)
}

// PeerAllowed reports whether a request came from one of the identities given.
func PeerAllowed(ctx context.Context, allowed ...string) bool {
	return slices.ContainsFunc(PeerOf(ctx), func(id string) bool { return slices.Contains(allowed, id) })
}

// AllowPeers returns an interceptor that refuses, with permission_denied, every
// call that does not come from one of the identities given or from the same
// process.
func AllowPeers(allowed ...string) connect.ServerInterceptor {
	allowed = slices.Clone(allowed)
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			info, ok := connect.CallInfoForServerContext(ctx)
			if here := ok && info.Protocol == protocolLocal; !here && !PeerAllowed(ctx, allowed...) {
				return Refuse(connect.CodePermissionDenied, ReasonPeerNotAllowed, "this service does not serve the process that called")
			}
			return next(ctx, spec, stream)
		}
	}
}

func identities(leaf *x509.Certificate) []string {
	var all []string
	for _, u := range leaf.URIs {
		if u.Scheme == "spiffe" {
			all = append(all, u.String())
		}
	}
	for _, name := range leaf.DNSNames {
		if !strings.ContainsAny(name, ":/") { // which would pass for a SPIFFE ID
			all = append(all, name)
		}
	}
	return all
}

// names reports whether a certificate is that of a service.
func names(leaf *x509.Certificate, service string) bool {
	return leaf.VerifyHostname(service) == nil || slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool {
		return u.Scheme == "spiffe" && path.Base(u.Path) == service
	})
}
