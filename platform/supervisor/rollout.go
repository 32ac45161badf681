package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cleave-go/cleave/platform/deploy"
	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// NameError says that the system has nothing of that name.
type NameError struct {
	Name  string
	Known []string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("there is no %q; there are %s", e.Name, strings.Join(e.Known, ", "))
}

// RolloutError says why new instances did not become ready, and what runs now.
type RolloutError struct {
	Program, Why, Now string
	Log               []string // the last lines of the instance that failed
}

func (e *RolloutError) Error() string { return e.Program + ": " + e.what() }

func (e *RolloutError) what() string {
	text := fmt.Sprintf("a new instance did not become ready: %s; %s", e.Why, e.Now)
	if len(e.Log) > 0 {
		text += "\n  " + strings.Join(e.Log, "\n  ")
	}
	return text
}

// UsageError says that a request makes no sense for this program.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func (s *Supervisor) lookup(name string) (*program, error) {
	if p := s.find(name); p != nil {
		return p, nil
	}
	var known []string
	for _, p := range s.all() {
		if p.spec.Together {
			known = append(known, p.spec.Services()...)
		}
		known = append(known, p.spec.Name)
	}
	return nil, &NameError{Name: name, Known: known}
}

// Scale sets how many instances a program has; 0 holds it down, a role too. It
// returns when new ones are ready, or those too many have ended.
func (s *Supervisor) Scale(ctx context.Context, name string, n int, say func(string)) error {
	p, err := s.lookup(name)
	if err != nil {
		return err
	}
	switch {
	case p.spec.Together && name != p.spec.Name:
		return &UsageError{fmt.Sprintf("%s shares a process with %d more in this topology; `cleave scale %s %d` is for all of them", name, len(p.spec.Hosts)-1, p.spec.Name, n)}
	case p.role && n > 1:
		return &UsageError{"the " + name + " is a role; there is one at most"}
	case n < 0 || n > manifest.MaxReplicas:
		return &UsageError{fmt.Sprintf("%d replicas: it must be from 0 to %d", n, manifest.MaxReplicas)}
	case n > 1 && p.exclusive(p.artifact()):
		return &UsageError{fmt.Sprintf("%s opens its fixed address %s by itself; only one instance can", p.spec.Name, p.fixed(p.artifact()))}
	}
	release, err := p.claim("scaling")
	if err != nil {
		return err
	}
	defer release()
	s.update(func() { p.replicas = n })
	live := p.live()
	for _, i := range slices.Backward(live[min(n, len(live)):]) {
		say("stopping " + i.id)
		p.end(i)
	}
	for k := len(live); k < n; k++ {
		i, err := p.add(p.artifact(), s.opts.Policy)
		if err != nil {
			return err
		}
		say("starting " + i.id)
		i.send(lifecycle.Event{Kind: lifecycle.Launch})
		if err := p.await(ctx, i, 0, Grace); err != nil {
			return &RolloutError{Program: p.spec.Name, Why: err.Error(), Now: "it is tried again", Log: i.lastWords()}
		}
	}
	return nil
}

// Restart replaces every instance by a new one of the same version.
func (s *Supervisor) Restart(ctx context.Context, name string, say func(string)) error {
	p, err := s.lookup(name)
	if err != nil {
		return err
	}
	release, err := p.claim("restarting")
	if err != nil {
		return err
	}
	defer release()
	return p.replace(ctx, p.artifact(), Grace, say)
}

// Deploy builds a program anew, or takes the binary at that path, and replaces
// its instances one by one. Unless all of them become ready within grace (0
// means [Grace]), the old version runs as before.
func (s *Supervisor) Deploy(ctx context.Context, name, binary string, grace time.Duration, say func(string)) error {
	p, err := s.lookup(name)
	if err != nil {
		return err
	}
	if p.role {
		return &UsageError{"the " + name + " is a role, part of cleave itself; there is nothing to deploy"}
	}
	if grace <= 0 {
		grace = Grace
	}
	release, err := p.claim("deploying")
	if err != nil {
		return err
	}
	defer release()
	err = p.deploy(ctx, binary, grace, say)
	var (
		broken *BuildError
		failed *RolloutError
	)
	s.update(func() {
		switch {
		case err == nil:
			p.problem = ""
		case errors.As(err, &failed):
			p.problem = failed.what()
		case errors.As(err, &broken):
			p.problem = err.Error()
		}
	})
	return err
}

func (p *program) deploy(ctx context.Context, binary string, grace time.Duration, say func(string)) error {
	a := artifact{}
	switch pkg := p.spec.Run.Package; {
	case binary != "":
		if pkg == "" {
			return &UsageError{p.spec.Name + " runs a command; it takes no binary"}
		}
		var err error
		if a, err = store(p.sup.layout, binary, filepath.Base(pkg)); err != nil {
			return &UsageError{fmt.Sprintf("binary %s: %v", binary, err)}
		}
	case pkg != "":
		say("building " + pkg)
		built, err := build(ctx, p.sup.layout, []string{pkg})
		if err != nil {
			return err
		}
		a = built[pkg]
	}
	if err := p.replace(ctx, a, grace, say); err != nil {
		return err
	}
	used := map[string]bool{p.sup.opts.Executable: true}
	p.sup.update(func() {
		p.art = a
		for _, q := range p.sup.all() {
			used[q.art.path] = true
		}
	})
	clean(p.sup.layout, used)
	return nil
}

// replace puts an instance of a in place of each, one by one, or leaves all as
// they were.
func (p *program) replace(ctx context.Context, a artifact, grace time.Duration, say func(string)) error {
	t := &target{prog: p, grace: grace, artifacts: map[string]artifact{a.version: a}, after: map[string]int{}}
	err := deploy.Rolling(ctx, t, a.version, &deploy.Options{Say: say, Return: 4 * grace})
	var failed *deploy.Error
	if !errors.As(err, &failed) {
		return err
	}
	r := &RolloutError{Program: p.spec.Name, Why: err.Error(), Now: failed.Now()}
	if failed.Err != nil {
		r.Why = failed.Err.Error()
	}
	var start *startError
	if errors.As(err, &start) {
		r.Log = start.log
	}
	return r
}

// await waits until a process of i later than after is ready.
func (p *program) await(ctx context.Context, i *instance, after int, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not ready within %s", within))
	defer cancel()
	var failed error
	err := p.sup.await(ctx, func() bool {
		st := i.state
		if st.Run > after && (st.Final() || st.Phase == lifecycle.Waiting) {
			failed = errors.New(st.Reason)
		}
		return failed != nil || (st.Run > after && st.Phase == lifecycle.Ready)
	})
	if err != nil {
		return context.Cause(ctx)
	}
	return failed
}

// end drains and stops an instance and waits until it is gone.
func (p *program) end(i *instance) {
	i.send(lifecycle.Event{Kind: lifecycle.Stop, Reason: "not needed any more"})
	<-i.done
	p.forget(i)
}

func (p *program) artifact() artifact {
	p.sup.mu.Lock()
	defer p.sup.mu.Unlock()
	return p.art
}

func (i *instance) artifact() artifact {
	i.sup.mu.Lock()
	defer i.sup.mu.Unlock()
	return i.next
}

// lastWords returns the last lines since the instance was last started: its log
// is that of all who had its name.
func (i *instance) lastWords() []string {
	lines, _ := tail(i.log(), 6)
	for k, line := range slices.Backward(lines) {
		if strings.Contains(line, noteMark+i.id+": "+startMark) {
			return lines[k:]
		}
	}
	return lines
}
