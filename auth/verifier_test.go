package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/auth/authtest"
)

const (
	issuerName = "https://issuer.example"
	audience   = "ftgo"
)

func newIssuer(t testing.TB) *authtest.Issuer {
	t.Helper()
	i, err := authtest.New(issuerName, audience)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func newVerifier(t testing.TB, o *auth.Options) *auth.Verifier {
	t.Helper()
	o.Issuer, o.Audience = issuerName, audience
	v, err := auth.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func serve(t testing.TB, i *authtest.Issuer) *auth.Verifier {
	t.Helper()
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	return newVerifier(t, &auth.Options{JWKSURL: server.URL})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAGoodTokenNamesItsCaller(t *testing.T) {
	issuer := newIssuer(t)
	v := serve(t, issuer)
	p, err := v.Verify(t.Context(), must(issuer.Token("ann", time.Minute, "consumer", "admin")))
	if err != nil || p.Subject != "ann" || !slices.Equal(p.Roles, []string{"consumer", "admin"}) {
		t.Fatalf("got %+v, %v", p, err)
	}
	raw := must(issuer.Sign("JWT", map[string]any{
		"iss": issuerName, "aud": []string{"other", audience}, "sub": "bob", "role": "courier",
		"exp": float64(time.Now().Add(time.Minute).Unix()) + 0.5,
	}))
	if p, err = v.Verify(t.Context(), raw); err != nil || !p.Has("courier") || p.Has("admin") {
		t.Fatalf("got %+v, %v", p, err)
	}
}

func TestKeysMayComeFromAFile(t *testing.T) {
	issuer := newIssuer(t)
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, must(issuer.JWKS()), 0o600); err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, &auth.Options{JWKSURL: "file:" + path})
	if _, err := v.Verify(t.Context(), must(issuer.Token("ann", time.Minute))); err != nil {
		t.Fatal(err)
	}
}

// forge signs claims with any algorithm, key and headers.
func forge(alg jose.SignatureAlgorithm, key any, headers map[jose.HeaderKey]any, claims any) string {
	opts := &jose.SignerOptions{ExtraHeaders: headers}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts))
	return must(jwt.Signed(signer).Claims(claims).Serialize())
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestForgedAndMalformedTokensAreRefused(t *testing.T) {
	issuer := newIssuer(t)
	v := serve(t, issuer)
	now := time.Now()
	good := func(change ...any) map[string]any {
		c := map[string]any{"iss": issuerName, "aud": audience, "sub": "ann", "exp": now.Add(time.Minute).Unix()}
		for i := 0; i < len(change); i += 2 {
			c[change[i].(string)] = change[i+1]
			if change[i+1] == nil {
				delete(c, change[i].(string))
			}
		}
		return c
	}
	token := must(issuer.Token("ann", time.Minute))
	parts := strings.Split(token, ".")
	sign := func(change ...any) string { return must(issuer.Sign("JWT", good(change...))) }
	own := issuer.Key()
	private := own.Key.(*ecdsa.PrivateKey)
	stranger := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	strangerRSA := must(rsa.GenerateKey(rand.Reader, 2048))
	public := must(x509.MarshalPKIXPublicKey(&private.PublicKey))
	kid := map[jose.HeaderKey]any{"kid": own.KeyID}
	signed := func(claims string) string { // any bytes as claims
		signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: own}, nil))
		return must(must(signer.Sign([]byte(claims))).CompactSerialize())
	}

	for _, tt := range []struct{ name, raw string }{
		{"no structure", "token"},
		{"two parts", parts[0] + "." + parts[1]},
		{"many dots", strings.Repeat(".", 8000)},
		{"longer than 8 KiB", token + strings.Repeat("A", 8192)},
		{"not base64", "!." + parts[1] + "." + parts[2]},
		{"a line break within", parts[0] + ".\n" + parts[1] + "." + parts[2]},
		{"padded base64", parts[0] + "." + parts[1] + "=." + parts[2]},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"a null signature", parts[0] + "." + parts[1] + "." + b64("\x00")},
		{"r = s = 0", parts[0] + "." + parts[1] + "." + b64(strings.Repeat("\x00", 64))},
		{"another token's claims", parts[0] + "." + strings.Split(sign("sub", "eve"), ".")[1] + "." + parts[2]},
		{"alg none", b64(`{"alg":"none"}`) + "." + parts[1] + "."},
		{"alg none with a signature", b64(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2]},
		{"alg nOnE", b64(`{"alg":"nOnE"}`) + "." + parts[1] + "." + parts[2]},
		{"no alg", b64(`{"kid":"key-1"}`) + "." + parts[1] + "." + parts[2]},
		{"alg twice", b64(`{"alg":"ES256","alg":"none","kid":"key-1"}`) + "." + parts[1] + "." + parts[2]},
		{"HS256 with the public key as secret", forge(jose.HS256, public, kid, good())},
		{"HS256 with an empty password", b64(`{"alg":"HS256","kid":"key-1"}`) + "." + parts[1] + "." + parts[2]},
		{"an algorithm that does not fit the key", forge(jose.RS256, strangerRSA, kid, good())},
		{"a stranger's key under the right kid", forge(jose.ES256, stranger, kid, good())},
		{"a stranger's key under no kid", forge(jose.ES256, stranger, nil, good())},
		{"a key of its own", forge(jose.ES256, stranger, map[jose.HeaderKey]any{
			"jwk": jose.JSONWebKey{Key: &stranger.PublicKey}}, good())},
		{"a key address of its own", forge(jose.ES256, private, map[jose.HeaderKey]any{
			"kid": own.KeyID, "jku": "https://eve.example/jwks"}, good())},
		{"a certificate address of its own", forge(jose.ES256, private, map[jose.HeaderKey]any{
			"kid": own.KeyID, "x5u": "https://eve.example/cert"}, good())},
		{"an unknown critical header", forge(jose.ES256, private, map[jose.HeaderKey]any{
			"kid": own.KeyID, "crit": []string{"exp"}, "exp": 1}, good())},
		{"an unencoded payload", forge(jose.ES256, private, map[jose.HeaderKey]any{
			"kid": own.KeyID, "b64": true}, good())},
		{"a kid that is a path", forge(jose.ES256, stranger, map[jose.HeaderKey]any{
			"kid": "../../../dev/null"}, good())},
		{"the type of another token", must(issuer.Sign("id_token+jwt", good()))},
		{"another issuer", sign("iss", "https://eve.example")},
		{"an issuer with a slash behind", sign("iss", issuerName+"/")},
		{"no issuer", sign("iss", nil)},
		{"another audience", sign("aud", "shop")},
		{"an audience that only begins alike", sign("aud", audience+"-admin")},
		{"no audience", sign("aud", nil)},
		{"no subject", sign("sub", nil)},
		{"an empty subject", sign("sub", "")},
		{"an endless subject", sign("sub", strings.Repeat("a", 257))},
		{"a line break in the subject", sign("sub", "ann\nbob")},
		{"no exp", sign("exp", nil)},
		{"exp as text", sign("exp", "9999999999")},
		{"exp beyond numbers", signed(`{"iss":"` + issuerName + `","aud":"ftgo","sub":"ann","exp":1e400}`)},
		{"exp beyond time", signed(`{"iss":"` + issuerName + `","aud":"ftgo","sub":"ann","exp":9e17}`)},
		{"sub twice", signed(fmt.Sprintf(`{"iss":%q,"aud":"ftgo","sub":"ann","sub":"eve","exp":%d}`,
			issuerName, now.Unix()+60))},
		{"claims that are a list", signed(`[]`)},
		{"claims that are no JSON", signed(`{`)},
		{"nbf in the future", sign("nbf", now.Add(time.Minute).Unix())},
		{"iat in the future", sign("iat", now.Add(time.Minute).Unix())},
		{"too many roles", sign("roles", strings.Split(strings.Repeat("r", 65), ""))},
		{"roles that are numbers", sign("roles", []int{1})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := v.Verify(t.Context(), tt.raw)
			if !errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("got %+v, %v; want it refused as invalid", p, err)
			}
			for part := range strings.SplitSeq(tt.raw, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part) {
					t.Fatalf("the error repeats the token: %v", err)
				}
			}
		})
	}
}

