package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	rtrace "runtime/trace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/rpi"
)

// Options give Run what it does not find in the environment. Nil means the
// defaults.
type Options struct {
	Environ []string     // NAME=value, later ones win. Default: os.Environ()
	Logger  *slog.Logger // Default: slog.Default()
	Tracer  trace.Tracer // Default: none
	Meter   metric.Meter // Default: none
	Metrics http.Handler // serves /metrics. Default: none

	Bus      bus.Bus            // Default: as NATS_URL says
	Resolver discovery.Resolver // Default: as CLEAVE_REGISTRY says

	Started func(Addresses) // called once the process is ready
	Linger  time.Duration   // longest wait for connections to be let go. Default: 10 s, 1.5 s if there is no registry
	Grace   time.Duration   // longest wait for calls, and then for workers, to end. Default: 10 s

	LogLevel *slog.LevelVar // the level of Logger, which /loglevel shows and sets. Default: none
}

// Addresses are where a process listens.
type Addresses struct {
	Admin    string
	Services map[string]string // host:port by service
}

// process is everything that the services of one process share.
type process struct {
	options  Options
	settings settings
	logger   *slog.Logger
	tracer   trace.Tracer
	meter    metric.Meter
	bus      bus.Bus
	verifier *auth.Verifier // nil: tokens are not read
	tls      *rpi.TLS       // nil: plain text
	resolver discovery.Resolver
	registry *discovery.Client // nil: none

	hosts     []*Host
	composed  chan struct{} // closed when all hosts are known
	state     atomic.Int32
	listeners []*listener
	closers   []func() error // in order of opening

	leave      context.CancelFunc // the registry; nil: not in it
	registered sync.WaitGroup

	work     context.Context // of workers
	stopWork context.CancelFunc
	running  sync.WaitGroup
	failed   chan error // the first counts
	waiting  atomic.Pointer[string]

	flightMu sync.Mutex
	flight   *rtrace.FlightRecorder // nil: nothing is recorded; guarded by flightMu
}

// The states of a process, in their order.
const (
	starting int32 = iota
	ready
	draining
)

// Run runs those of services that the environment chooses until ctx ends or
// one fails, then stops them in order. It returns nil after a stop that ctx
// asked for and that went well.
func Run(ctx context.Context, services []Named, o *Options) error {
	p, err := newProcess(services, o)
	if err != nil {
		return err
	}
	chosen, err := choose(services, p.settings.getenv("CLEAVE_SERVICES"))
	if err != nil {
		return err
	}
	defer p.stopWork()
	if err := p.compose(ctx, chosen); err != nil {
		return errors.Join(err, p.close())
	}
	err = p.serve(ctx)
	return errors.Join(err, p.close())
}

func newProcess(services []Named, o *Options) (*process, error) {
	p := &process{composed: make(chan struct{}), failed: make(chan error, 1)}
	if o != nil {
		p.options = *o
	}
	if p.options.Environ == nil {
		p.options.Environ = os.Environ()
	}
	if p.options.Grace <= 0 {
		p.options.Grace = 10 * time.Second
	}
	p.logger, p.tracer, p.meter, p.bus, p.resolver = p.options.Logger, p.options.Tracer, p.options.Meter, p.options.Bus, p.options.Resolver
	if p.logger == nil {
		p.logger = slog.Default()
	}
	if p.tracer == nil {
		p.tracer = tracenoop.Tracer{}
	}
	if p.meter == nil {
		p.meter = metricnoop.Meter{}
	}
	var err error
	if p.settings, err = readSettings(lookup(p.options.Environ), p.options.Environ, services); err != nil {
		return nil, err
	}
	if p.options.Linger <= 0 {
		p.options.Linger = 1500 * time.Millisecond
		if p.settings.registry != "" { // its callers go elsewhere
			p.options.Linger = 10 * time.Second
		}
	}
	if p.settings.instance == "" {
		p.settings.instance = strings.ToLower(rand.Text()[:10])
	}
	if p.settings.version == "" {
		p.settings.version = buildVersion()
	}
	p.work, p.stopWork = context.WithCancel(context.Background())
	return p, nil
}

