package issuer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/cleave-go/cleave/platform/issuer"
)

func open(t *testing.T, file string) *issuer.Issuer {
	t.Helper()
	is, err := issuer.Open(file, "http://127.0.0.1:9001", "ftgo")
	if err != nil {
		t.Fatal(err)
	}
	return is
}

func keys(t *testing.T, is *issuer.Issuer) jose.JSONWebKeySet {
	t.Helper()
	r := httptest.NewRequest("GET", "http://127.0.0.1:9001/jwks.json", nil)
	w := httptest.NewRecorder()
	is.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	if strings.Contains(w.Body.String(), `"d"`) {
		t.Fatal("the private part is published")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestATokenIsValidUnderThePublishedKeyAlsoAfterARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	token, expires, err := open(t, file).Sign("c-1", []string{"consumer"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(expires); d < 23*time.Hour || d > 24*time.Hour {
		t.Errorf("expires in %s", d)
	}
	set := keys(t, open(t, file))
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	var more struct {
		Role  string   `json:"role"`
		Roles []string `json:"roles"`
	}
	if err := parsed.Claims(set, &claims, &more); err != nil {
		t.Fatal(err)
	}
	if claims.Subject != "c-1" || claims.Issuer != "http://127.0.0.1:9001" || !claims.Audience.Contains("ftgo") || more.Role != "consumer" || len(more.Roles) != 1 {
		t.Errorf("got %+v %+v", claims, more)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info.Mode(), err)
	}
}

func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	open(t, file)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Open(file, "u", "a"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
}

func TestBadRequestsAreRefusedBySentence(t *testing.T) {
	is := open(t, filepath.Join(t.TempDir(), "key.pem"))
	for _, c := range []struct {
		name, sub string
		roles     []string
		ttl       time.Duration
		want      string
	}{
		{"no subject", "", nil, 0, "subject:"},
		{"space in subject", "a b", nil, 0, "subject:"},
		{"long life", "a", nil, 365 * 24 * time.Hour, "lifetime"},
		{"long death", "a", nil, -365 * 24 * time.Hour, "lifetime"},
		{"short life", "a", nil, time.Millisecond, "lifetime"},
		{"empty role", "a", []string{""}, 0, "role"},
		{"many roles", "a", make([]string, 17), 0, "at most 16"},
	} {
		if _, _, err := is.Sign(c.sub, c.roles, c.ttl); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestAForeignHostIsRefused(t *testing.T) {
	r := httptest.NewRequest("GET", "http://evil.example/jwks.json", nil)
	w := httptest.NewRecorder()
	open(t, filepath.Join(t.TempDir(), "key.pem")).Handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("got %d", w.Code)
	}
}
