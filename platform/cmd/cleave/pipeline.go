package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/pipeline"
	"github.com/cleave-go/cleave/platform/supervisor"
)

type pipelineFlags struct {
	stages             []pipeline.Stage
	all, staged, force bool
}

func (f *pipelineFlags) declare(fs *flag.FlagSet) {
	fs.Func("stage", "", func(v string) error {
		for name := range strings.SplitSeq(v, ",") {
			f.stages = append(f.stages, pipeline.Stage(name))
		}
		return nil
	})
	fs.BoolVar(&f.all, "all", false, "")
	fs.BoolVar(&f.staged, "staged", false, "")
	fs.BoolVar(&f.force, "force", false, "")
}

func (f *pipelineFlags) run(ctx context.Context, e *env, args []string) error {
	dir, err := e.system()
	if err != nil {
		return err
	}
	switch {
	case len(args) > 0 && args[0] == "run":
		return f.line(ctx, e, dir, args[1:])
	case len(args) == 2 && args[0] == "hook" && args[1] == "install":
		return hookInstall(ctx, e, dir)
	}
	return &usageError{"pipeline takes `run [SERVICE…]` or `hook install`"}
}

func (f *pipelineFlags) line(ctx context.Context, e *env, dir string, services []string) error {
	if f.all && len(services) > 0 {
		return &usageError{"pipeline run takes services or --all, not both"}
	}
	if f.staged && len(f.stages) == 0 {
		f.stages = []pipeline.Stage{pipeline.PreCommit}
	}
	sys, err := manifest.Load(dir)
	if err != nil {
		return err
	}
	report, err := pipeline.Run(ctx, sys, services, &pipeline.Options{
		Stages: f.stages, Staged: f.staged, Force: f.force, Say: e.progress, Target: target{dir},
		Done: func(r pipeline.Result) {
			if !e.json {
				e.stage(r)
			}
		},
	})
	if e.json {
		e.print(report)
	}
	return pipelineError(err)
}

// pipelineError gives an error the kind that stands for its exit code.
func pipelineError(err error) error {
	var (
		usage *pipeline.UsageError
		name  *pipeline.NameError
		stage *pipeline.StageError
	)
	switch {
	case errors.Is(err, pipeline.ErrNotRunning):
		return &notRunningError{}
	case errors.As(err, &usage):
		return &usageError{usage.Text}
	case errors.As(err, &name):
		return connect.NewError(connect.CodeNotFound, name.Error())
	case errors.As(err, &stage):
		if code := connect.CodeOf(stage.Err); code == connect.CodeFailedPrecondition || code == connect.CodeAborted {
			return connect.NewError(code, stage.Error())
		}
		return errors.New(stage.Error())
	}
	return err
}

// stage shows what a stage did.
func (e *env) stage(r pipeline.Result) {
	name := r.Service
	if name == "" {
		name = "all"
	}
	fmt.Fprintf(e.out, "%-14s %-12s %-10s %6.1f s  %s\n", name, r.Stage, r.Outcome, r.Seconds, r.Why)
	if r.Outcome == pipeline.Unchanged {
		return
	}
	for _, s := range r.Steps {
		word := s.Name
		if !s.OK {
			word += " failed"
		}
		note, _, _ := strings.Cut(s.Note, "\n")
		fmt.Fprintf(e.out, "%-14s   %-30s %s %5.1f s  %s\n", "", word, "      ", s.Seconds, note)
	}
}

func hookInstall(ctx context.Context, e *env, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	file, err := pipeline.InstallHook(ctx, dir, self)
	if err != nil {
		return err
	}
	e.done(file + " judges what is staged before each commit")
	return nil
}

// target is the system of a folder, by its control socket.
type target struct{ dir string }

func (t target) dial() (controlapi.ControlServiceClient, error) {
	if supervisor.Running(t.dir) == 0 {
		return nil, pipeline.ErrNotRunning
	}
	return control.Dial(supervisor.Layout{Dir: t.dir}.Socket()), nil
}

func (t target) Running(ctx context.Context, service string) (version string, together []string, err error) {
	client, err := t.dial()
	if err != nil {
		return "", nil, err
	}
	sys, err := client.Status(ctx, &controlapi.StatusRequest{})
	if err != nil {
		if control.NotRunning(err) {
			err = fmt.Errorf("%w: %w", pipeline.ErrNotRunning, err)
		}
		return "", nil, err
	}
	for _, p := range sys.GetPrograms() {
		for _, s := range p.GetServices() {
			if s == service && p.GetKind() == "service" {
				return p.GetVersion(), p.GetServices(), nil
			}
		}
	}
	return "", nil, fmt.Errorf("the running system has no service %s; start it again", service)
}

func (t target) Deploy(ctx context.Context, service, binary string, say func(string)) error {
	client, err := t.dial()
	if err != nil {
		return err
	}
	stream, err := client.Deploy(ctx, &controlapi.DeployRequest{Name: service, Binary: binary})
	if err != nil {
		return remoteError{err}
	}
	defer stream.Close()
	for {
		p, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return remoteError{err}
		}
		say(p.GetText())
	}
}

// remoteError says what a connect error says, without its code.
type remoteError struct{ error }

func (e remoteError) Error() string {
	var remote *connect.Error
	if errors.As(e.error, &remote) {
		return remote.Message()
	}
	return e.error.Error()
}

func (e remoteError) Unwrap() error { return e.error }
