package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

// Service registers on h what a service offers and needs. It starts nothing.
type Service func(ctx context.Context, h *Host) error

// Named is a service and the name it is found under.
type Named struct {
	Name string
	New  Service
}

// Host is what a service sees of the process that runs it. Its methods are
// for use while New runs; what they return is for use after.
type Host struct {
	name    string
	process *process
	logger  *slog.Logger
	errors  *rpi.ErrorSet
	server  *connect.Server

	mu         sync.Mutex
	edge       string // default address of an own listener; "": none
	handlers   []handler
	operations []handler // what is operated, and how
	workers    []worker
	checks     []check
	clients    map[string]*connect.Client // by service called
	db         *sqldb.DB
}

type (
	handler struct {
		pattern string
		handler http.Handler
	}
	worker struct {
		name string
		run  func(context.Context) error
	}
	check struct {
		name string
		done func(context.Context) error
	}
)

// notYet is the answer to a request for something that has not arrived here
// within the time that a caller is made to wait.
var notYet = rpi.ErrorDef{Err: bus.ErrNotYet, Code: connect.CodeAborted, Reason: "NOT_YET"}

func (p *process) newHost(name string) (*Host, error) {
	h := &Host{name: name, process: p, clients: map[string]*connect.Client{}, errors: rpi.Errors(notYet), logger: p.logger.With("service", name)}
	interceptors, err := p.protect(h)
	if err != nil {
		return nil, err
	}
	h.server = rpi.NewServer(&rpi.ServerOptions{
		Errors: h.errors, Logger: h.logger, Verifier: p.verifier,
		Tracer: p.tracer, Meter: p.meter, Interceptors: interceptors,
	})
	return h, nil
}

// Name returns the name that the service is found under.
func (h *Host) Name() string { return h.name }

// Logger returns a logger that names the service.
func (h *Host) Logger() *slog.Logger { return h.logger }

// Getenv returns a variable of the environment, "" if it is not set.
func (h *Host) Getenv(key string) string { return h.process.settings.getenv(key) }

// Server returns the server to register generated handlers with.
func (h *Host) Server() *connect.Server { return h.server }

// Errors declares domain errors: those that this service's handlers return,
// and those of other services that errors.Is shall find in answers to its
// calls.
func (h *Host) Errors(defs ...rpi.ErrorDef) { h.errors.Add(defs...) }

// Client returns the client of another service: in the same process if it
// runs here, else wherever it is found. Which one is settled when all services
// of the process are composed; calls made earlier fail. Asked again it is the
// same client.
func (h *Host) Client(service string) *connect.Client {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.clients[service]
	if c == nil {
		c = connect.NewClient(&binding{host: h, service: service})
		h.clients[service] = c
	}
	return c
}

// Handle serves plain HTTP beside the procedures of Server. The pattern is
// that of http.ServeMux.
func (h *Host) Handle(pattern string, hd http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers = append(h.handlers, handler{pattern, hd})
}

// Edge gives the service a listener of its own in every topology, as gateways
// need. addr is its address unless the environment says otherwise; "" is a
// free loopback port.
func (h *Host) Edge(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	h.edge = addr
}

// Bus returns the bus that carries events between services. Consumers of it
// show what they do in traces and on /metrics.
func (h *Host) Bus() bus.Bus { return h.process.bus }

// Verifier returns what verifies callers' tokens, nil if CLEAVE_JWKS is not
// set. Server uses it already; it is for plain HTTP.
func (h *Host) Verifier() *auth.Verifier { return h.process.verifier }

// TLS returns what secures connections between services, nil if CLEAVE_TLS_CERT
// is not set. Client and Server use it already; it is for plain HTTP.
func (h *Host) TLS() *rpi.TLS { return h.process.tls }

// Resolver tells where services that do not run here are.
func (h *Host) Resolver() discovery.Resolver { return h.process.resolver }

// Tracer makes spans of this process.
func (h *Host) Tracer() trace.Tracer { return h.process.tracer }

// Meter makes the instruments that /metrics shows.
func (h *Host) Meter() metric.Meter { return h.process.meter }

// Run has the process run f once it is composed, and join it when it stops. A
// worker that returns before that, with an error, stops the process.
func (h *Host) Run(name string, f func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers = append(h.workers, worker{name, f})
}

// Ready has the process wait until f returns nil before it says that it is
// ready; f is called again after an error. It is a condition of starting up:
// later it is not asked, so that a shared dependency that fails does not take
// every instance out of service.
func (h *Host) Ready(name string, f func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, f})
}

// binding is the transport to a service that is found when it is called.
type binding struct {
	host    *Host
	service string
	once    sync.Once
	to      connect.Transport
	err     error
}

// NewClientStream binds at the first call.
func (b *binding) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	p := b.host.process
	select {
	case <-p.composed:
	default:
		return nil, connect.NewError(connect.CodeUnavailable, fmt.Sprintf("%s called %s before the process was composed: call from a handler or a worker", b.host.name, b.service))
	}
	b.once.Do(func() { b.to, b.err = p.transport(b.host, b.service) })
	if b.err != nil {
		return nil, b.err
	}
	return b.to.NewClientStream(ctx, spec)
}
