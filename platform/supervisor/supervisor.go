package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/issuer"
	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// Supervisor runs one system. Its methods may be called concurrently while Run
// runs.
type Supervisor struct {
	sys      *manifest.System
	opts     Options
	layout   Layout
	roles    []*program // in starting order
	services []*program // in the order of cleave.yaml

	// Set before anything runs.
	token      string
	brokerPort int
	issuer     *issuer.Issuer
	registry   *discovery.Client
	warden     *warden
	launcher   *launcher
	ports      *ports
	sockets    sockets
	started    time.Time

	wg   sync.WaitGroup
	stop context.CancelFunc
	once sync.Once
	end  chan struct{} // closed when Down was asked for

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	saved   []byte
	up      bool // everything was started once
	gone    bool // everything was stopped
}

// New checks what can be checked without starting anything.
func New(sys *manifest.System, o *Options) (*Supervisor, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if opts.Topology == "" {
		opts.Topology = manifest.DefaultTopology
	}
	plan, err := sys.Plan(opts.Topology)
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		sys: sys, opts: opts, layout: Layout{sys.Dir}, ports: newPorts(),
		changed: make(chan struct{}), end: make(chan struct{}), started: time.Now(),
	}
	for _, spec := range plan {
		for k, h := range spec.Hosts {
			if h.Listen == "" {
				continue
			}
			if spec.Hosts[k].Listen, err = opts.shift(h.Listen); err != nil {
				return nil, fmt.Errorf("service %s: %w", h.Service, err)
			}
		}
		s.services = append(s.services, s.newProgram(spec, false))
	}
	return s, nil
}

func (s *Supervisor) newProgram(spec manifest.Program, role bool) *program {
	p := &program{sup: s, spec: spec, role: role, replicas: spec.Replicas, op: make(chan struct{}, 1)}
	p.op <- struct{}{}
	return p
}

// Run brings the system up and keeps it so until ctx ends or Down is called;
// then it stops everything in order. It returns early when another supervisor
// has the folder, when a fixed address is taken, and when the first build fails.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := s.layout.create(); err != nil {
		return err
	}
	lock, err := lockDir(s.layout)
	if err != nil {
		return err
	}
	defer lock.Close()
	old, err := s.prepare()
	if err != nil {
		return err
	}
	defer s.sockets.close()
	if err := s.keepExecutable(); err != nil {
		return err
	}
	if !s.opts.Detached {
		if s.warden, err = newWarden(s.opts.Executable); err != nil {
			return err
		}
		defer s.warden.close()
	}
	s.launcher = newLauncher()
	defer s.launcher.close()

	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	s.adopt(old)
	if err := s.reserve(); err != nil {
		s.shutdown()
		return err
	}
	served := make(chan error, 1)
	serveCtx, endServe := context.WithCancel(context.WithoutCancel(ctx))
	go func() { served <- control.Serve(serveCtx, s.layout.Socket(), s.Handler()) }()
	s.wg.Go(func() { s.tend(ctx) })

	err = s.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-s.end:
		case err = <-served:
			served <- nil
		}
	}
	s.stop()
	s.shutdown()
	s.wg.Wait()
	endServe()
	err = errors.Join(err, <-served)
	s.save()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// prepare reads what an earlier supervisor left and makes what this one needs.
func (s *Supervisor) prepare() (state, error) {
	old, err := readState(s.layout)
	if err != nil {
		return old, err
	}
	s.token, s.brokerPort = old.Token, old.BrokerPort
	if s.token == "" {
		s.token = newToken()
	}
	if s.issuer, err = issuer.Open(s.layout.IssuerKey(), "http://"+s.opts.loopback(IssuerPort), s.sys.Name); err != nil {
		return old, err
	}
	if s.opts.WithoutRoles {
		return old, nil
	}
	running := slices.ContainsFunc(old.Instances, func(i instanceState) bool { return i.Program == "broker" && lives(i.PID, i.Birth) })
	if s.brokerPort == 0 || (!running && !free("127.0.0.1:"+strconv.Itoa(s.brokerPort))) {
		if s.brokerPort, err = s.ports.take(); err != nil {
			return old, err
		}
	}
	s.ports.claim(s.brokerPort)
	s.registry, err = discovery.NewClient("http://"+s.opts.loopback(RegistryPort), s.token, nil)
	if err != nil {
		return old, err
	}
	roles := s.rolePrograms()
	s.mu.Lock() // somebody may wait for readiness already
	defer s.mu.Unlock()
	s.roles = roles
	return old, nil
}

// rolePrograms are the children of the supervisor's own executable.
func (s *Supervisor) rolePrograms() []*program {
	role := func(name, at string, args ...string) *program {
		p := s.newProgram(manifest.Program{
			Name: name, Run: manifest.Run{Command: append([]string{s.opts.Executable, "role", name, "--listen", at}, args...)},
			Hosts: []manifest.Hosted{{Service: name}}, Replicas: 1,
		}, true)
		p.at = at
		return p
	}
	registry := s.opts.loopback(RegistryPort)
	return []*program{
		role("registry", registry, "--dns", s.opts.loopback(DNSPort), "--dir", s.layout.Role("registry")),
		role("broker", "127.0.0.1:"+strconv.Itoa(s.brokerPort), "--dir", s.layout.Role("broker")),
		role("dashboard", s.opts.loopback(DashboardPort), "--issuer-listen", s.opts.loopback(IssuerPort),
			"--issuer-key", s.layout.IssuerKey(), "--registry", "http://"+registry, "--system", s.sys.Name, "--socket", s.layout.Socket()),
	}
}

