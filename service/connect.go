package service

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/rpi"
)

// connect makes what the services share, as the environment names it.
func (p *process) connect(ctx context.Context, chosen []Named) error {
	if jwks := p.settings.getenv("CLEAVE_JWKS"); jwks != "" {
		v, err := auth.NewVerifier(&auth.Options{
			JWKSURL: jwks, Issuer: p.settings.getenv("CLEAVE_ISSUER"), Audience: p.settings.getenv("CLEAVE_AUDIENCE"), Logger: p.logger,
		})
		if err != nil {
			return fmt.Errorf("CLEAVE_JWKS, CLEAVE_ISSUER, CLEAVE_AUDIENCE: %w", err)
		}
		p.verifier = v
	} else {
		p.logger.Info("callers' tokens are not read, every caller is anonymous: CLEAVE_JWKS is not set")
	}
	if p.settings.tls.Cert != "" {
		t, err := rpi.NewTLS(p.settings.tls, &rpi.TLSOptions{Logger: p.logger})
		if err != nil {
			return fmt.Errorf("CLEAVE_TLS_CERT, CLEAVE_TLS_KEY, CLEAVE_TLS_CA: %w", err)
		}
		p.tls = t
	}
	if p.bus == nil && p.settings.natsURL == "" {
		p.bus = membus.New()
	}
	if p.bus == nil {
		b, err := natsbus.Connect(ctx, p.settings.natsURL, &natsbus.Options{Name: p.settings.instance, Replicas: p.settings.replicas, Feed: feed{p}, Logger: p.logger})
		if err != nil {
			return fmt.Errorf("NATS_URL: %w", err)
		}
		p.bus, p.closers = b, append(p.closers, b.Close)
	}
	p.bus = bus.Observed(p.bus, bus.Telemetry{Tracer: p.tracer, Meter: p.meter})
	if p.settings.registry != "" {
		names := make([]string, len(chosen))
		for i, n := range chosen {
			names[i] = n.Name
		}
		r, err := discovery.NewClient(p.settings.registry, p.settings.token, &discovery.ClientOptions{
			Name: strings.Join(names, ",") + "/" + p.settings.instance, Logger: p.logger,
		})
		if err != nil {
			return fmt.Errorf("CLEAVE_REGISTRY: %w", err)
		}
		p.registry = r
	}
	switch {
	case p.resolver != nil:
	case p.registry != nil:
		p.resolver = p.registry
	default:
		p.resolver = discovery.Static(p.staticAddrs())
	}
	return nil
}

// staticAddrs are the addresses of CLEAVE_ADDR_*; a name's _ may stand for -.
func (p *process) staticAddrs() map[string][]string {
	addrs := map[string][]string{}
	for name, list := range p.settings.addrs {
		lower := strings.ToLower(name)
		addrs[lower] = list
		addrs[strings.ReplaceAll(lower, "_", "-")] = list
	}
	return addrs
}

// transport decides where a service is: here, or wherever the resolver says.
func (p *process) transport(from *Host, name string) (connect.Transport, error) {
	call := rpi.CallOptions{Errors: from.errors, Tracer: p.tracer, Meter: p.meter}
	for _, h := range p.hosts {
		if h.name == name {
			return rpi.Local(h.server, &rpi.LocalOptions{Call: call}), nil
		}
	}
	if p.work.Err() != nil {
		return nil, connect.NewError(connect.CodeUnavailable, "the process is stopping")
	}
	options := &rpi.RemoteOptions{Call: call, Logger: from.logger, Caller: from.name}
	if p.settings.wire == wireConnect {
		options.Wire = []connecthttp.Option{}
	}
	if p.tls != nil {
		options.Conns.TLS = p.tls.Client(name)
	}
	remote := rpi.Remote(name, p.resolver, options)
	p.spawn(from.name+" client of "+name, remote.Run)
	return remote, nil
}

// registerWait is how long readiness waits for the registry. A registry that
// is down must not keep a service from running.
const registerWait = 2 * time.Second

// register puts every service into the registry, under its own name, until
// unregister.
func (p *process) register(admin string) error {
	if p.registry == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.leave = cancel
	var all []*discovery.Registration
	for _, l := range p.listeners {
		addr, err := p.advertised(l)
		if err != nil {
			return err
		}
		meta := map[string]string{"admin": admin}
		if l.fast != nil {
			meta[discovery.MetaWire] = discovery.WireGRPC
		}
		for _, h := range l.hosts {
			r, err := p.registry.NewRegistration(discovery.Instance{
				Service: h.name, ID: p.settings.instance, Version: p.settings.version, Addr: addr, Status: discovery.Up,
				Meta: meta,
			}, nil)
			if err != nil {
				return fmt.Errorf("register %s: %w", h.name, err)
			}
			all = append(all, r)
			p.registered.Go(func() {
				if err := r.Run(ctx); err != nil {
					p.fail(fmt.Errorf("register %s: %w", h.name, err))
				}
			})
		}
	}
	timer := time.NewTimer(registerWait)
	defer timer.Stop()
	for _, r := range all {
		select {
		case <-r.Registered():
		case <-timer.C:
			p.logger.Warn("the registry has not answered: it is tried again", "registry", p.settings.registry)
			return nil
		}
	}
	return nil
}

// unregister takes every service out of the registry and returns when those
// who call them know, or could have known for long enough.
func (p *process) unregister() {
	if p.leave == nil {
		return
	}
	p.leave()
	if !within(5*time.Second, p.registered.Wait) {
		p.logger.Warn("the registry does not answer: its callers may not know yet")
	}
}

// advertised is the address that others reach a listener at.
func (p *process) advertised(l *listener) (string, error) {
	host, port, err := net.SplitHostPort(l.addr())
	if err != nil {
		return "", err
	}
	if p.settings.advertise != "" {
		return net.JoinHostPort(p.settings.advertise, port), nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return l.addr(), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return net.JoinHostPort(n.IP.String(), port), nil
		}
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}
