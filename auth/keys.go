package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	fetchTimeout  = 5 * time.Second
	fetchCooldown = 10 * time.Second // between fetches for unknown keys, and after a failed one if keys are known
	coldCooldown  = time.Second      // after a failed fetch if no key is known
	maxStale      = 24 * time.Hour
	maxKeySet     = 1 << 20
	maxKeys       = 128
)

// keySource keeps the issuer's keys. It fetches because a token needs it, never by itself.
type keySource struct {
	url    *url.URL
	client *http.Client
	logger *slog.Logger

	mu      sync.Mutex
	keys    []publicKey // nil until the first fetch succeeded
	version uint64      // of keys: grows with each fetch
	fetched time.Time   // when it did last
	expires time.Time   // when they should be fetched again
	failed  time.Time   // the last fetch, if it failed
	unknown time.Time   // the last fetch for an unknown key
	flight  chan struct{}
}

type publicKey struct {
	id  string
	alg jose.SignatureAlgorithm
	key any
}

func newKeySource(o *Options) (*keySource, error) {
	u, err := url.Parse(o.JWKSURL)
	if err != nil {
		return nil, errors.New("auth: JWKSURL is not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case u.Scheme == "file" && u.Host == "" && u.Path+u.Opaque != "":
	case u.Scheme == "https" && u.Host != "":
	case u.Scheme == "http" && loopback:
	default:
		return nil, fmt.Errorf("auth: JWKSURL %s is neither https, nor http on a loopback address, nor a file", u.Redacted())
	}
	s := &keySource{url: u, client: o.Client, logger: o.Logger}
	if s.client == nil {
		s.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	return s, nil
}

// current returns the version of the keys, having a fetch begin if they are due, and 0 if there are none.
func (s *keySource) current() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(time.Now())
	if s.keys == nil {
		return 0
	}
	return s.version
}

// age needs s.mu. It drops keys that are too old and has those that are due fetched, while they serve on.
func (s *keySource) age(now time.Time) {
	if s.keys != nil && now.Sub(s.fetched) > maxStale {
		s.keys = nil
	}
	if s.keys != nil && now.After(s.expires) && now.Sub(s.failed) >= fetchCooldown {
		s.fetch()
	}
}

// find returns the keys that may have signed a token with this kid and alg, at least one unless it fails, and
// their version.
func (s *keySource) find(ctx context.Context, kid string, alg jose.SignatureAlgorithm) ([]any, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(time.Now())
	found := s.match(kid, alg)
	if wait := s.missing(len(found) > 0, time.Now()); wait != nil {
		s.mu.Unlock()
		var err error
		select {
		case <-wait:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return nil, 0, err
		}
		found = s.match(kid, alg)
	}
	switch {
	case len(found) > 0:
		return found, s.version, nil
	case s.keys == nil:
		return nil, 0, ErrKeysUnavailable
	}
	return nil, 0, invalid("the issuer has no such key")
}

// missing needs s.mu. It returns the fetch to wait for, if any, because the key sought is not there.
func (s *keySource) missing(found bool, now time.Time) chan struct{} {
	switch {
	case found:
		return nil
	case s.keys == nil && now.Sub(s.failed) >= coldCooldown:
		return s.fetch()
	case s.keys != nil && now.Sub(s.unknown) >= fetchCooldown:
		s.unknown = now
		return s.fetch()
	}
	return s.flight
}

// match needs s.mu. A token without a kid fits a set with one key of its algorithm.
func (s *keySource) match(kid string, alg jose.SignatureAlgorithm) (found []any) {
	for _, k := range s.keys {
		if k.alg == alg && (k.id == kid || kid == "") {
			found = append(found, k.key)
		}
	}
	if len(found) > 1 && kid == "" {
		return nil
	}
	return found[:min(len(found), 4)]
}

// fetch starts a fetch, unless one is under way, and returns what is closed at its end. It needs s.mu. The
// fetch belongs to no caller: the first one's cancellation is not the others'.
func (s *keySource) fetch() chan struct{} {
	if s.flight != nil {
		return s.flight
	}
	done := make(chan struct{})
	s.flight = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		keys, ttl, err := s.load(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		defer close(done)
		s.flight = nil
		if err != nil {
			s.failed = time.Now()
			s.logger.Warn("fetching the issuer's keys failed", "url", s.url.Redacted(), "error", err)
			return
		}
		s.keys, s.fetched, s.failed = keys, time.Now(), time.Time{}
		s.expires = s.fetched.Add(ttl)
		s.version++
	}()
	return done
}

func (s *keySource) load(ctx context.Context) ([]publicKey, time.Duration, error) {
	body, ttl, err := s.open(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxKeySet+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxKeySet {
		return nil, 0, errors.New("the key set is larger than 1 MiB")
	}
	keys, err := parseKeySet(data)
	return keys, ttl, err
}

func (s *keySource) open(ctx context.Context) (io.ReadCloser, time.Duration, error) {
	if s.url.Scheme == "file" {
		f, err := os.Open(s.url.Path + s.url.Opaque)
		return f, time.Minute, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, 0, fmt.Errorf("the issuer answered %s", res.Status)
	}
	return res.Body, lifetime(res.Header.Get("Cache-Control")), nil
}

// lifetime is max-age between a minute and an hour, or five minutes.
func lifetime(cacheControl string) time.Duration {
	for part := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if n, err := strconv.Atoi(value); err == nil && strings.EqualFold(name, "max-age") {
			return time.Duration(min(max(n, 60), 3600)) * time.Second
		}
	}
	return 5 * time.Minute
}

// parseKeySet takes the public signature keys it understands and skips the rest.
func parseKeySet(data []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the answer is not a key set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	keys := make([]publicKey, 0, len(set.Keys))
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.Use != "" && k.Use != "sig" {
			continue
		}
		alg := algorithmOf(k.Key)
		if alg == "" || k.Algorithm != "" && k.Algorithm != string(alg) {
			continue
		}
		keys = append(keys, publicKey{id: k.KeyID, alg: alg, key: k.Key})
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no public key for ES256, RS256 or EdDSA")
	}
	return keys, nil
}

// algorithmOf pins a key to one algorithm; "" means that it is not to be used: private, symmetric, weak.
func algorithmOf(key any) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n >= 2048 && n <= 8192 {
			return jose.RS256
		}
	case ed25519.PublicKey:
		return jose.EdDSA
	}
	return ""
}
