package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Target is the running system that the deploy stage changes.
type Target interface {
	// Running returns what runs of a service: its version, and the services that
	// share its process. An error that wraps [ErrNotRunning] means that no system
	// is up.
	Running(ctx context.Context, service string) (version string, together []string, err error)
	// Deploy replaces the instances of a service by a binary, or leaves them as
	// they were and says why.
	Deploy(ctx context.Context, service, binary string, say func(string)) error
}

// ErrNotRunning says that there is no system to deploy to.
var ErrNotRunning = errors.New("the system is not up")

// deploy brings the artefact into the running system. A run of the whole line
// passes over it when there is none; asked for alone, it fails.
func (l *line) deploy(ctx context.Context, j *job, u unit) error {
	digest, err := l.built(ctx, u)
	if err != nil {
		return err
	}
	if err := l.proven(ctx, u); err != nil {
		return err
	}
	j.result.Artifact = digest
	alone := len(l.opts.Stages) == 1
	version, together, err := "", []string(nil), ErrNotRunning
	if l.opts.Target != nil {
		version, together, err = l.opts.Target.Running(ctx, u.Name)
	}
	switch {
	case errors.Is(err, ErrNotRunning) && !alone:
		return j.skip("the system is not up")
	case err != nil:
		return err
	case len(together) > 1 && !alone:
		return j.skip("%s shares its process with %d other services; that program is not its artefact", u.Name, len(together)-1)
	case len(together) > 1:
		return fmt.Errorf("%s shares its process with %s; that program is not its artefact", u.Name,
			strings.Join(slices.DeleteFunc(slices.Clone(together), func(s string) bool { return s == u.Name }), ", "))
	case version != "" && strings.HasPrefix(digest, version) && !l.opts.Force:
		j.result.Outcome, j.result.Why = Unchanged, "this artefact runs already"
		return errDone
	}
	if j.result.Why = "nothing was known of what runs"; version != "" {
		j.result.Why = "version " + version + " runs"
	}
	return j.step("rolling replacement", "cleave deploy "+u.Name+" --binary "+l.cache.artifact(digest), func() (string, string, error) {
		var said []string
		err := l.opts.Target.Deploy(ctx, u.Name, l.cache.artifact(digest), func(text string) {
			said = append(said, text)
			l.opts.Say("    " + text)
		})
		return "version " + digest[:12], strings.Join(said, "\n"), err
	})
}

// proven makes sure that the stages before have passed for what is here. Within
// one run they just have.
func (l *line) proven(ctx context.Context, u unit) error {
	if !slices.Contains(l.opts.Stages, Integration) {
		in, _, err := l.integrationInputs(ctx, u)
		if err != nil {
			return err
		}
		if _, _, ok := l.cache.find(Integration, u.Name, in); !ok {
			return &NeedError{Missing: Integration, Service: u.Name}
		}
	}
	if !slices.Contains(l.opts.Stages, Component) {
		in, _, err := l.componentInputs(ctx, u)
		if err != nil {
			return err
		}
		if _, _, ok := l.cache.find(Component, u.Name, in); !ok {
			return &NeedError{Missing: Component, Service: u.Name}
		}
	}
	return nil
}
