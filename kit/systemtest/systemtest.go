package systemtest

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/service"
)

// Options tune Start. Nil means the defaults.
type Options struct {
	Apart   bool     // each service as a process of its own. Default: all in one
	Environ []string // NAME=value, added to what Start sets
	Dir     string   // holds the databases. Default: one of the test's own
}

// System is a running system.
type System struct {
	t       testing.TB
	issuer  *issuer
	dir     string
	environ []string
	found   *discoverytest.Resolver
	bus     *membus.Bus

	mu    sync.Mutex
	addrs map[string]string
	admin map[string]string
	stops map[string]func() error
}

// patience is how long a system may take to start and to stop.
const patience = 30 * time.Second

// Start boots services and stops them at the end of the test.
func Start(t testing.TB, o *Options, services ...kit.Service) *System {
	t.Helper()
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s := &System{
		t: t, issuer: newIssuer(t), dir: opts.Dir, found: &discoverytest.Resolver{}, bus: membus.New(),
		addrs: map[string]string{}, admin: map[string]string{}, stops: map[string]func() error{},
	}
	s.environ = append([]string{
		"CLEAVE_DATA=" + s.dir, "CLEAVE_JWKS=" + s.issuer.url(), "CLEAVE_ISSUER=" + issuerName, "CLEAVE_AUDIENCE=" + audience,
	}, opts.Environ...)
	t.Cleanup(func() {
		for name := range maps.Clone(s.stops) {
			s.Stop(name)
		}
	})
	if !opts.Apart {
		s.boot("system", services...)
		return s
	}
	for _, one := range services {
		s.boot(one.Name, one)
	}
	return s
}

// boot runs services in what stands for one process.
func (s *System) boot(name string, services ...kit.Service) {
	s.t.Helper()
	environ := s.environ
	for _, one := range services {
		environ = append(environ, listenVariable(one.Name)+"=127.0.0.1:0")
	}
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan service.Addresses, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, services, &service.Options{
			Environ: environ, Logger: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
			Bus: s.bus, Resolver: s.found, Linger: 50 * time.Millisecond,
			Started: func(a service.Addresses) { started <- a },
		})
	}()
	select {
	case a := <-started:
		s.started(a)
	case err := <-ended:
		cancel()
		s.t.Fatalf("%s did not start: %v", name, err)
	case <-time.After(patience):
		cancel()
		s.t.Fatalf("%s was not ready within %v", name, patience)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops[name] = func() error {
		for _, one := range services {
			s.found.Set(one.Name)
		}
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return context.DeadlineExceeded
		}
	}
}

func (s *System) started(a service.Addresses) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, addr := range a.Services {
		s.addrs[name], s.admin[name] = addr, a.Admin
		s.found.Set(name, discovery.Instance{Service: name, ID: name + "-1", Addr: addr})
	}
}

// Stop stops a service that runs apart, or "system" if all run in one process,
// and fails the test if it does not stop in order.
func (s *System) Stop(name string) {
	s.t.Helper()
	s.mu.Lock()
	stop := s.stops[name]
	delete(s.stops, name)
	s.mu.Unlock()
	if stop == nil {
		return
	}
	if err := stop(); err != nil {
		s.t.Errorf("%s stopped with: %v", name, err)
	}
}

// Restart starts a service that Stop stopped, on the databases it left.
func (s *System) Restart(services ...kit.Service) {
	s.t.Helper()
	name := "system"
	if len(services) == 1 {
		name = services[0].Name
	}
	s.boot(name, services...)
}

// URL returns where a service's listener is: "http://127.0.0.1:41234".
func (s *System) URL(name string) string {
	s.t.Helper()
	return "http://" + s.at(s.addrs, name)
}

// Admin returns where the admin listener of a service's process is.
func (s *System) Admin(name string) string {
	s.t.Helper()
	return "http://" + s.at(s.admin, name)
}

func (s *System) at(in map[string]string, name string) string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	addr, ok := in[name]
	if !ok {
		s.t.Fatalf("the system has no service %s", name)
	}
	return addr
}

// Client returns a client of a service, over HTTP, that forwards the token and
// the consistency token of a call's context.
func (s *System) Client(name string, errs ...rpi.ErrorDef) *connect.Client {
	s.t.Helper()
	wire := connecthttp.NewTransport(http.DefaultClient, s.URL(name))
	return connect.NewClient(rpi.Wire(wire, rpi.CallOptions{Errors: rpi.Errors(errs...)}))
}
