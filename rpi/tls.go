package rpi

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLSFiles name the PEM files that a process shows who it is with, and by which
// it knows others.
type TLSFiles struct {
	Cert string // its certificate and those between it and the CA
	Key  string // the private key to it
	CA   string // whose certificates are believed; several while one replaces another
}

// TLSOptions tune NewTLS. Nil means the defaults.
type TLSOptions struct {
	Reload time.Duration // how old what was read may be at a handshake before the files are read again. Default: 1 s
	Logger *slog.Logger  // Default: slog.Default()
}

// TLS secures the connections between services: both sides show a certificate.
// The files are read again when they change, without a restart; if what they say is
// wrong or half of them is old, what they said before stays. It is safe for
// concurrent use and has no goroutine.
type TLS struct {
	files  TLSFiles
	reload time.Duration
	logger *slog.Logger

	mu      sync.Mutex
	checked time.Time
	read    [3][]byte // the files' contents when they changed last
	current identity
}

// identity is what the files say.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

// NewTLS reads the files. It fails if they are not a certificate, its key and a
// CA.
func NewTLS(f TLSFiles, o *TLSOptions) (*TLS, error) {
	var opts TLSOptions
	if o != nil {
		opts = *o
	}
	if opts.Reload <= 0 {
		opts.Reload = time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	t := &TLS{files: f, reload: opts.Reload, logger: opts.Logger, checked: time.Now()}
	read, err := f.read()
	if err != nil {
		return nil, err
	}
	if t.current, err = parse(read); err != nil {
		return nil, fmt.Errorf("%s, %s, %s: %w", f.Cert, f.Key, f.CA, err)
	}
	t.read = read
	return t, nil
}

func (f TLSFiles) read() (all [3][]byte, err error) {
	for i, name := range [...]string{f.Cert, f.Key, f.CA} {
		if all[i], err = os.ReadFile(name); err != nil {
			return all, err
		}
	}
	return all, nil
}

func parse(files [3][]byte) (identity, error) {
	cert, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return identity{}, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files[2]) {
		return identity{}, errors.New("the CA file has no certificate in it")
	}
	return identity{cert, roots}, nil
}

// now returns what the files say now.
func (t *TLS) now() identity {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) < t.reload {
		return t.current
	}
	t.checked = time.Now()
	read, err := t.files.read()
	if err == nil && bytes.Equal(read[0], t.read[0]) && bytes.Equal(read[1], t.read[1]) && bytes.Equal(read[2], t.read[2]) {
		return t.current
	}
	var next identity
	if err == nil {
		next, err = parse(read)
		t.read = read // an error is said once
	}
	if err != nil {
		t.logger.Warn("new certificates cannot be used: those before stay", "cert", t.files.Cert, "error", err)
		return t.current
	}
	t.current = next
	t.logger.Info("certificates were read again", "cert", t.files.Cert, "until", next.cert.Leaf.NotAfter)
	return next
}

// Server returns the configuration of a listener: whoever connects has to show a
// certificate of the CA. IdentifyPeers tells handlers whose.
func (t *TLS) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			id := t.now()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{id.cert},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: id.roots,
				SessionTicketsDisabled: true, // a session would outlive a CA that is no longer believed
			}, nil
		},
	}
}

// Client returns the configuration of connections to a service, for
// ConnOptions.TLS. The server has to show a certificate of the CA that names the
// service: as a DNS name, or as the last part of a SPIFFE ID.
func (t *TLS) Client(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: service,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			id := t.now()
			return &id.cert, nil
		},
		InsecureSkipVerify: true, // VerifyConnection does it, with roots that may change
		VerifyConnection: func(s tls.ConnectionState) error {
			return t.verifyServer(s.PeerCertificates, service)
		},
	}
}

func (t *TLS) verifyServer(chain []*x509.Certificate, service string) error {
	if len(chain) == 0 {
		return errors.New("rpi: the server showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: t.now().roots, Intermediates: between}); err != nil {
		return err
	}
	if !names(leaf, service) {
		return fmt.Errorf("rpi: the server is %v, not %s", identities(leaf), service)
	}
	return nil
}
