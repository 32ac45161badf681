package auth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/auth/authtest"
)

// origin is an issuer's web server without a network.
type origin struct {
	issuer  *authtest.Issuer
	fetches atomic.Int64
	down    atomic.Bool
	body    atomic.Pointer[[]byte] // instead of the issuer's keys
	delay   time.Duration
}

func (o *origin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.fetches.Add(1)
	select {
	case <-time.After(o.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if o.down.Load() {
		return nil, errors.New("connection refused")
	}
	set, err := o.issuer.JWKS()
	if b := o.body.Load(); b != nil {
		set = *b
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(set))}, err
}

func newOrigin(t *testing.T) (*origin, *auth.Verifier) {
	o := &origin{issuer: newIssuer(t)}
	return o, newVerifier(t, &auth.Options{
		JWKSURL: "https://issuer.example/jwks", Client: &http.Client{Transport: o},
		Logger: slog.New(slog.DiscardHandler),
	})
}

func (o *origin) token() string { return must(o.issuer.Token("ann", 100*time.Hour)) }

func wantFetches(t *testing.T, o *origin, want int64) {
	t.Helper()
	if got := o.fetches.Load(); got != want {
		t.Fatalf("%d fetches, want %d", got, want)
	}
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, o *origin, v *auth.Verifier)
	}{
		{"a new key is picked up by the first token signed with it", func(t *testing.T, o *origin, v *auth.Verifier) {
			for range 2 {
				if _, err := v.Verify(t.Context(), o.token()); err != nil {
					t.Fatal(err)
				}
				_ = o.issuer.Rotate()
				if _, err := v.Verify(t.Context(), o.token()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
			}
			wantFetches(t, o, 3)
		}},
		{"10,000 tokens with unknown keys cost one fetch in 10 s", func(t *testing.T, o *origin, v *auth.Verifier) {
			good := o.token()
			_, _ = v.Verify(t.Context(), good)
			eve := newIssuer(t)
			for range 50 {
				_ = eve.Rotate()
			}
			bad := must(eve.Token("ann", time.Hour))
			for range 10_000 {
				if _, err := v.Verify(t.Context(), bad); !errors.Is(err, auth.ErrInvalid) {
					t.Fatal(err)
				}
			}
			wantFetches(t, o, 2)
			if _, err := v.Verify(t.Context(), good); err != nil {
				t.Fatal(err)
			}
		}},
		{"concurrent callers share a fetch and none inherits another's cancel", func(t *testing.T, o *origin, v *auth.Verifier) {
			o.delay = time.Second
			first, cancel := context.WithCancel(t.Context())
			token := o.token()
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := v.Verify(first, token); err != context.Canceled {
					t.Error(err)
				}
			})
			synctest.Wait()
			for range 20 {
				wg.Go(func() {
					if _, err := v.Verify(t.Context(), token); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			cancel()
			wg.Wait()
			wantFetches(t, o, 1)
		}},
		{"known keys serve while the issuer is away, for a day", func(t *testing.T, o *origin, v *auth.Verifier) {
			token := o.token()
			_, _ = v.Verify(t.Context(), token)
			o.down.Store(true)
			for range 23 {
				time.Sleep(time.Hour)
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			time.Sleep(2 * time.Hour)
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrKeysUnavailable) {
				t.Fatal(err)
			}
		}},
		{"without any key the answer is that the issuer is away", func(t *testing.T, o *origin, v *auth.Verifier) {
			o.down.Store(true)
			for range 100 {
				_, err := v.Verify(t.Context(), o.token())
				if !errors.Is(err, auth.ErrKeysUnavailable) || auth.IsUnauthenticated(err) {
					t.Fatal(err)
				}
			}
			wantFetches(t, o, 1)
			o.down.Store(false)
			time.Sleep(time.Second)
			if _, err := v.Verify(t.Context(), o.token()); err != nil {
				t.Fatal(err)
			}
		}},
		{"an issuer that hangs costs a caller 5 s at most", func(t *testing.T, o *origin, v *auth.Verifier) {
			o.delay = time.Hour
			begin := time.Now()
			if _, err := v.Verify(t.Context(), o.token()); !errors.Is(err, auth.ErrKeysUnavailable) {
				t.Fatal(err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Fatalf("took %v", d)
			}
		}},
		{"a broken key set does not replace a good one", func(t *testing.T, o *origin, v *auth.Verifier) {
			token := o.token()
			_, _ = v.Verify(t.Context(), token)
			private := must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{o.issuer.Key()}}))
			weak := must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
				KeyID: "weak", Key: &must(rsa.GenerateKey(rand.Reader, 1024)).PublicKey}}}))
			for _, set := range []string{
				"", "{", "[]", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, string(private), string(weak),
				`{"keys":"` + string(bytes.Repeat([]byte("a"), 2<<20)) + `"}`,
			} {
				b := []byte(set)
				o.body.Store(&b)
				time.Sleep(10 * time.Minute)
				before := o.fetches.Load()
				for range 2 {
					if _, err := v.Verify(t.Context(), token); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				wantFetches(t, o, before+1)
			}
		}},
		{"a token verified before is refused once its key is gone or its time is over", func(t *testing.T, o *origin, v *auth.Verifier) {
			withdrawn, short := o.token(), must(o.issuer.Token("ann", time.Minute))
			for range 2 {
				for _, token := range []string{withdrawn, short} {
					if _, err := v.Verify(t.Context(), token); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(time.Minute + 10*time.Second)
			if _, err := v.Verify(t.Context(), short); !errors.Is(err, auth.ErrExpired) {
				t.Fatal(err)
			}
			_ = o.issuer.Rotate()
			time.Sleep(5 * time.Minute)
			_, _ = v.Verify(t.Context(), withdrawn) // the keys are due: this has them fetched
			synctest.Wait()
			if _, err := v.Verify(t.Context(), withdrawn); !errors.Is(err, auth.ErrInvalid) {
				t.Fatal(err)
			}
		}},
		{"a Principal is the caller's own", func(t *testing.T, o *origin, v *auth.Verifier) {
			token := must(o.issuer.Token("ann", time.Hour, "consumer"))
			for range 3 {
				p, err := v.Verify(t.Context(), token)
				if err != nil || !p.Has("consumer") {
					t.Fatal(p, err)
				}
				p.Roles[0] = "admin"
			}
		}},
		{"one key that is not understood does not spoil the others", func(t *testing.T, o *origin, v *auth.Verifier) {
			set := bytes.Replace(must(o.issuer.JWKS()), []byte(`[`), []byte(`[{"kty":"new"},17,`), 1)
			o.body.Store(&set)
			if _, err := v.Verify(t.Context(), o.token()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, v := newOrigin(t)
				tt.run(t, o, v)
			})
		})
	}
}