// lookup returns a getenv over environ.
func lookup(environ []string) func(string) string {
	values := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

// compose connects what the services share, then has each register.
func (p *process) compose(ctx context.Context, chosen []Named) error {
	if p.settings.flight > 0 {
		if err := p.startFlight(p.settings.flight); err != nil {
			return err
		}
	}
	if err := p.connect(ctx, chosen); err != nil {
		return err
	}
	for _, n := range chosen {
		h, err := p.newHost(n.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
		p.hosts = append(p.hosts, h)
		if err := p.construct(ctx, h, n.New); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	close(p.composed)
	return nil
}

// construct turns a panic, such as that of a procedure registered twice, into
// an error that says whose it is.
func (p *process) construct(ctx context.Context, h *Host, create Service) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return create(ctx, h)
}

// serve runs the composed process until ctx ends or something fails.
func (p *process) serve(ctx context.Context) error {
	if err := p.listen(); err != nil {
		return err
	}
	admin, err := p.startAdmin()
	if err != nil {
		p.closeListeners()
		return err
	}
	for _, l := range p.listeners {
		p.spawn(l.name+" listener", func(context.Context) error { return l.serve() })
	}
	for _, h := range p.hosts {
		for _, w := range h.workers {
			p.spawn(h.name+" "+w.name, w.run)
		}
	}
	if p.awaitReady(ctx) {
		if rerr := p.register(admin.addr()); rerr != nil {
			p.fail(rerr)
		} else {
			p.announce(admin.addr())
		}
		select {
		case <-ctx.Done():
		case err = <-p.failed:
		}
	} else {
		select {
		case err = <-p.failed:
		default:
		}
	}
	return errors.Join(err, p.stop(admin))
}

// aheadPause is how long a worker rests that has found a bus ahead of a table.
const aheadPause = 5 * time.Second

// spawn runs f as a worker. Its error, unless it was told to stop, stops the
// process; but a bus that is ahead of a table is a matter for a person, who
// needs the process for it: the worker is started again now and then.
func (p *process) spawn(name string, f func(context.Context) error) {
	p.running.Go(func() {
		err := f(p.work)
		for errors.Is(err, bus.ErrAhead) && p.work.Err() == nil {
			p.logger.Error("worker stands still until a person decides: see cleave events epoch", "worker", name, "error", err)
			select {
			case <-time.After(aheadPause):
				err = f(p.work)
			case <-p.work.Done():
				return
			}
		}
		if p.work.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			return
		}
		if err == nil {
			return // done early: it had nothing more to do
		}
		p.fail(fmt.Errorf("%s: %w", name, err))
	})
}

// fail has the process stop because of err.
func (p *process) fail(err error) {
	select {
	case p.failed <- err:
	default:
		p.logger.Error("something failed too", "error", err)
	}
}

// awaitReady asks every check until it passes; false if the process ends
// before.
func (p *process) awaitReady(ctx context.Context) bool {
	for _, h := range p.hosts {
		for _, c := range h.checks {
			if !p.awaitCheck(ctx, h.name+" "+c.name, c.done) {
				return false
			}
		}
	}
	if ctx.Err() != nil || len(p.failed) > 0 {
		return false
	}
	p.state.Store(ready)
	return true
}

func (p *process) awaitCheck(ctx context.Context, name string, done func(context.Context) error) bool {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := done(ctx)
		if err == nil {
			p.waiting.Store(nil)
			return true
		}
		text := fmt.Sprintf("%s: %v", name, err)
		p.waiting.Store(&text)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		case err := <-p.failed:
			p.failed <- err
			return false
		}
	}
}

// announce says that the process is ready: in the log and to its supervisor.
func (p *process) announce(admin string) {
	a := Addresses{Admin: admin, Services: map[string]string{}}
	attrs := []any{"admin", admin}
	for _, l := range p.listeners {
		for _, h := range l.hosts {
			a.Services[h.name] = l.addr()
			attrs = append(attrs, h.name, l.addr())
		}
	}
	p.logger.Info("ready", attrs...)
	if err := p.notify("READY=1"); err != nil {
		p.logger.Warn("cannot report readiness", "error", err)
	}
	if p.options.Started != nil {
		p.options.Started(a)
	}
}

// stop ends the process in order: registry, calls, workers; databases are
// closed after.
func (p *process) stop(admin *adminServer) error {
	begin := time.Now()
	p.state.Store(draining)
	if err := p.notify("STOPPING=1"); err != nil {
		p.logger.Warn("cannot report stopping", "error", err)
	}
	p.logger.Info("stopping")
	p.unregister()
	errs := p.drain()
	p.stopWork()
	if !within(p.options.Grace, p.running.Wait) {
		errs = append(errs, fmt.Errorf("workers did not end within %v", p.options.Grace))
	}
	admin.close()
	p.logger.Info("stopped", "took", time.Since(begin))
	return errors.Join(errs...)
}

// drain finishes the calls under way on every listener.
func (p *process) drain() []error {
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, l := range p.listeners {
		all.Go(func() {
			if err := l.drain(p.options.Linger, p.options.Grace); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return errs
}

// close closes what compose opened, the last first.
func (p *process) close() error {
	p.stopWork()
	p.stopFlight()
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	return errors.Join(errs...)
}

// within reports whether f returned in time. If not, f goes on.
func within(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// buildVersion is the revision that the binary was built from.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	if info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
