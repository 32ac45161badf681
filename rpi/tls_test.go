package rpi_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/tlstest"
	"github.com/cleave-go/cleave/rpi"
)

// who answers who called.
type who struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (who) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: strings.Join(rpi.PeerOf(ctx), " ")}, nil
}

// party is a process with files of its own.
type party struct {
	dir string
	tls *rpi.TLS
}

func newParty(t *testing.T, ca *tlstest.CA, c tlstest.Cert, trusted ...*tlstest.CA) *party {
	t.Helper()
	p := &party{dir: t.TempDir()}
	ca.Write(t, p.dir, c, trusted...)
	var err error
	p.tls, err = rpi.NewTLS(rpi.TLSFiles{Cert: p.file("cert.pem"), Key: p.file("key.pem"), CA: p.file("ca.pem")}, &rpi.TLSOptions{Reload: time.Nanosecond, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *party) file(name string) string { return filepath.Join(p.dir, name) }

// secured serves who over TLS and returns where.
func secured(t *testing.T, p *party, interceptors ...connect.ServerInterceptor) string {
	t.Helper()
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Interceptors: interceptors})
	echoapi.RegisterEchoServiceHandler(s, who{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: rpi.IdentifyPeers(rpi.Handler(s)), TLSConfig: p.tls.Server(), ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return l.Addr().String()
}

// ask calls the service at addr over connections of its own.
func ask(t *testing.T, addr string, config *tls.Config, http2 bool) (string, error) {
	t.Helper()
	client, _ := remote(t, at(addr), &rpi.RemoteOptions{Attempts: 1, Conns: rpi.ConnOptions{TLS: config, HTTP2: http2}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	res, err := client.Echo(ctx, &echoapi.EchoRequest{})
	return res.GetText(), err
}

func TestMutualTLS(t *testing.T) {
	ca, other := tlstest.NewCA(t), tlstest.NewCA(t)
	server := tlstest.Cert{DNS: []string{"echo"}}
	order := tlstest.Cert{URI: "spiffe://cleave/order", DNS: []string{"order", "billing"}}
	good := newParty(t, ca, server)
	client := newParty(t, ca, order)
	noCert := client.tls.Client("echo")
	noCert.GetClientCertificate = nil
	allow := func(ids ...string) []connect.ServerInterceptor {
		return []connect.ServerInterceptor{rpi.AllowPeers(ids...)}
	}
	for _, tt := range []struct {
		name   string
		server *party
		client *tls.Config
		http2  bool
		allow  []connect.ServerInterceptor
		code   connect.Code // 0: an answer
		want   string       // of the answer, or part of the error
	}{
		{"the handler knows who called", good, client.tls.Client("echo"), false, nil, 0, "spiffe://cleave/order order billing"},
		{"over HTTP/2 too", good, client.tls.Client("echo"), true, nil, 0, "spiffe://cleave/order order billing"},
		{"a server named by its SPIFFE ID", newParty(t, ca, tlstest.Cert{URI: "spiffe://cleave/ns/echo"}), client.tls.Client("echo"), false, nil, 0, "order"},
		{"an allowed SPIFFE ID", good, client.tls.Client("echo"), false, allow("spiffe://cleave/order"), 0, "order"},
		{"an allowed DNS name", good, client.tls.Client("echo"), false, allow("x", "billing"), 0, "order"},
		{"an identity that is not allowed", good, client.tls.Client("echo"), false, allow("spiffe://cleave/kitchen"), connect.CodePermissionDenied, "does not serve"},
		{"nobody is allowed", good, client.tls.Client("echo"), false, allow(), connect.CodePermissionDenied, "does not serve"},
		{"a client without a certificate", good, noCert, false, nil, connect.CodeUnavailable, "certificate required"},
		{"a client of another CA", good, newParty(t, other, order, ca).tls.Client("echo"), false, nil, connect.CodeUnavailable, "certificate"},
		{"a client whose certificate has expired", good, newParty(t, ca, tlstest.Cert{DNS: []string{"order"}, Expired: true}).tls.Client("echo"), false, nil, connect.CodeUnavailable, "expired"},
		{"a server of another CA", newParty(t, other, server, ca), client.tls.Client("echo"), false, nil, connect.CodeUnavailable, "unknown authority"},
		{"a server whose certificate has expired", newParty(t, ca, tlstest.Cert{DNS: []string{"echo"}, Expired: true}), client.tls.Client("echo"), false, nil, connect.CodeUnavailable, "expired"},
		{"a server that is another service", newParty(t, ca, tlstest.Cert{URI: "spiffe://cleave/echo/kitchen", DNS: []string{"kitchen"}}), client.tls.Client("echo"), false, nil, connect.CodeUnavailable, "not echo"},
		{"a client that speaks plain text", good, nil, false, nil, connect.CodeInternal, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, err := ask(t, secured(t, tt.server, tt.allow...), tt.client, tt.http2)
			if tt.code == 0 && (err != nil || !strings.Contains(text, tt.want)) {
				t.Errorf("got %q, %v, want %q", text, err, tt.want)
			}
			if tt.code != 0 && (connect.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %q, %v, want %v with %q", text, err, tt.code, tt.want)
			}
			if tt.code == connect.CodePermissionDenied && rpi.ReasonOf(err) != rpi.ReasonPeerNotAllowed {
				t.Errorf("the reason is %q", rpi.ReasonOf(err))
			}
		})
	}
}

func TestCertificatesAreRotatedWithoutARestart(t *testing.T) {
	before, after := tlstest.NewCA(t), tlstest.NewCA(t)
	server := newParty(t, before, tlstest.Cert{DNS: []string{"echo"}})
	client := newParty(t, before, tlstest.Cert{DNS: []string{"order"}})
	addr := secured(t, server)
	expect := func(step, want string) {
		t.Helper()
		text, err := ask(t, addr, client.tls.Client("echo"), false)
		if text != want || (want == "") != (err != nil) {
			t.Errorf("%s: got %q, %v, want %q", step, text, err, want)
		}
	}
	expect("at first", "order")
	before.Write(t, client.dir, tlstest.Cert{DNS: []string{"billing"}})
	expect("the client has a new certificate", "billing")
	before.Write(t, server.dir, tlstest.Cert{DNS: []string{"echo"}}, before, after)
	before.Write(t, client.dir, tlstest.Cert{DNS: []string{"billing"}}, before, after)
	expect("both believe the next CA too", "billing")
	after.Write(t, server.dir, tlstest.Cert{DNS: []string{"echo"}}, before, after)
	expect("the server has a certificate of the next", "billing")
	after.Write(t, client.dir, tlstest.Cert{DNS: []string{"order"}}, after)
	after.Write(t, server.dir, tlstest.Cert{DNS: []string{"echo"}}, after)
	expect("the CA before is gone", "order")
	for _, name := range []string{"key.pem", "ca.pem"} {
		if err := os.WriteFile(server.file(name), []byte("half written"), 0o600); err != nil {
			t.Fatal(err)
		}
		expect("the server's "+name+" is broken", "order")
	}
	if err := os.Remove(server.file("cert.pem")); err != nil {
		t.Fatal(err)
	}
	expect("the server's certificate is missing", "order")
	after.Write(t, server.dir, tlstest.Cert{DNS: []string{"kitchen"}}, after)
	expect("the server has become another", "")
}

func TestFilesThatAreNoIdentityAreRefused(t *testing.T) {
	ca := tlstest.NewCA(t)
	for name, spoil := range map[string]func(dir string) error{
		"a missing file": func(dir string) error { return os.Remove(filepath.Join(dir, "key.pem")) },
		"no certificate": func(dir string) error { return os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("x"), 0o600) },
		"no CA":          func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o600) },
		"another's key": func(dir string) error {
			elsewhere := t.TempDir()
			ca.Write(t, elsewhere, tlstest.Cert{})
			return os.Rename(filepath.Join(elsewhere, "key.pem"), filepath.Join(dir, "key.pem"))
		},
	} {
		dir := t.TempDir()
		ca.Write(t, dir, tlstest.Cert{})
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := rpi.NewTLS(rpi.TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem")}, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCallersInTheSameProcessAreAllowed(t *testing.T) {
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Interceptors: []connect.ServerInterceptor{rpi.AllowPeers("spiffe://cleave/order")}})
	echoapi.RegisterEchoServiceHandler(s, who{})
	res, err := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(s, nil))).Echo(t.Context(), &echoapi.EchoRequest{})
	if err != nil || res.GetText() != "" {
		t.Errorf("got %q, %v", res.GetText(), err)
	}
	plain := httptest.NewServer(rpi.IdentifyPeers(rpi.Handler(s)))
	defer plain.Close()
	over, _ := remote(t, at(strings.TrimPrefix(plain.URL, "http://")), nil)
	if _, err := over.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("over a connection without TLS: %v", err)
	}
}
