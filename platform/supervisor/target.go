package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cleave-go/cleave/platform/deploy"
	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// target carries out the steps of a rollout on one claimed program.
type target struct {
	prog      *program
	grace     time.Duration
	artifacts map[string]artifact // of each version that runs or is to run
	after     map[string]int      // the process before the one that is awaited, of an instance replaced in its place
}

// startError is why an instance did not become ready, with its last lines.
type startError struct {
	error
	log []string
}

func (t *target) Instances(context.Context) ([]deploy.Instance, error) {
	wanted := make([]artifact, 0, 1)
	for _, a := range t.artifacts {
		wanted = append(wanted, a)
	}
	var list []deploy.Instance
	for _, i := range t.prog.live() {
		a := i.artifact()
		t.artifacts[a.version] = a
		list = append(list, deploy.Instance{
			ID: i.id, Version: a.version, Alone: t.prog.exclusive(a) || slices.ContainsFunc(wanted, t.prog.exclusive),
		})
	}
	return list, nil
}

func (t *target) Apply(_ context.Context, version, inPlaceOf string) (string, error) {
	a := t.artifacts[version]
	if inPlaceOf != "" {
		i, err := t.instance(inPlaceOf)
		if err != nil {
			return "", err
		}
		t.prog.sup.update(func() { t.after[i.id], i.next = i.state.Run, a })
		i.send(lifecycle.Event{Kind: lifecycle.Restart, Reason: "restarted"})
		return i.id, nil
	}
	policy := t.prog.sup.opts.Policy
	policy.Attempts, policy.StartTimeout = 1, t.grace
	i, err := t.prog.add(a, policy)
	if err != nil {
		return "", err
	}
	i.send(lifecycle.Event{Kind: lifecycle.Launch})
	return i.id, nil
}

func (t *target) Await(ctx context.Context, id string) error {
	i, err := t.instance(id)
	if err != nil {
		return err
	}
	within := t.grace + 5*time.Second
	if _, inPlace := t.after[id]; inPlace {
		within = t.grace + 20*time.Second // the one before it has to end first
	}
	if err := t.prog.await(ctx, i, t.after[id], within); err != nil {
		return &startError{err, i.lastWords()}
	}
	return nil
}

// Drain begins the end of an instance: its signal follows when nobody calls it.
func (t *target) Drain(ctx context.Context, id string) error {
	i, err := t.instance(id)
	if err != nil {
		return err
	}
	i.send(lifecycle.Event{Kind: lifecycle.Stop, Reason: "replaced"})
	return t.prog.sup.await(ctx, func() bool { return i.state.Signaled || i.state.Final() })
}

func (t *target) Remove(_ context.Context, id string) error {
	i, err := t.instance(id)
	if err != nil {
		return err
	}
	t.prog.end(i)
	return nil
}

func (t *target) instance(id string) (*instance, error) {
	t.prog.sup.mu.Lock()
	defer t.prog.sup.mu.Unlock()
	for _, i := range t.prog.instances {
		if i.id == id {
			return i, nil
		}
	}
	return nil, fmt.Errorf("instance %s is gone", id)
}
