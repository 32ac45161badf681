package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// Handler returns what the control socket serves.
func (s *Supervisor) Handler() controlapi.ControlServiceHandler { return handler{s} }

type handler struct{ s *Supervisor }

func (h handler) Status(context.Context, *controlapi.StatusRequest) (*controlapi.System, error) {
	return h.s.Status(), nil
}

// Status returns what runs, at this moment.
func (s *Supervisor) Status() *controlapi.System {
	s.mu.Lock()
	defer s.mu.Unlock()
	sys := &controlapi.System{
		Name: s.sys.Name, Dir: s.sys.Dir, Topology: s.opts.Topology, Pid: int32(os.Getpid()), Started: timestamppb.New(s.started),
		PortOffset: int32(s.opts.PortOffset), Detached: s.opts.Detached, Addresses: s.addresses(), Ready: s.up,
	}
	for _, p := range s.all() {
		v := p.statusLocked()
		sys.Programs = append(sys.Programs, v)
		sys.Ready = sys.Ready && p.readyLocked() >= p.replicas
	}
	return sys
}

func (s *Supervisor) addresses() []*controlapi.Address {
	var list []*controlapi.Address
	add := func(name, address string) {
		list = append(list, &controlapi.Address{Name: name, Url: "http://" + address})
	}
	for _, p := range s.services {
		for _, h := range p.spec.Hosts {
			if h.Listen != "" {
				add(h.Service, h.Listen)
			}
		}
	}
	if !s.opts.WithoutRoles {
		add("dashboard", s.opts.loopback(DashboardPort))
		add("issuer", s.opts.loopback(IssuerPort))
		add("registry", s.opts.loopback(RegistryPort))
		list = append(list, &controlapi.Address{Name: "dns", Url: "dns://" + s.opts.loopback(DNSPort)})
	}
	return list
}

func (p *program) statusLocked() *controlapi.Program {
	v := &controlapi.Program{
		Name: p.spec.Name, Kind: "service", Services: p.spec.Services(), Run: p.spec.Run.String(), Version: p.art.version,
		Replicas: int32(p.replicas), Busy: p.busy, Problem: p.problem,
	}
	if p.role {
		v.Kind, v.Run = "role", "cleave role "+p.spec.Name
	}
	for _, i := range p.instances {
		in := &controlapi.Instance{
			Id: i.id, Phase: string(i.state.Phase), Reason: i.state.Reason, Address: i.called(), AdminAddress: i.admin(),
			Version: i.art.version, Restarts: int32(max(0, i.state.Run-1)), Since: timestamppb.New(i.since), Log: i.log(),
		}
		if i.proc != nil {
			in.Pid = int32(i.proc.pid)
		}
		v.Instances = append(v.Instances, in)
	}
	return v
}

func (h handler) Logs(ctx context.Context, req *controlapi.LogsRequest, stream controlapi.ControlServiceLogsServerStream) error {
	files, err := h.s.logsOf(req.GetNames())
	if err != nil {
		return status(err)
	}
	if req.GetLines() < 0 || req.GetLines() > 10_000 {
		return connect.Errorf(connect.CodeInvalidArgument, "%d lines: it must be from 0 to 10000", req.GetLines())
	}
	var mu sync.Mutex
	send := func(id string) func(string) error {
		return func(text string) error {
			mu.Lock()
			defer mu.Unlock()
			return stream.Send(&controlapi.LogLine{Instance: id, Text: text})
		}
	}
	ends := make([]int64, len(files))
	for k, f := range files {
		var lines []string
		lines, ends[k] = tail(f.file, int(req.GetLines()))
		for _, line := range lines {
			if err := send(f.id)(line); err != nil {
				return err
			}
		}
	}
	if !req.GetFollow() {
		return nil
	}
	var wg sync.WaitGroup
	for k, f := range files {
		wg.Go(func() { _ = follow(ctx, f.file, ends[k], send(f.id)) })
	}
	wg.Wait()
	return nil
}

type logFile struct{ id, file string }