// keepExecutable copies an executable that will not stay, as that of `go run`
// does not, to where the roles can still be started from later.
func (s *Supervisor) keepExecutable() error {
	if rel, err := filepath.Rel(os.TempDir(), s.opts.Executable); err != nil || !filepath.IsLocal(rel) {
		return nil
	}
	a, err := store(s.layout, s.opts.Executable, "cleave")
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.opts.Executable, err)
	}
	s.opts.Executable = a.path
	for _, p := range s.roles {
		p.spec.Run.Command[0] = a.path
	}
	return nil
}

// reserve makes sure that nobody else has the fixed addresses.
func (s *Supervisor) reserve() error {
	if !s.opts.WithoutRoles {
		for _, a := range []struct {
			role string
			port int
		}{{"registry", RegistryPort}, {"registry", DNSPort}, {"dashboard", DashboardPort}, {"dashboard", IssuerPort}} {
			p := s.find(a.role)
			if address := s.opts.loopback(a.port); len(p.live()) == 0 && !free(address) {
				return &TakenError{Address: address, For: "the " + a.role}
			}
		}
	}
	for _, p := range s.services {
		for _, h := range p.spec.Hosts {
			if h.Listen != "" && len(p.live()) == 0 && !s.sockets.held(h.Listen) && !free(h.Listen) {
				return &TakenError{Address: h.Listen, For: h.Service}
			}
		}
	}
	return nil
}

// start starts roles and builds beside each other, then the services.
func (s *Supervisor) start(ctx context.Context) error {
	for _, p := range s.roles {
		if err := s.fill(p); err != nil {
			return err
		}
	}
	built, err := s.buildAll(ctx)
	if err != nil {
		if !s.anyLive(s.services) {
			return err
		}
		for _, p := range s.services {
			if p.spec.Run.Package != "" {
				s.update(func() { p.problem = err.Error() })
			}
		}
	}
	for _, p := range s.services {
		if a, ok := built[p.spec.Run.Package]; ok {
			s.update(func() { p.art = a })
		}
	}
	for _, p := range s.roles {
		if err := s.awaitReady(ctx, p); err != nil {
			return err
		}
	}
	for _, p := range s.services {
		if p.spec.Run.Package != "" && p.art.path == "" {
			continue // its build failed, adopted instances go on
		}
		if err := s.fill(p); err != nil {
			return err
		}
	}
	used := map[string]bool{s.opts.Executable: true}
	for _, a := range built {
		used[a.path] = true
	}
	clean(s.layout, used)
	s.update(func() { s.up = true })
	return nil
}

func (s *Supervisor) buildAll(ctx context.Context) (map[string]artifact, error) {
	var packages []string
	for _, p := range s.services {
		if pkg := p.spec.Run.Package; pkg != "" && !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
	}
	if len(packages) == 0 {
		return nil, nil
	}
	for _, p := range s.services {
		if p.spec.Run.Package != "" {
			s.update(func() { p.busy = "building" })
			defer s.update(func() { p.busy = "" })
		}
	}
	return build(ctx, s.layout, packages)
}

// fill adds instances up to the program's number.
func (s *Supervisor) fill(p *program) error {
	for len(p.live()) < p.replicas {
		i, err := p.add(p.art, s.opts.Policy)
		if err != nil {
			return err
		}
		i.send(lifecycle.Event{Kind: lifecycle.Launch})
	}
	return nil
}

// awaitReady waits until a role is ready. A role that keeps failing is an error
// with its last words.
func (s *Supervisor) awaitReady(ctx context.Context, p *program) error {
	var failing error
	err := s.await(ctx, func() bool {
		for _, i := range p.instances {
			if i.state.Failures >= 3 {
				failing = fmt.Errorf("the %s does not start: %s (log: %s)", p.spec.Name, i.state.Reason, i.log())
			}
		}
		return failing != nil || p.readyLocked() >= p.replicas
	})
	return errors.Join(failing, err)
}

// tend does what time asks for: it keeps logs below their bound.
func (s *Supervisor) tend(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			entries, _ := os.ReadDir(s.layout.Logs())
			for _, e := range entries {
				if name := e.Name(); len(name) > 4 && name[len(name)-4:] == ".log" {
					_ = rotate(s.layout.log(name[:len(name)-4]))
				}
			}
		}
	}
}

// shutdown stops programs with fixed addresses first, as nobody should come in
// any more, then the other services, then the roles, the registry last.
func (s *Supervisor) shutdown() {
	var edge, inner []*program
	for _, p := range s.services {
		if slices.ContainsFunc(p.spec.Hosts, func(h manifest.Hosted) bool { return h.Listen != "" }) {
			edge = append(edge, p)
		} else {
			inner = append(inner, p)
		}
	}
	stop := func(list []*program) {
		var all []*instance
		for _, p := range list {
			all = append(all, p.live()...)
		}
		for _, i := range all {
			i.send(lifecycle.Event{Kind: lifecycle.Stop, Reason: "the system goes down"})
		}
		for _, i := range all {
			<-i.done
		}
	}
	stop(edge)
	stop(inner)
	for _, p := range slices.Backward(s.roles) {
		stop([]*program{p})
	}
	s.update(func() { s.gone = true })
}
