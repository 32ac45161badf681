package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// Options tunes a Router.
type Options struct {
	// Port is the standard port of every virtual address. Default: 80.
	Port int
	// FallbackPort is used where Port is not allowed to this user or taken on all addresses. Default: 7070.
	FallbackPort int
	// DialTimeout bounds the time to connect to one instance. Default: 1 s.
	DialTimeout time.Duration
	// MaxConns bounds the open connections of one service; more wait in the system's queue. Default: 2048.
	MaxConns int
	// Balancer tunes the choice among instances.
	Balancer *discovery.BalancerOptions
	// Listen opens a listener. Default: TCP by package net.
	Listen func(addr string) (net.Listener, error)
	// Logger hears of failing accepts. Default: slog.Default().
	Logger *slog.Logger
}

// A Router holds one listener per service. It is safe for concurrent use.
type Router struct {
	opts     Options
	resolver discovery.Resolver

	mu     sync.Mutex
	fronts map[string]*front
	start  func(*front) // set while Run runs
}

// New returns a router without addresses; see Bind and Run.
func New(resolver discovery.Resolver, opts *Options) *Router {
	r := &Router{resolver: resolver, fronts: map[string]*front{}}
	if opts != nil {
		r.opts = *opts
	}
	r.opts.Port = cmp.Or(r.opts.Port, 80)
	r.opts.FallbackPort = cmp.Or(r.opts.FallbackPort, 7070)
	r.opts.DialTimeout = cmp.Or(r.opts.DialTimeout, time.Second)
	r.opts.MaxConns = cmp.Or(r.opts.MaxConns, 2048)
	if r.opts.Listen == nil {
		r.opts.Listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	if r.opts.Logger == nil {
		r.opts.Logger = slog.Default()
	}
	return r
}

// Bound is where a service can be reached.
type Bound struct {
	Addr netip.AddrPort
	Note string // why Addr is not on the standard port, when it is not
}

// Bind listens for a service on the first of the candidate addresses that is free, on the standard port
// if that is possible, else on the fallback port of one of them, else (where the system has none of the
// addresses) on some port of 127.0.0.1. A service that is bound already stays where it is.
func (r *Router) Bind(service string, candidates ...netip.Addr) (Bound, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.fronts[service]; f != nil {
		return f.bound, nil
	}
	l, note, err := r.listen(candidates)
	if err != nil {
		return Bound{}, fmt.Errorf("virtual address of %s: %w", service, err)
	}
	addr, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		l.Close()
		return Bound{}, fmt.Errorf("virtual address of %s: %w", service, err)
	}
	f := &front{
		r:        r,
		service:  service,
		bound:    Bound{Addr: addr, Note: note},
		listener: l,
		balancer: discovery.NewBalancer(r.opts.Balancer),
		slots:    make(chan struct{}, r.opts.MaxConns),
		known:    make(chan struct{}),
	}
	r.fronts[service] = f
	if r.start != nil {
		r.start(f)
	}
	return f.bound, nil
}

func (r *Router) listen(candidates []netip.Addr) (net.Listener, string, error) {
	l, err := r.first(candidates, r.opts.Port)
	if err == nil {
		return l, "", nil
	}
	reason := fmt.Sprintf("port %d is not possible here (%v)", r.opts.Port, errors.Unwrap(err))
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		if l, err = r.opts.Listen("127.0.0.1:0"); err != nil {
			return nil, "", err
		}
		return l, "the address range is not on this machine: listening on " + l.Addr().String(), nil
	}
	if l, err = r.first(candidates, r.opts.FallbackPort); err != nil {
		return nil, "", err
	}
	return l, fmt.Sprintf("%s: listening on %d", reason, r.opts.FallbackPort), nil
}

// first listens on the first address that nobody else listens on.
func (r *Router) first(candidates []netip.Addr, port int) (net.Listener, error) {
	err := errors.New("no address to listen on")
	for _, ip := range candidates {
		var l net.Listener
		if l, err = r.opts.Listen(netip.AddrPortFrom(ip, uint16(port)).String()); err == nil {
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, err
}

// Run forwards connections until ctx ends, then closes all listeners and connections. It returns nil.
func (r *Router) Run(ctx context.Context) error {
	var running sync.WaitGroup
	r.mu.Lock()
	r.start = func(f *front) {
		running.Go(func() { f.follow(ctx) })
		running.Go(func() { f.accept(ctx) })
	}
	for _, f := range r.fronts {
		r.start(f)
	}
	r.mu.Unlock()

	<-ctx.Done()
	r.mu.Lock()
	r.start = nil
	for service, f := range r.fronts {
		f.listener.Close()
		delete(r.fronts, service)
	}
	r.mu.Unlock()
	running.Wait()
	return nil
}

// State is what a router knows of one service.
type State struct {
	Service   string
	Bound     Bound
	Open      int // connections
	Instances []discovery.PeerState
}

// List returns the state of every service, by name.
func (r *Router) List() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	states := make([]State, 0, len(r.fronts))
	for _, f := range r.fronts {
		states = append(states, State{f.service, f.bound, len(f.slots), f.balancer.States()})
	}
	slices.SortFunc(states, func(a, b State) int { return cmp.Compare(a.Service, b.Service) })
	return states
}