// logsOf returns the logs of the instances that the names stand for.
func (s *Supervisor) logsOf(names []string) ([]logFile, error) {
	var list []logFile
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.all() {
		for _, i := range p.instances {
			if len(names) == 0 || slices.Contains(names, i.id) || slices.Contains(names, p.spec.Name) || slices.ContainsFunc(p.spec.Services(), func(v string) bool { return slices.Contains(names, v) }) {
				list = append(list, logFile{i.id, i.log()})
			}
		}
	}
	if len(list) > 0 || len(names) == 0 {
		return list, nil
	}
	for _, name := range names {
		if _, err := s.lookup(name); err != nil {
			return nil, err
		}
	}
	return nil, &UsageError{fmt.Sprintf("%s has no instance now", names[0])}
}

func (h handler) Scale(ctx context.Context, req *controlapi.ScaleRequest, stream controlapi.ControlServiceScaleServerStream) error {
	return status(h.s.Scale(ctx, req.GetName(), int(req.GetReplicas()), progress(stream.Send)))
}

func (h handler) Restart(ctx context.Context, req *controlapi.RestartRequest, stream controlapi.ControlServiceRestartServerStream) error {
	return status(h.s.Restart(ctx, req.GetName(), progress(stream.Send)))
}

func (h handler) Deploy(ctx context.Context, req *controlapi.DeployRequest, stream controlapi.ControlServiceDeployServerStream) error {
	grace := time.Duration(req.GetReadySeconds()) * time.Second
	if grace < 0 || grace > time.Hour {
		return connect.Errorf(connect.CodeInvalidArgument, "ready_seconds %d: it must be from 0 to 3600", req.GetReadySeconds())
	}
	return status(h.s.Deploy(ctx, req.GetName(), req.GetBinary(), grace, progress(stream.Send)))
}

func (h handler) Token(_ context.Context, req *controlapi.TokenRequest) (*controlapi.TokenResponse, error) {
	token, expires, err := h.s.issuer.Sign(req.GetSubject(), req.GetRoles(), time.Duration(req.GetTtlSeconds())*time.Second)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err.Error())
	}
	return &controlapi.TokenResponse{Token: token, Expires: timestamppb.New(expires)}, nil
}

func (h handler) Environment(_ context.Context, req *controlapi.EnvironmentRequest) (*controlapi.EnvironmentResponse, error) {
	p, err := h.s.lookup(req.GetService())
	if err == nil && p.role {
		err = &UsageError{"the " + p.spec.Name + " is a role, not a service"}
	}
	if err != nil {
		return nil, status(err)
	}
	port, err := h.s.ports.take()
	if err != nil {
		return nil, status(err)
	}
	time.AfterFunc(time.Minute, func() { h.s.ports.release(port) }) // by then it is in use, or nobody wants it
	i := &instance{sup: h.s, prog: p, id: fmt.Sprintf("%s-exec-%d", p.spec.Name, port), art: p.artifact(), port: port}
	i.state.Phase = lifecycle.Pending
	env := slices.DeleteFunc(h.s.environment(p, i), func(v string) bool {
		return len(v) > 14 && v[:14] == "NOTIFY_SOCKET="
	})
	return &controlapi.EnvironmentResponse{Environment: env, Dir: h.s.sys.Dir}, nil
}

func (h handler) Down(_ context.Context, _ *controlapi.DownRequest, stream controlapi.ControlServiceDownServerStream) error {
	say := progress(stream.Send)
	say("stopping " + h.s.sys.Name)
	h.s.once.Do(func() { close(h.s.end) })
	return h.s.await(context.Background(), func() bool { return h.s.gone })
}

func progress(send func(*controlapi.Progress) error) func(string) {
	return func(text string) { _ = send(&controlapi.Progress{Text: text}) }
}

// status gives an error the code that the command line turns into an exit code.
func status(err error) error {
	var (
		name    *NameError
		usage   *UsageError
		busy    *BusyError
		rollout *RolloutError
		broken  *BuildError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &name):
		return connect.NewError(connect.CodeNotFound, err.Error())
	case errors.As(err, &usage):
		return connect.NewError(connect.CodeInvalidArgument, err.Error())
	case errors.As(err, &busy):
		return connect.NewError(connect.CodeAborted, err.Error())
	case errors.As(err, &rollout), errors.As(err, &broken):
		return connect.NewError(connect.CodeFailedPrecondition, err.Error())
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err.Error())
	}
	return connect.NewError(connect.CodeInternal, err.Error())
}
