package service_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/tlstest"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/service"
)

// files returns the environment of a process with a certificate of ca.
func files(t *testing.T, ca *tlstest.CA, c tlstest.Cert) []string {
	t.Helper()
	dir := t.TempDir()
	ca.Write(t, dir, c)
	return []string{
		"CLEAVE_TLS_CERT=" + filepath.Join(dir, "cert.pem"),
		"CLEAVE_TLS_KEY=" + filepath.Join(dir, "key.pem"),
		"CLEAVE_TLS_CA=" + filepath.Join(dir, "ca.pem"),
	}
}

type caller struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (caller) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: strings.Join(rpi.PeerOf(ctx), " ")}, nil
}

// asksFor starts a process that calls far once and returns what it got.
func asksFor(t *testing.T, environ []string) (string, error) {
	t.Helper()
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	near := start(t, environ, service.Named{Name: "near", New: func(_ context.Context, h *service.Host) error {
		client := echoapi.NewEchoServiceClient(h.Client("far"))
		h.Run("call", func(ctx context.Context) error {
			res, err := client.Echo(ctx, &echoapi.EchoRequest{})
			got <- answer{res.GetText(), err}
			return nil
		})
		return nil
	}})
	defer near.stop(t)
	a := <-got
	return a.text, a.err
}

func TestServicesSpeakMutualTLSWhenTheyHaveCertificates(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA(t)
	order := tlstest.Cert{URI: "spiffe://cleave/near"}
	far := start(t, append(files(t, ca, tlstest.Cert{DNS: []string{"far"}}), "CLEAVE_TLS_PEERS=spiffe://cleave/near, other"),
		service.Named{Name: "far", New: func(_ context.Context, h *service.Host) error {
			echoapi.RegisterEchoServiceHandler(h.Server(), caller{})
			h.Handle("/page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") }))
			return nil
		}},
		service.Named{Name: "door", New: func(_ context.Context, h *service.Host) error {
			h.Edge("")
			h.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "door") }))
			return nil
		}})
	defer far.stop(t)
	at := "CLEAVE_ADDR_FAR=" + far.Services["far"]

	if text, err := asksFor(t, append(files(t, ca, order), at)); err != nil || text != "spiffe://cleave/near" {
		t.Errorf("an allowed caller: %q, %v", text, err)
	}
	if text, err := asksFor(t, append(files(t, ca, tlstest.Cert{URI: "spiffe://cleave/kitchen"}), at)); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a caller that is not allowed: %q, %v", text, err)
	}
	if text, err := asksFor(t, append(files(t, tlstest.NewCA(t), order), at)); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a caller of another CA: %q, %v", text, err)
	}
	if text, err := asksFor(t, []string{at}); err == nil {
		t.Errorf("a caller in plain text: %q", text)
	}

	for _, tt := range []struct {
		name   string
		cert   tlstest.Cert
		status int
	}{{"allowed", order, 200}, {"not allowed", tlstest.Cert{DNS: []string{"kitchen"}}, 403}} {
		dir := t.TempDir()
		ca.Write(t, dir, tt.cert)
		own, err := rpi.NewTLS(rpi.TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{TLSClientConfig: own.Client("far")}
		res, err := (&http.Client{Transport: transport}).Get("https://" + far.Services["far"] + "/page")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		transport.CloseIdleConnections()
		if res.StatusCode != tt.status {
			t.Errorf("plain HTTP, %s: status %d, want %d", tt.name, res.StatusCode, tt.status)
		}
	}
	anyone := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer anyone.CloseIdleConnections()
	if res, err := (&http.Client{Transport: anyone}).Get("https://" + far.Services["far"] + "/page"); err == nil {
		res.Body.Close()
		t.Errorf("a client without a certificate: status %d", res.StatusCode)
	}
	if status, body := request(t, "GET", "http://"+far.Services["door"]+"/"); status != 200 || body != "door" {
		t.Errorf("the edge is for strangers: %d %q", status, body)
	}
	if status, _ := request(t, "GET", "http://"+far.Admin+"/readyz"); status != 200 {
		t.Errorf("the admin listener: %d", status)
	}
}

func TestHalfAnIdentityIsAMistake(t *testing.T) {
	t.Parallel()
	whole := files(t, tlstest.NewCA(t), tlstest.Cert{DNS: []string{"a"}})
	for name, environ := range map[string][]string{
		"no key and no CA":         whole[:1],
		"a file that is missing":   {whole[0], whole[1], "CLEAVE_TLS_CA=/nowhere"},
		"peers without files":      {"CLEAVE_TLS_PEERS=order"},
		"peers that name nobody":   append([]string{"CLEAVE_TLS_PEERS= , "}, whole...),
		"a key that is another's":  {whole[0], files(t, tlstest.NewCA(t), tlstest.Cert{})[1], whole[2]},
		"a key in place of the CA": {whole[0], whole[1], strings.Replace(whole[1], "_KEY=", "_CA=", 1)},
	} {
		if err := runs(t, environ, service.Named{Name: "a", New: empty}); err == nil || !strings.Contains(err.Error(), "CLEAVE_TLS_") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