func TestExpiryHasALeeway(t *testing.T) {
	issuer := newIssuer(t)
	v := serve(t, issuer)
	for _, tt := range []struct {
		name string
		ttl  time.Duration
		want error
	}{
		{"expired within the leeway", -5 * time.Second, nil},
		{"expired beyond it", -15 * time.Second, auth.ErrExpired},
		{"expired long ago", -1000 * time.Hour, auth.ErrExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), must(issuer.Token("ann", tt.ttl)))
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := v.Verify(t.Context(), ""); err != auth.ErrNoToken || !auth.IsUnauthenticated(err) {
		t.Fatalf("no token: %v", err)
	}
}

func TestNewVerifierRefusesUnsafeOptions(t *testing.T) {
	for _, tt := range []struct{ name, url, issuer, audience string }{
		{"no key set", "", "i", "a"},
		{"no issuer", "https://i.example/jwks", "", "a"},
		{"no audience", "https://i.example/jwks", "i", ""},
		{"keys over plain http", "http://i.example/jwks", "i", "a"},
		{"keys over plain http from a name like localhost", "http://localhost.example/jwks", "i", "a"},
		{"another scheme", "ftp://i.example/jwks", "i", "a"},
		{"no host", "https:///jwks", "i", "a"},
		{"a file on another host", "file://host/jwks", "i", "a"},
		{"no URL", "http://[", "i", "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := auth.NewVerifier(&auth.Options{JWKSURL: tt.url, Issuer: tt.issuer, Audience: tt.audience})
			if err == nil {
				t.Fatal("no error")
			}
		})
	}
}

