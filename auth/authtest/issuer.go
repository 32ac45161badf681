// Package authtest is a token issuer for tests and development: it mints access tokens and serves its keys.
package authtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer signs with an ES256 key of its own. As an http.Handler it serves its JWKS. All methods may be
// used concurrently.
type Issuer struct {
	name, audience string

	mu  sync.Mutex
	n   int
	key *ecdsa.PrivateKey
}

// New returns an issuer of tokens with this iss and aud.
func New(issuer, audience string) (*Issuer, error) {
	i := &Issuer{name: issuer, audience: audience}
	return i, i.Rotate()
}

// Rotate replaces the key: tokens minted before lose their signature.
func (i *Issuer) Rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = key
	i.n++
	return nil
}

// Token mints a token of subject for ttl; a negative ttl makes one that has expired.
func (i *Issuer) Token(subject string, ttl time.Duration, roles ...string) (string, error) {
	now := time.Now()
	return i.Sign("at+jwt", map[string]any{
		"iss": i.name, "aud": i.audience, "sub": subject, "roles": roles,
		"iat": now.Add(min(ttl, 0)).Unix(), "exp": now.Add(ttl).Unix(),
	})
}

// Sign signs any claims, for tests of what must be refused.
func (i *Issuer) Sign(typ string, claims any) (string, error) {
	key := i.Key()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// Key returns the private key in use.
func (i *Issuer) Key() jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return jose.JSONWebKey{Key: i.key, KeyID: "key-" + strconv.Itoa(i.n), Algorithm: string(jose.ES256), Use: "sig"}
}

// JWKS returns the public key in use as a JSON key set.
func (i *Issuer) JWKS() ([]byte, error) {
	key := i.Key()
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
}

// ServeHTTP answers every GET with the JWKS.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	set, err := i.JWKS()
	if err != nil {
		http.Error(w, "no keys", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(set)
}
