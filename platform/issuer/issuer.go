package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/cleave-go/cleave/platform/internal/local"
)

// Lifetimes of a token.
const (
	DefaultTTL = 24 * time.Hour
	MaxTTL     = 30 * 24 * time.Hour
)

// Issuer holds the key. It is safe for concurrent use.
type Issuer struct {
	url, audience string
	signer        jose.Signer
	public        jose.JSONWebKey
}

// Open reads the key file, or makes it. The url is what tokens name as their
// issuer, the audience whom they are for.
func Open(file, url, audience string) (*Issuer, error) {
	key, err := readKey(file)
	if errors.Is(err, os.ErrNotExist) {
		if err = makeKey(file); err == nil {
			key, err = readKey(file)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("development issuer: %w", err)
	}
	public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(sum[:12])
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: public.KeyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	return &Issuer{url: url, audience: audience, signer: signer, public: public}, nil
}

var word = regexp.MustCompile(`^[!-~]{1,128}$`)

// Sign returns a token for the subject. A ttl of 0 means [DefaultTTL]; a negative
// one makes a token that has expired, to try what refuses it. A single
// role is the claim "role", and the claim "roles" lists them all.
func (i *Issuer) Sign(subject string, roles []string, ttl time.Duration) (token string, expires time.Time, err error) {
	if ttl == 0 {
		ttl = DefaultTTL
	}
	switch {
	case !word.MatchString(subject):
		return "", expires, errors.New("subject: 1 to 128 visible ASCII characters are needed")
	case ttl.Abs() < time.Second || ttl.Abs() > MaxTTL:
		return "", expires, fmt.Errorf("lifetime %s: it must be from 1s to %s, either way", ttl, MaxTTL)
	case len(roles) > 16:
		return "", expires, fmt.Errorf("%d roles: at most 16", len(roles))
	}
	for _, r := range roles {
		if !word.MatchString(r) {
			return "", expires, fmt.Errorf("role %q: 1 to 128 visible ASCII characters are needed", r)
		}
	}
	now := time.Now().Truncate(time.Second)
	expires = now.Add(ttl)
	claims := map[string]any{
		"iss": i.url, "aud": i.audience, "sub": subject,
		"iat": jwt.NewNumericDate(now), "nbf": jwt.NewNumericDate(now), "exp": jwt.NewNumericDate(expires),
	}
	if len(roles) > 0 {
		claims["role"], claims["roles"] = roles[0], roles
	}
	if len(roles) > 1 {
		delete(claims, "role")
	}
	token, err = jwt.Signed(i.signer).Claims(claims).Serialize()
	return token, expires, err
}

// Handler serves /jwks.json and /.well-known/openid-configuration.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	serve := func(path string, v any) {
		body, _ := json.Marshal(v)
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = w.Write(body)
		})
	}
	serve("/jwks.json", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.public}})
	serve("/.well-known/openid-configuration", map[string]any{
		"issuer": i.url, "jwks_uri": i.url + "/jwks.json",
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"response_types_supported":              []string{}, "subject_types_supported": []string{"public"},
	})
	return local.Guard(mux)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others; chmod 600 it, or remove it to have a new key", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key; remove it to have a new one", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds no P-256 key; remove it to have a new one", file)
	}
	return ec, nil
}

// makeKey writes a new key as a whole, so that a reader never sees a part of it.
func makeKey(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(pem.Encode(tmp, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, os.ErrExist) {
		return err // another process's key is as good
	}
	return nil
}