func TestRequire(t *testing.T) {
	ann := auth.With(context.Background(), auth.Principal{Subject: "ann", Roles: []string{"consumer"}}, "raw")
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		roles []string
		want  error
	}{
		{"anonymous", context.Background(), nil, auth.ErrNoToken},
		{"anybody known", ann, nil, nil},
		{"one of the roles", ann, []string{"admin", "consumer"}, nil},
		{"none of the roles", ann, []string{"admin"}, auth.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := auth.Require(tt.ctx, tt.roles...)
			if !errors.Is(err, tt.want) || err == nil && p.Subject != "ann" {
				t.Fatalf("got %+v, %v; want %v", p, err, tt.want)
			}
		})
	}
	if auth.Raw(ann) != "raw" || auth.Raw(context.Background()) != "" {
		t.Fatal("the raw token is not carried")
	}
}

func TestBearer(t *testing.T) {
	for _, tt := range []struct {
		header, raw string
		ok          bool
	}{
		{"", "", true},
		{"Bearer a.b.c", "a.b.c", true},
		{"bearer a.b.c", "a.b.c", true},
		{"Basic a.b.c", "", false},
		{"Bearer ", "", false},
		{"a.b.c", "", false},
	} {
		raw, err := auth.Bearer(tt.header)
		if raw != tt.raw || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %v", tt.header, raw, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	issuer := newIssuer(f)
	v := serve(f, issuer)
	good := must(issuer.Token("ann", time.Hour))
	f.Add(good)
	f.Add(b64(`{"alg":"none"}`) + ".e30.")
	f.Fuzz(func(t *testing.T, raw string) {
		if p, err := v.Verify(t.Context(), raw); err == nil && raw != good {
			t.Fatalf("%q stands for %+v", raw, p)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	issuer := newIssuer(b)
	for _, bb := range []struct {
		name   string
		tokens int
	}{{"the same token", 1}, {"ever new tokens", 20_000}} {
		b.Run(bb.name, func(b *testing.B) {
			v := serve(b, issuer)
			raw := make([]string, bb.tokens)
			for i := range raw {
				raw[i] = must(issuer.Token(fmt.Sprint("ann-", i), time.Hour, "consumer"))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := v.Verify(b.Context(), raw[i%len(raw)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
