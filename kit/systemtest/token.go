package systemtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	issuerName = "systemtest"
	audience   = "cleave"
)

// issuer signs tokens and publishes its key.
type issuer struct {
	t      testing.TB
	server *httptest.Server
	signer jose.Signer
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "test"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "test", Algorithm: string(jose.ES256), Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(keys) //nolint:errcheck // the reader has gone
	}))
	t.Cleanup(server.Close)
	return &issuer{t: t, server: server, signer: signer}
}

func (i *issuer) url() string { return i.server.URL + "/jwks.json" }

// Token returns a token of the system's issuer for sub, valid for an hour.
func (s *System) Token(sub string, roles ...string) string {
	s.t.Helper()
	return s.TokenUntil(time.Now().Add(time.Hour), sub, roles...)
}

// TokenUntil is Token with an end of its own, which may have passed.
func (s *System) TokenUntil(end time.Time, sub string, roles ...string) string {
	s.t.Helper()
	claims := jwt.Claims{
		Subject: sub, Issuer: issuerName, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(time.Now().Add(-time.Minute)), Expiry: jwt.NewNumericDate(end),
	}
	raw, err := jwt.Signed(s.issuer.signer).Claims(claims).Claims(map[string]any{"roles": roles}).Serialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

func listenVariable(name string) string {
	return "CLEAVE_LISTEN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
