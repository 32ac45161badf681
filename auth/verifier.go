package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Options tells a Verifier whom to believe.
type Options struct {
	// JWKSURL is where the issuer's keys are: https, http on a loopback address, or file. Required.
	JWKSURL string
	// Issuer is the exact iss of every token. Required.
	Issuer string
	// Audience must be among a token's aud. Required.
	Audience string
	// Leeway is by how much clocks may differ. Default: 10 s; negative: none.
	Leeway time.Duration
	// Client fetches the keys. Default: one that follows no redirects.
	Client *http.Client
	// Logger gets failed fetches. Default: slog.Default().
	Logger *slog.Logger
}

// Verifier decides whether a token is to be believed. Make it with [NewVerifier].
type Verifier struct {
	issuer, audience string
	leeway           time.Duration
	keys             *keySource
	cache            cache
}

// NewVerifier checks o and fetches nothing yet.
func NewVerifier(o *Options) (*Verifier, error) {
	if o == nil {
		o = &Options{}
	}
	for _, required := range []struct{ name, value string }{
		{"JWKSURL", o.JWKSURL}, {"Issuer", o.Issuer}, {"Audience", o.Audience},
	} {
		if required.value == "" {
			return nil, fmt.Errorf("auth: %s is empty: nobody's tokens could be told from anybody's", required.name)
		}
	}
	leeway := o.Leeway
	if leeway == 0 {
		leeway = 10 * time.Second
	}
	keys, err := newKeySource(o)
	if err != nil {
		return nil, err
	}
	return &Verifier{issuer: o.Issuer, audience: o.Audience, leeway: max(leeway, 0), keys: keys}, nil
}

const (
	maxToken   = 8 << 10
	maxSubject = 256
	maxRoles   = 64
	lastExpiry = 253402300799 // the end of the year 9999
)

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}

func invalid(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }

// Verify returns the caller that raw stands for. The error wraps [ErrNoToken], [ErrInvalid], [ErrExpired] or
// [ErrKeysUnavailable], or is ctx's.
func (v *Verifier) Verify(ctx context.Context, raw string) (Principal, error) {
	if raw == "" {
		return Principal{}, ErrNoToken
	}
	if len(raw) > maxToken {
		return Principal{}, invalid("it is longer than 8 KiB")
	}
	sum := sha256.Sum256([]byte(raw))
	t, ok := v.cache.get(sum, v.keys.current())
	if !ok {
		var generation uint64
		var err error
		if t, generation, err = v.verify(ctx, raw); err != nil {
			return Principal{}, err
		}
		v.cache.put(sum, generation, t)
	}
	if !t.expires.After(time.Now().Add(-v.leeway)) {
		return Principal{}, ErrExpired
	}
	t.p.Roles = slices.Clone(t.p.Roles)
	return t.p, nil
}

func (v *Verifier) verify(ctx context.Context, raw string) (verified, uint64, error) {
	sig, err := parse(raw)
	if err != nil {
		return verified{}, 0, err
	}
	h := sig.Signatures[0].Protected
	keys, generation, err := v.keys.find(ctx, h.KeyID, jose.SignatureAlgorithm(h.Algorithm))
	if err != nil {
		return verified{}, 0, err
	}
	for _, k := range keys {
		if payload, err := sig.Verify(k); err == nil {
			t, err := v.check(payload)
			return t, generation, err
		}
	}
	return verified{}, 0, invalid("its signature does not match")
}

// parse accepts the canonical compact form only: a second spelling of a token would get around lists and caches.
func parse(raw string) (*jose.JSONWebSignature, error) {
	if strings.Count(raw, ".") != 2 {
		return nil, invalid("it is not three parts with dots between")
	}
	for part := range strings.SplitSeq(raw, ".") {
		if part == "" || strings.ContainsAny(part, "\r\n") {
			return nil, invalid("a part is empty or holds a line break")
		}
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, invalid("a part is not base64url")
		}
	}
	sig, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil || len(sig.Signatures) != 1 {
		return nil, invalid("it is not a JWS signed with ES256, RS256 or EdDSA")
	}
	h := sig.Signatures[0].Protected
	if h.JSONWebKey != nil {
		return nil, invalid("it brings its own key")
	}
	for _, name := range []jose.HeaderKey{"crit", "b64", "zip", "jku", "x5u", "x5c"} {
		if _, ok := h.ExtraHeaders[name]; ok {
			return nil, invalid("it has the header " + string(name))
		}
	}
	switch typ, _ := h.ExtraHeaders[jose.HeaderType].(string); strings.ToLower(typ) {
	case "at+jwt", "application/at+jwt", "jwt":
		return sig, nil
	case "":
		if h.ExtraHeaders[jose.HeaderType] == nil {
			return sig, nil
		}
	}
	return nil, invalid("its type is not an access token's")
}

type claims struct {
	jwt.Claims
	Role  string   `json:"role"`
	Roles []string `json:"roles"`
}

func (v *Verifier) check(payload []byte) (verified, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil { // this fork of encoding/json refuses duplicate names
		return verified{}, invalid("its claims cannot be read")
	}
	if c.Role != "" {
		c.Roles = append(c.Roles, c.Role)
	}
	latest := time.Now().Add(v.leeway)
	switch {
	case c.Issuer != v.issuer:
		return verified{}, invalid("another issuer made it")
	case !c.Audience.Contains(v.audience):
		return verified{}, invalid("it is meant for another audience")
	case !plain(c.Subject):
		return verified{}, invalid("it has no subject, or one that is no plain text of up to 256 bytes")
	case len(c.Roles) > maxRoles:
		return verified{}, invalid("it has more than 64 roles")
	case c.Expiry == nil || *c.Expiry > lastExpiry:
		return verified{}, invalid("it does not say when it expires")
	case after(c.NotBefore, latest) || after(c.IssuedAt, latest):
		return verified{}, invalid("it is not valid yet")
	}
	return verified{Principal{Subject: c.Subject, Roles: c.Roles}, c.Expiry.Time()}, nil
}

func after(d *jwt.NumericDate, t time.Time) bool {
	return d != nil && (*d > lastExpiry || d.Time().After(t))
}

func plain(s string) bool {
	return s != "" && len(s) <= maxSubject && !strings.ContainsFunc(s, unicode.IsControl)
}

// IsUnauthenticated reports whether err is the caller's to mend by bringing a valid token.
func IsUnauthenticated(err error) bool {
	return errors.Is(err, ErrNoToken) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrExpired)
}
