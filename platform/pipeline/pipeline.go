package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor"
)

// Options change how a line runs. Nil means all defaults.
type Options struct {
	// Stages to run, in their order. Default: all.
	Stages []Stage
	// Staged makes pre-commit judge what is staged in git instead of the working
	// tree. No other stage can.
	Staged bool
	// Force runs what is unchanged, too.
	Force bool
	// Environ is what the allowed variables are taken from. Default: os.Environ.
	Environ []string
	// Ready is how long a program may take to become ready. Default: 30 s.
	Ready time.Duration
	// Stop is how long it may take to end when told to. Default: 15 s.
	Stop time.Duration
	// Say is told what begins and what ended, for people. Default: nobody is.
	Say func(string)
	// Done is told how each stage ended. Default: nobody is.
	Done func(Result)
	// Target is the running system. Default: none; the deploy stage is skipped.
	Target Target
}

// unit is a service in the line.
type unit struct{ manifest.Service }

// line is one run.
type line struct {
	sys    *manifest.System
	opts   Options
	cache  cache
	env    []string
	git    []string
	tools  inputs
	work   string // the file go.work, or empty
	lint   bool   // whether staticcheck is there
	report *Report

	goroot  string
	sources map[string]*source // by service
}

// Run takes services through the stages, all services that are Go packages if
// none is named. Stage by stage: a stage begins when the one before has passed
// for every service. The report tells what was done even when err is not nil. A
// stage that fails ends the run with a [*StageError]; other errors are a
// [*NameError], a [*NeedError], and those of the machine.
func Run(ctx context.Context, sys *manifest.System, services []string, opts *Options) (Report, error) {
	report := Report{System: sys.Name}
	start := time.Now()
	l, err := open(sys, opts, &report)
	if err == nil {
		err = l.run(ctx, services)
	}
	report.Passed, report.Seconds = err == nil, seconds(start)
	return report, err
}

func open(sys *manifest.System, opts *Options, report *Report) (*line, error) {
	l := &line{report: report, sources: map[string]*source{}}
	if opts != nil {
		l.opts = *opts
	}
	if l.opts.Say == nil {
		l.opts.Say = func(string) {}
	}
	if l.opts.Done == nil {
		l.opts.Done = func(Result) {}
	}
	l.opts.Ready, l.opts.Stop = cmp.Or(l.opts.Ready, 30*time.Second), cmp.Or(l.opts.Stop, 15*time.Second)
	if len(l.opts.Stages) == 0 {
		l.opts.Stages = Stages()
	}
	for _, st := range l.opts.Stages {
		if !slices.Contains(Stages(), st) {
			return nil, &UsageError{fmt.Sprintf("there is no stage %q; there are pre-commit, commit, integration, component, deploy", st)}
		}
		if l.opts.Staged && st != PreCommit {
			return nil, &UsageError{fmt.Sprintf("only pre-commit can judge what is staged; the %s stage takes the working tree", st)}
		}
	}
	environ := environOr(l.opts.Environ)
	l.env = append(scrub(environ), "GOTELEMETRY=off")
	l.git = forGit(scrub(environ), environ)
	dir, err := filepath.EvalSymlinks(sys.Dir) // as go and git name it
	if err != nil {
		return nil, err
	}
	resolved := *sys
	resolved.Dir, l.sys = dir, &resolved
	l.cache, err = openCache(supervisor.Layout{Dir: sys.Dir}.StateDir())
	return l, err
}

func (l *line) run(ctx context.Context, names []string) error {
	units, err := l.choose(names)
	if err != nil {
		return err
	}
	if err := l.inspect(ctx); err != nil {
		return err
	}
	for _, st := range Stages() {
		if !slices.Contains(l.opts.Stages, st) {
			continue
		}
		if st == PreCommit {
			if err := l.stage(ctx, st, "", func(ctx context.Context, j *job) error { return l.preCommit(ctx, j, units) }); err != nil {
				return err
			}
			continue
		}
		for _, u := range units {
			do := map[Stage]func(context.Context, *job, unit) error{
				Commit: l.commit, Integration: l.integration, Component: l.component, Deploy: l.deploy,
			}[st]
			if err := l.stage(ctx, st, u.Name, func(ctx context.Context, j *job) error { return do(ctx, j, u) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose returns the named services, or all. A service that is a command has
// nothing that could be built or tested here.
func (l *line) choose(names []string) ([]unit, error) {
	var units []unit
	for _, name := range names {
		v, ok := l.sys.Service(name)
		if !ok {
			e := &NameError{Name: name}
			for _, s := range l.sys.Services {
				e.Known = append(e.Known, s.Name)
			}
			return nil, e
		}
		if v.Run.Package == "" {
			return nil, &UsageError{fmt.Sprintf("%s runs the command %q; the pipeline knows Go packages only", name, v.Run)}
		}
		if !slices.ContainsFunc(units, func(u unit) bool { return u.Name == name }) {
			units = append(units, unit{v})
		}
	}
	if len(names) > 0 {
		return units, nil
	}
	for _, v := range l.sys.Services {
		if v.Run.Package != "" {
			units = append(units, unit{v})
		}
	}
	if len(units) == 0 {
		return nil, &UsageError{fmt.Sprintf("no service of %s is a Go package; the pipeline knows nothing else", l.sys.Name)}
	}
	return units, nil
}

// inspect finds out which tools are there: their versions are inputs.
func (l *line) inspect(ctx context.Context) error {
	l.tools = inputs{"pipeline format": fmt.Sprint(format)}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
				l.tools["cleave "+s.Key] = s.Value
			}
		}
	}
	for _, v := range l.env {
		name, value, _ := strings.Cut(v, "=")
		l.tools.add("env "+name, value)
	}
	out, all, err := l.command("go", "env", "GOVERSION", "GOROOT", "GOWORK").run(ctx)
	if err != nil {
		return fmt.Errorf("go env: %w %s", err, all)
	}
	answers := strings.Split(out, "\n")
	if len(answers) < 3 {
		return fmt.Errorf("go env answers %q", out)
	}
	l.tools["go version"], l.goroot = answers[0], answers[1]
	if l.work = answers[2]; l.work == "off" {
		l.work = ""
	}
	if slices.Equal(l.opts.Stages, []Stage{PreCommit}) {
		return ctx.Err()
	}
	out, _, err = l.command("go", "tool", "staticcheck", "-version").run(ctx)
	if l.lint = err == nil; l.lint {
		l.tools["staticcheck version"] = strings.TrimSpace(out)
	}
	return ctx.Err()
}

// command returns a command in the system's folder.
func (l *line) command(args ...string) command {
	return command{dir: l.sys.Dir, env: l.env, args: args}
}

// files returns the inputs that every stage has, and the tree they are from.
func (l *line) files() (inputs, tree, error) {
	in, t := maps.Clone(l.tools), tree{root: l.sys.Dir}
	if l.work == "" {
		return in, t, nil
	}
	return in, t, errors.Join(t.file(in, l.work), t.file(in, l.work+".sum"))
}

// contracts returns the Pact files of the system: all in folders of that name.
func (l *line) contracts() ([]string, error) {
	var files []string
	err := walkFolders(l.sys.Dir, func(dir string) error {
		if filepath.Base(dir) != "contracts" {
			return nil
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.json"))
		files = append(files, found...)
		return err
	})
	slices.Sort(files)
	return files, err
}
