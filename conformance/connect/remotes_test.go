package connect_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// target says whom to call and how.
type target struct {
	HTTPVersion  string `json:"httpVersion"`
	Protocol     string `json:"protocol"`
	Codec        string `json:"codec"`
	Compression  string `json:"compression"`
	Host         string `json:"host"`
	Port         int    `json:"port"`
	ServerCert   []byte `json:"serverTlsCert"`
	ClientCreds  *creds `json:"clientTlsCreds"`
	ReceiveLimit int    `json:"messageReceiveLimit"`
	Get          bool   `json:"useGetHttpMethod"`
}

// remotes are the transports to all targets.
type remotes struct {
	ctx  context.Context // ends their Run
	role string

	mu  sync.Mutex
	all map[string]*connect.Client
}

func newRemotes(ctx context.Context, role string) *remotes {
	return &remotes{ctx: ctx, role: role, all: map[string]*connect.Client{}}
}

func (r *remotes) client(t target) (*connect.Client, error) {
	key, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.all[string(key)]; ok {
		return c, nil
	}
	transport, err := r.transport(t)
	if err != nil {
		return nil, err
	}
	c := connect.NewClient(transport)
	r.all[string(key)] = c
	return c, nil
}

// transport returns the chain of a caller. No deadline is added to calls that
// the suite makes without one.
func (r *remotes) transport(t target) (connect.Transport, error) {
	wire, err := t.wire()
	if err != nil {
		return nil, err
	}
	secure, err := t.tls()
	if err != nil {
		return nil, err
	}
	h2 := t.HTTPVersion == "HTTP_VERSION_2"
	options := rpi.CallOptions{Timeout: -1, Tracer: tracer(), Meter: meter()}
	addr := fmt.Sprintf("%s:%d", t.Host, t.Port)
	switch r.role {
	case "grpcwire client":
		return rpi.Wire(grpcwire.NewTransport(addr, &grpcwire.TransportOptions{MaxMessage: t.ReceiveLimit}), options), nil
	case "fixed client": // through rpi.Wire instead of rpi.Remote, over net/http's connections
		scheme, carrier := carrier(h2, secure)
		return rpi.Wire(connecthttp.NewTransport(&http.Client{Transport: carrier}, scheme+addr, wire...), options), nil
	}
	remote, err := remote(addr, &rpi.RemoteOptions{Call: options, Conns: rpi.ConnOptions{HTTP2: h2, TLS: secure}, Wire: wire, Logger: quiet})
	if err != nil {
		return nil, err
	}
	go remote.Run(r.ctx) // the addresses are fixed
	return remote, nil
}

// remote returns a transport whose breaker only counts: the suite's many
// failures would open it.
func remote(addr string, o *rpi.RemoteOptions) (*rpi.RemoteTransport, error) {
	b, err := breaker.New("suite", &breaker.Options{Classify: rpi.Classify})
	if err != nil {
		return nil, err
	}
	b.SetMode(breaker.MetricsOnly)
	o.Breaker = b
	return rpi.Remote("suite", discovery.Static(map[string][]string{"suite": {addr}}), o), nil
}

func (t target) wire() ([]connecthttp.Option, error) {
	var wire []connecthttp.Option
	switch t.Protocol {
	case "PROTOCOL_CONNECT":
	case "PROTOCOL_GRPC":
		wire = append(wire, connecthttp.WithGRPC())
	case "PROTOCOL_GRPC_WEB":
		wire = append(wire, connecthttp.WithGRPCWeb())
	default:
		return nil, errors.New("no such protocol: " + t.Protocol)
	}
	if t.Codec == "CODEC_JSON" {
		wire = append(wire, connecthttp.WithProtoJSON())
	}
	if t.Get {
		wire = append(wire, connecthttp.WithHTTPGet())
	}
	switch t.Compression {
	case "COMPRESSION_IDENTITY", "":
		wire = append(wire, connecthttp.WithCompressors())
	case "COMPRESSION_GZIP":
		wire = append(wire, connecthttp.WithSendGzip(), connecthttp.WithCompressMinBytes(0))
	default:
		return nil, errors.New("no such compression: " + t.Compression)
	}
	if t.ReceiveLimit > 0 {
		wire = append(wire, connecthttp.WithReadMaxBytes(t.ReceiveLimit))
	}
	return wire, nil
}

// tls returns what secures the connections, nil for plain text.
func (t target) tls() (*tls.Config, error) {
	if t.ServerCert == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(t.ServerCert) {
		return nil, errors.New("the runner's certificate does not parse")
	}
	if t.ClientCreds != nil {
		cert, err := tls.X509KeyPair(t.ClientCreds.Cert, t.ClientCreds.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// carrier returns net/http's own connections, and the scheme of what goes over
// them.
func carrier(h2 bool, secure *tls.Config) (scheme string, _ http.RoundTripper) {
	c := &http.Transport{DisableCompression: true, Protocols: &http.Protocols{}, TLSClientConfig: secure}
	if secure == nil {
		c.Protocols.SetHTTP1(!h2)
		c.Protocols.SetUnencryptedHTTP2(h2)
		return "http://", c
	}
	c.Protocols.SetHTTP1(!h2)
	c.Protocols.SetHTTP2(h2)
	return "https://", c
}
