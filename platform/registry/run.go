package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cleave-go/cleave/platform/router"
)

// Options says where a registry listens and what it keeps.
type Options struct {
	// Listen is the address of the Connect interface. Default: 127.0.0.1:8761.
	Listen string
	// DNS is the address of the DNS server, UDP and TCP. Default: 127.0.0.1:8053.
	DNS string
	// Domain is the last label of all names. Default: cleave.
	Domain string
	// Dir is the folder for what outlives a restart: virtual addresses and instances. Default: nothing does.
	Dir string
	// Token is what a caller must bring to change something. Default: everybody may.
	Token string
	// Router tunes the router of the virtual addresses.
	Router router.Options
	// DisableRouter leaves out virtual addresses; service names then resolve to instances.
	DisableRouter bool
	// Logger hears of removed instances and failing faces. Default: slog.Default().
	Logger *slog.Logger
	// Ready is called once everything listens.
	Ready func(Faces)
}

// Faces is where a running registry can be reached.
type Faces struct {
	URL string // of the Connect interface
	DNS string // host:port
}

// Run runs a registry with all its faces until ctx ends: the store, the Connect interface, DNS, and the
// router of the virtual addresses. It returns an error when it cannot listen or a face fails.
func Run(ctx context.Context, opts Options) error {
	opts.Listen = cmp.Or(opts.Listen, "127.0.0.1:8761")
	opts.DNS = cmp.Or(opts.DNS, "127.0.0.1:8053")
	opts.Domain = cmp.Or(opts.Domain, "cleave")
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	r, err := open(opts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func(context.Context) error{r.store.Run, r.dns.run, r.serveHTTP}
	if r.router != nil {
		parts = append(parts, r.router.Run)
	}
	if opts.Dir != "" {
		parts = append(parts, func(ctx context.Context) error { return r.store.saveState(ctx, r.statePath()) })
	}
	if opts.Ready != nil {
		opts.Ready(Faces{URL: "http://" + r.listener.Addr().String(), DNS: r.dns.tcp.Addr().String()})
	}
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() {
			defer cancel() // one without the others is no registry
			errs[i] = part(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// running is a registry that listens.
type running struct {
	opts     Options
	store    *Store
	vips     *vips
	router   *router.Router
	dns      *dnsServer
	listener net.Listener
}

func (r *running) statePath() string { return filepath.Join(r.opts.Dir, "instances.json") }

func open(opts Options) (*running, error) {
	r := &running{opts: opts}
	storeOpts := StoreOptions{Logger: opts.Logger}
	if !opts.DisableRouter {
		storeOpts.Bind = r.bind
	}
	r.store = NewStore(&storeOpts)
	zone, err := NewZone(r.store, opts.Domain)
	if err != nil {
		return nil, err
	}
	path := ""
	if opts.Dir != "" {
		if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
			return nil, err
		}
		path = filepath.Join(opts.Dir, "vips.json")
	}
	if r.vips, err = openVIPs(path); err != nil {
		return nil, err
	}
	// The own addresses first: a second registry stops here, before it touches anything.
	if r.listener, err = net.Listen("tcp", opts.Listen); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if r.dns, err = listenDNS(opts.DNS, zone, opts.Logger); err != nil {
		r.listener.Close()
		return nil, fmt.Errorf("registry: DNS: %w", err)
	}
	if !opts.DisableRouter {
		if opts.Router.Logger == nil {
			opts.Router.Logger = opts.Logger
		}
		r.router = router.New(r.store.Resolver("router"), &opts.Router)
	}
	r.restore()
	return r, nil
}

// restore makes the services and instances of before a restart known again. What is lost here comes back
// with the next beats.
func (r *running) restore() {
	for _, name := range r.vips.names() {
		if err := r.store.ensure(name); err != nil {
			r.opts.Logger.Warn("a service is not restored", "service", name, "error", err)
		}
	}
	if r.opts.Dir == "" {
		return
	}
	regs, err := loadState(r.statePath())
	if err == nil {
		err = r.store.Restore(regs)
	}
	if err != nil {
		r.opts.Logger.Warn("instances are not restored: they come back with their next beat", "error", err)
	}
}

// bind gives a service its virtual address.
func (r *running) bind(service string) (vip, note string) {
	bound, err := r.router.Bind(service, r.vips.candidates(service)...)
	if err != nil {
		r.opts.Logger.Error("a service has no virtual address", "service", service, "error", err)
		return "", err.Error()
	}
	if err := r.vips.keep(service, bound.Addr.Addr()); err != nil {
		r.opts.Logger.Error("cannot save a virtual address: it may change at a restart", "service", service, "error", err)
	}
	return bound.Addr.String(), bound.Note
}

func (r *running) serveHTTP(ctx context.Context) error {
	server := &http.Server{
		Handler:           r.store.Handler(r.opts.Token),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		Protocols:         new(http.Protocols),
		ErrorLog:          slog.NewLogLogger(r.opts.Logger.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	defer context.AfterFunc(ctx, func() { server.Close() })() // watches never end by themselves
	if err := server.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}
