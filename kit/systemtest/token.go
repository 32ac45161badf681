package systemtest

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/auth/authtest"
)

const (
	issuerName = "https://issuer.test"
	audience   = "systemtest"
)

// issuer mints tokens and publishes its keys.
type issuer struct {
	*authtest.Issuer
	server *httptest.Server
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	own, err := authtest.New(issuerName, audience)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(own)
	t.Cleanup(server.Close)
	return &issuer{Issuer: own, server: server}
}

func (i *issuer) url() string { return i.server.URL + "/jwks.json" }

// Token returns a token for sub from the issuer that the system trusts, valid
// for an hour.
func (s *System) Token(sub string, roles ...string) string {
	s.t.Helper()
	return s.TokenFor(time.Hour, sub, roles...)
}

// TokenFor is Token with a validity of its own; below zero it has expired.
func (s *System) TokenFor(d time.Duration, sub string, roles ...string) string {
	s.t.Helper()
	raw, err := s.issuer.Token(sub, d, roles...)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

// As returns a context whose calls through Client are sub's.
func (s *System) As(ctx context.Context, sub string, roles ...string) context.Context {
	s.t.Helper()
	return auth.With(ctx, auth.Principal{Subject: sub, Roles: roles}, s.Token(sub, roles...))
}

func listenVariable(name string) string {
	return "CLEAVE_LISTEN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
