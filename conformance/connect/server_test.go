package connect_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// serverRequest is how the runner wants the server.
type serverRequest struct {
	UseTLS        bool   `json:"useTls"`
	ClientTLSCert []byte `json:"clientTlsCert"`
	ReceiveLimit  int    `json:"messageReceiveLimit"`
	ServerCreds   *creds `json:"serverCreds"`
}

type creds struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// served is a server that the runner has asked for.
type served struct {
	serverRequest
	net.Listener
	calls *connect.Server
	s     *schema
	f     frames
}

// asked reads what the runner wants, and listens.
func asked(s *schema, f frames) (*served, error) {
	request := s.message("ServerCompatRequest")
	if err := f.read(request); err != nil {
		return nil, err
	}
	v := &served{s: s, f: f}
	if err := read(request, &v.serverRequest); err != nil {
		return nil, err
	}
	var err error
	if v.calls, err = newServer(s); err != nil {
		return nil, err
	}
	v.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	return v, err
}

// tell says where the server is.
func (v *served) tell() error {
	answer := map[string]any{"host": "127.0.0.1", "port": v.Addr().(*net.TCPAddr).Port}
	if v.UseTLS {
		answer["pemCert"] = v.ServerCreds.Cert
	}
	told := v.s.message("ServerCompatResponse")
	if err := write(answer, told); err != nil {
		return err
	}
	return v.f.write(told)
}

// serveSuite is the server under test: the suite's service behind the whole
// chain of rpi.NewServer, on a port such as services have, with the fast wire
// beside HTTP, until the runner ends it.
func serveSuite(s *schema, f frames) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	v, err := asked(s, f)
	if err != nil {
		return err
	}
	options := []connecthttp.Option{connecthttp.WithCompressMinBytes(0)} // the suite's messages are short
	if v.ReceiveLimit > 0 {
		options = append(options, connecthttp.WithReadMaxBytes(v.ReceiveLimit))
	}
	handler := rpi.Handler(v.calls, options...)
	server := &http.Server{Handler: notesTimeout(handler), Protocols: &http.Protocols{}, ErrorLog: nil}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if v.UseTLS {
		if server.TLSConfig, err = v.tls(); err != nil {
			return err
		}
	}
	ended := make(chan error, 1)
	go func() {
		if v.UseTLS {
			ended <- server.ServeTLS(v, "", "")
			return
		}
		ended <- server.Serve(grpcwire.NewServer(v.calls, &grpcwire.ServerOptions{Logger: quiet}).Beside(v))
	}()
	if err := v.tell(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-ended:
		return err
	}
}

func (r serverRequest) tls() (*tls.Config, error) {
	if r.ServerCreds == nil {
		return nil, errors.New("the runner wants TLS without a certificate")
	}
	cert, err := tls.X509KeyPair(r.ServerCreds.Cert, r.ServerCreds.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if len(r.ClientTLSCert) > 0 {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(r.ClientTLSCert) {
			return nil, errors.New("the runner's client certificate does not parse")
		}
	}
	return c, nil
}

// newServer returns the suite's service with every link of the chain on.
func newServer(s *schema) (*connect.Server, error) {
	verifier, err := auth.NewVerifier(&auth.Options{JWKSURL: "https://issuer.invalid/keys", Issuer: "https://issuer.invalid", Audience: "conformance"})
	if err != nil {
		return nil, err
	}
	server := rpi.NewServer(&rpi.ServerOptions{
		Errors:   rpi.Errors(rpi.ErrorDef{Err: errors.New("never returned"), Code: connect.CodeNotFound, Reason: "NEVER"}),
		Verifier: verifier, Logger: quiet, Tracer: tracer(), Meter: meter(),
	})
	for name, serve := range map[string]connect.ServerFunc{
		"Unary": unary, "IdempotentUnary": unary, "ServerStream": serverStream, "ClientStream": clientStream, "BidiStream": bidiStream,
		"Unimplemented": func(context.Context, connect.Spec, connect.ServerStream) error {
			return connect.NewError(connect.CodeUnimplemented, "")
		},
	} {
		server.Register(connect.Method{Spec: specOf(s.methods[name]), Handler: serve})
	}
	return server, nil
}

type timeoutKey struct{}

// notesTimeout remembers whether the caller has set a deadline: the server sets
// one of its own otherwise.
func notesTimeout(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		set := r.Header.Get("Connect-Timeout-Ms") != "" || r.Header.Get("Grpc-Timeout") != ""
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), timeoutKey{}, set)))
	})
}

func unary(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
	c := newExchange(ctx, spec, stream)
	if _, err := c.receive(); err != nil {
		return err
	}
	return c.answerOnce()
}

func clientStream(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
	c := newExchange(ctx, spec, stream)
	for {
		if _, err := c.receive(); errors.Is(err, io.EOF) {
			return c.answerOnce()
		} else if err != nil {
			return err
		}
	}
}

func serverStream(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
	c := newExchange(ctx, spec, stream)
	if _, err := c.receive(); err != nil {
		return err
	}
	return c.answerRest()
}

func bidiStream(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
	c := newExchange(ctx, spec, stream)
	for {
		r, err := c.receive()
		if errors.Is(err, io.EOF) {
			return c.answerRest()
		}
		if err != nil {
			return err
		}
		c.fullDuplex = c.fullDuplex || r.FullDuplex
		if !c.fullDuplex {
			continue
		}
		if c.sent == len(c.plan.ResponseData) {
			return c.answerRest()
		}
		if err := c.answerNext(); err != nil {
			return err
		}
	}
}

// pause waits as a handler does that is asked to be slow.
func pause(ctx context.Context, millis int) error {
	if millis == 0 {
		return nil
	}
	select {
	case <-time.After(time.Duration(millis) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
